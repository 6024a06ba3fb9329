"""Whether what waits at a site is safe: how much there is, how old it is, and what the bound or the disk cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sites.edge.link.outbox import RECORD_STREAM, WAVEFORM_STREAM, Backlog, Outbox

FILLING_RATIO: Final = 0.8
"""Of the bound: beyond it samples will be given up soon."""
DROPPING_S: Final = 3600.0
"""For so long after samples were given up the site says so."""


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """What all sites of one process have in their outbox."""

    used_ratio: float
    """Of the bound on records and waveforms."""
    oldest_s: float
    """Age of the oldest row that waits for more than a minute; 0 without one."""
    dropped: dict[str, int]
    """By stream: rows whose samples were given up, ever."""
    is_unwritable: bool


@dataclass(slots=True)
class OutboxWatch:
    """Follows one site's part of an outbox."""

    site_id: str
    _dropped: int = -1
    _dropped_at_s: float | None = None
    values: dict[str, Any] = field(default_factory=dict)
    """By metric name; empty before the first look."""

    def look(self, outbox: Outbox, backlog: Backlog, *, at_ms: int, at_s: float) -> None:
        """Take what the outbox holds now, by the wall clock and by the monotonic one."""
        records, waveforms = (outbox.dropped(self.site_id, stream) for stream in (RECORD_STREAM, WAVEFORM_STREAM))
        if self._dropped not in (-1, records + waveforms):
            self._dropped_at_s = at_s
        self._dropped = records + waveforms
        # In steps: what changes is sent, and stored, and a byte more is no news.
        used_ratio = round(outbox.used_ratio, 2)
        self.values = {
            "outbox_state": self._state(outbox.is_unwritable, used_ratio, at_s),
            "outbox_rows": backlog.rows,
            # Rows of a clock that ran ahead wait for a time that has not come.
            "outbox_oldest_at": None if backlog.oldest_at_ms is None else min(backlog.oldest_at_ms, at_ms),
            "outbox_used_ratio": used_ratio,
            "outbox_dropped_records": records,
            "outbox_dropped_waveforms": waveforms,
        }

    def _state(self, is_unwritable: bool, used_ratio: float, at_s: float) -> str:
        if is_unwritable:
            return "unwritable"
        if self._dropped_at_s is not None and at_s - self._dropped_at_s < DROPPING_S:
            return "dropping"
        return "filling" if used_ratio >= FILLING_RATIO else "ok"
