"""Waveforms on their way from control to uplink: one file each, written aside and renamed."""

from __future__ import annotations

import json
import logging
import os
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from sites.edge.control.exchange import CapturedWaveform

MAX_SPOOLED: Final = 256
"""Waveforms that wait for the uplink, some 50 MB; then the oldest goes."""

log = logging.getLogger(__name__)


def write_waveform(spool_dir: Path, waveform: CapturedWaveform) -> Path:
    """Write a waveform aside and rename it into the spool, so that a reader never meets half of one."""
    head = {
        "starts_at_us": waveform.starts_at_us,
        "trigger_at_us": waveform.trigger_at_us,
        "rate_hz": waveform.rate_hz,
        "cause": waveform.cause,
        "columns": list(waveform.columns),
    }
    path = waveform_path(spool_dir, waveform)
    for old in sorted(spool_dir.glob("*.waveform"))[: -(MAX_SPOOLED - 1)]:
        # An uplink that never comes must not fill the disk.
        old.unlink(missing_ok=True)
        log.warning("waveform.dropped file=%s kept=%d", old.name, MAX_SPOOLED)
    fresh = spool_dir / f".{path.name}.part"
    fresh.write_bytes(json.dumps(head).encode() + b"\n" + zlib.compress(waveform.samples.astype("<f4").tobytes(), 1))
    fresh.rename(path)
    return path


def take_waveforms(spool_dir: Path) -> list[CapturedWaveform]:
    """Return the spool's waveforms, oldest first; each stays until ``UplinkSide.settle_waveform``.

    A file that cannot be read is set aside as ``.refused`` for inspection.
    """
    waveforms = []
    for name in sorted(name for name in os.listdir(spool_dir) if name.endswith(".waveform")):
        try:
            waveforms.append(_read_waveform(spool_dir / name))
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            log.warning("waveform.refused file=%s reason=%s", name, error)
            (spool_dir / name).rename(spool_dir / f"{name}.refused")
    return waveforms


def waveform_path(spool_dir: Path, waveform: CapturedWaveform) -> Path:
    """Return the file of a waveform in the spool."""
    return spool_dir / f"{waveform.trigger_at_us}.waveform"


def _read_waveform(path: Path) -> CapturedWaveform:
    head_line, _, body = path.read_bytes().partition(b"\n")
    head = json.loads(head_line)
    columns = tuple(head["columns"])
    samples = np.frombuffer(zlib.decompress(body), "<f4").reshape(-1, len(columns))
    return CapturedWaveform(
        0, head["starts_at_us"], head["trigger_at_us"], head["rate_hz"], head["cause"], columns, samples
    )
