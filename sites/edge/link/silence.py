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
    change waits twice as long as the one before. A host that was heard offline may be online again where a node that
    is cut off does not hear it, so silence counts then, too.
    """

    def __init__(self, *, interval_s: float, spread: float = 0.0) -> None:
        """``interval_s`` is the metering interval [s]; ``spread``, 0 to 1, makes a site up to twice as patient.

        Each site has its own, so that a fleet whose platform is away does not move in one instant.
        """
        self._first_s = max(LEAST_S, INTERVALS * interval_s) * (1.0 + spread)
        self._patience_s = self._first_s
        self._since_s: float | None = None

    def hear(self) -> None:
        """Note that the platform said something."""
        self._since_s = None
        self._patience_s = self._first_s

    def is_due(self, now_s: float, *, is_connected: bool) -> bool:
        """Tell, once, that it has been silent for too long; ``is_connected`` is False while nothing can be heard.

        ``now_s`` is a clock that never goes back [s].
        """
        if not is_connected:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < self._patience_s:
            return False
        self._since_s = None
        self._patience_s = min(LONGEST_S, 2.0 * self._patience_s)
        return True
