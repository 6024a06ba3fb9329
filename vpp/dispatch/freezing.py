"""While a grid's frequency is away, shares stay where they are: moving them would fight the response. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

import numpy as np

FREEZE_HZ: Final = 0.2
"""Deviation from which on an area's shares stand [Hz]."""
THAW_S: Final = 10.0
"""The frequency has been inside for so long before shares move again [s]."""


class FreezeWatch:
    """Remembers for each synchronous area when its frequency was last away, or not known."""

    def __init__(self) -> None:
        self._away_at: dict[str, datetime] = {}
        self._known_at: dict[str, datetime] = {}

    def note(self, deviations_hz: Iterable[tuple[str, float | None]], *, at: datetime) -> None:
        """Take (area, a fresh site's deviation from nominal [Hz]) of many sites.

        The median decides: a few sites that measure nonsense, or stand on islands unknown to us, do not.
        """
        by_area: dict[str, list[float]] = {}
        for area, deviation_hz in deviations_hz:
            if deviation_hz is not None and np.isfinite(deviation_hz):
                by_area.setdefault(area, []).append(deviation_hz)
        for area, found in by_area.items():
            self._known_at[area] = at
            if abs(float(np.median(found))) > FREEZE_HZ:
                self._away_at[area] = at

    def is_frozen(self, areas: Collection[str], *, at: datetime) -> bool:
        """Tell whether shares stand in any of these areas; so they do where no site tells the frequency now."""
        thaw = timedelta(seconds=THAW_S)
        for area in areas:
            away_at = self._away_at.get(area)
            # Also after our clock was set back: what lies ahead of it cannot be judged.
            if away_at is not None and at - away_at < thaw:
                return True
            if self._known_at.get(area) != at:
                return True
        return False
