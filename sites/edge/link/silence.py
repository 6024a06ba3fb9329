"""A broker that takes what a site says and brings nothing back: when to go to another node of its cluster. Pure."""

from __future__ import annotations

from typing import Final

LEAST_S: Final = 30.0
INTERVALS: Final = 3.0
LONGEST_S: Final = 3600.0


class SilenceWatch:
    """Counts how long the platform has said nothing to a site that sends it numbered rows.

    While it stores them it answers at least once an interval. Three missed answers are a sign that the node is cut
    off from its cluster, or that the platform stands still; the second cannot be told from here, so each further
    change waits twice as long as the one before.
    """

    def __init__(self, *, interval_s: float) -> None:
        """``interval_s`` is the metering interval [s]."""
        self._first_s = max(LEAST_S, INTERVALS * interval_s)
        self._patience_s = self._first_s
        self._since_s: float | None = None

    def hear(self) -> None:
        """Note that the platform said something."""
        self._since_s = None
        self._patience_s = self._first_s

    def is_due(self, now_s: float, *, is_sending: bool) -> bool:
        """Tell, once, that it has been silent for too long; ``is_sending`` is False while no answer is to be expected.

        ``now_s`` is a clock that never goes back [s].
        """
        if not is_sending:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < self._patience_s:
            return False
        self._since_s = None
        self._patience_s = min(LONGEST_S, 2.0 * self._patience_s)
        return True
