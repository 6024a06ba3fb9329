"""Small recordings made for tests: waves with something happening to them, written as CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np

RMS_V = 230.0


def waves(
    *, rate_hz: float = 20_000.0, seconds: float = 0.3, hertz: float = 50.0, rms_v: float = RMS_V, phases: int = 3,
    lost_at_s: float | None = None, dip: tuple[float, float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return (t_s, volts [phases, n]) of a sine with 0.2 % noise; all phases are lost at an instant, or dip.

    ``dip`` is (from s, to s, what is left of the voltage).
    """
    t_s = np.arange(round(seconds * rate_hz)) / rate_hz
    turns = -2.0 * np.pi / 3.0 * np.arange(phases)[:, None]
    volts = np.sqrt(2.0) * rms_v * np.cos(2.0 * np.pi * hertz * t_s + turns)
    if lost_at_s is not None:
        volts[:, t_s >= lost_at_s] *= 0.02
    if dip is not None:
        volts[:, (t_s >= dip[0]) & (t_s < dip[1])] *= dip[2]
    noise = np.random.default_rng(1).normal(0.0, 0.002 * rms_v, volts.shape)
    return t_s, volts + noise


def write_csv(path: Path, t_s: np.ndarray, rows: np.ndarray, names: str = "va,vb,vc,ia,ib,ic") -> Path:
    """Write a recording with as many of the named columns as there are rows; return its path."""
    header = ",".join(["t_s", *names.split(",")[: len(rows)]])
    table = np.column_stack((t_s, *rows))
    np.savetxt(path, table, fmt=["%.7f"] + ["%.4f"] * len(rows), delimiter=",", header=header, comments="")
    return path
