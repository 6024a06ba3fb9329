"""Booked entries whose figures the meter book does not give any more: named, never rewritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sites.ledger.models import Entry


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an entry as it was booked, and as the meters give it now; None where there is none."""

    name: str
    """Such as ``import_uwh``; inner ones behind a dot."""
    booked: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Touched:
    """One booked entry, and those of its figures that came out otherwise."""

    entry: Entry
    site_id: str
    """Empty for an entry of the fleet."""
    figures: tuple[Figure, ...]


def changed_figures(booked: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Return the figures in which the facts of two bodies differ, by name."""
    before, after = dict(_leaves(booked, "")), dict(_leaves(now, ""))
    return tuple(
        Figure(name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
