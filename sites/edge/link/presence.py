"""Whether the platform listens to a site, and whether it knows the site's births."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Presence:
    """How one site's end of the wire stands with the platform."""

    is_host_online: bool = False
    is_born: bool = False
    """The births were sent on the present connection."""
    born_at_ms: int = 0
    away_since_ms: int | None = None
    """Since when nobody listens; None while somebody does."""

    def move_clock(self, *, by_ms: int) -> None:
        """Go on counting when the clock was stepped: how long nobody listened is no matter of what it shows."""
        if self.away_since_ms is not None:
            self.away_since_ms += by_ms

    def away_s(self, *, now_ms: int) -> float:
        """Return for how long nobody has listened [s]."""
        return 0.0 if self.away_since_ms is None else (now_ms - self.away_since_ms) / 1000.0
