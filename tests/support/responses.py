"""Recordings of responses made for tests: a frequency, a signal, and a responder that gives exactly what is due."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from markets.core.product import Product
from markets.core.scores.recording import Recording
from sites.core.curves import required_course


def perfect_kw(product: Product, t_s, frequency_hz, signal, contract_kw: float) -> np.ndarray:
    """Return the power into the grid of a responder without a lag [kW]."""
    way = -1.0 if product.direction.value == "high" else 1.0
    if product.curve_name is not None:
        share = required_course(product.curve, t_s, frequency_hz, product.curve.nominal_hz)
        return share * contract_kw
    if product.score.name == "power-limit":
        return np.zeros(t_s.size)
    return way * np.asarray(signal) * contract_kw


def a_recording(product: Product, frequency_hz, power_kw, *, rate_hz: float, signal=None) -> Recording:
    frequency = np.asarray(frequency_hz, dtype=np.float64)
    power = np.asarray(power_kw, dtype=np.float64) * np.ones(frequency.size)
    return Recording(rate_hz, frequency, power, None if signal is None else np.asarray(signal, dtype=np.float64))


def with_gaps(recording: Recording, missing) -> Recording:
    """Return a recording without the rows at which ``missing`` is true."""
    gone = np.asarray(missing, dtype=np.bool_)
    return Recording(
        recording.rate_hz,
        np.where(gone, np.nan, recording.frequency_hz),
        np.where(gone, np.nan, recording.power_kw),
        None if recording.signal is None else np.where(gone, np.nan, recording.signal),
    )


def write_response(path: Path, t_s, frequency_hz, power_kw, signal=None, *, header: str | None = None) -> Path:
    """Write a measured response; return its path."""
    columns = [t_s, frequency_hz, power_kw, *([] if signal is None else [signal])]
    names = header or ",".join(("t_s", "frequency_hz", "power_kw", "signal")[: len(columns)])
    np.savetxt(path, np.column_stack(columns), fmt="%.6f", delimiter=",", header=names, comments="")
    return path
