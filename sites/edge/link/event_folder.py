"""Keeps the recordings of a site's islanding events as COMTRADE files in a bounded folder, oldest thrown away.

The platform gets the same samples through the outbox. These files are for whoever stands at the site: they stay
when the link is down for good.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sites.core.event_recording import RecordedSite, event_name, event_recording
from sites.edge.control.exchange import CapturedWaveform

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_MAX_BYTES: Final = 64_000_000
"""About 400 events of a three-phase site: half a second of 15 channels at 10 kHz has 140 kB."""
SUFFIXES: Final = (".dat", ".cfg")
"""In this order: a .cfg is there only when its .dat is."""

log = logging.getLogger(__name__)


class EventFolder:
    """The events of the sites of one process."""

    def __init__(self, folder: Path, sites: Sequence[RecordedSite], *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        """Use the folder, making it when it is not there; ``max_bytes`` bounds all files in it."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._sites = tuple(sites)
        self._max_bytes = max_bytes
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)  # Of a process that died while writing.
        self.dropped_count = 0
        """Events thrown away for the bound since the start."""

    def keep(self, waveform: CapturedWaveform) -> Path | None:
        """Write an event's .dat and .cfg, each aside and then renamed; return the path of the .cfg.

        A disk that does not take it is told in the log and returns None: the event still goes to the platform.
        """
        site = self._sites[waveform.index]
        trigger_at = _instant(waveform.trigger_at_us)
        cfg, dat = event_recording(
            site,
            columns=waveform.columns,
            samples=waveform.samples,
            rate_hz=waveform.rate_hz,
            starts_at=_instant(waveform.starts_at_us),
            trigger_at=trigger_at,
            cause=waveform.cause,
        )
        name = event_name(site.site_id, trigger_at)
        try:
            self._make_room(len(cfg) + len(dat))
            for suffix, data in zip(SUFFIXES, (dat, cfg), strict=True):
                part = self._folder / f".{name}{suffix}.part"
                part.write_bytes(data)
                part.rename(self._folder / f"{name}{suffix}")
        except OSError as error:
            log.warning("event.not_kept site_id=%s reason=%s", site.site_id, error)
            return None
        return self._folder / f"{name}.cfg"

    def _make_room(self, needed_bytes: int) -> None:
        sizes: dict[str, int] = {}
        for path in self._folder.iterdir():
            if path.suffix in SUFFIXES:
                sizes[path.stem] = sizes.get(path.stem, 0) + path.stat().st_size
        held = sum(sizes.values())
        # By instant and not by name: the sites of one process share the folder.
        for stem in sorted(sizes, key=lambda stem: stem.rpartition("_")[2]):
            if held + needed_bytes <= self._max_bytes:
                return
            for suffix in reversed(SUFFIXES):
                (self._folder / f"{stem}{suffix}").unlink(missing_ok=True)
            held -= sizes[stem]
            self.dropped_count += 1
            log.warning("event.dropped file=%s max_bytes=%d", stem, self._max_bytes)


def _instant(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_us)
