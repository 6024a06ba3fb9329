"""What the benchmarks of a fleet have in common: their options, their rows, and how a row meets its target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What the caller chose."""

    minutes: float = 10.0
    """Length of a sustained run."""


@dataclass(frozen=True)
class Row:
    """One figure; with a target it is kept or missed, without it explains another."""

    name: str
    title: str
    value: float
    target: float | None = None
    is_most: bool = False
    """The target is the most accepted, not the least."""

    @property
    def met(self) -> bool:
        """Whether the target is kept."""
        if self.target is None:
            return True
        return self.value <= self.target if self.is_most else self.value >= self.target

    @property
    def target_text(self) -> str:
        """The target as people read it."""
        return "" if self.target is None else f"{'<=' if self.is_most else '>='} {self.target:g}"


@dataclass(frozen=True)
class Benchmark:
    """A named benchmark."""

    name: str
    title: str
    run: Callable[[Options], list[Row]]
