"""Recorded grid frequency, and its value at any instant."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FrequencyTrace:
    """A recording of the public grid's frequency."""

    t_s: FloatArray
    """Instants against the recording's own zero [s], rising."""
    f_hz: FloatArray
    """Frequency at those instants [Hz]."""
    source: str

    def at(self, t_s: FloatArray | float) -> FloatArray:
        """Return the frequency [Hz] at instants [s], same shape, linear between figures.

        Before the first and after the last figure their values stand.
        """
        return np.asarray(np.interp(t_s, self.t_s, self.f_hz), dtype=np.float64)


def trace_from_text(text: str) -> FrequencyTrace:
    """Read a table ``t_s,f_hz`` with its source in leading ``#`` lines.

    Raises ValueError naming the line when an instant does not rise or a frequency is not within 40 to 70 Hz.
    """
    lines = text.splitlines()
    source = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
    rows = list(csv.DictReader(line for line in lines if line and not line.startswith("#")))
    if not rows:
        raise ValueError("frequency table holds no rows, accepted: one or more of t_s,f_hz")
    t_s = np.array([float(row["t_s"]) for row in rows])
    f_hz = np.array([float(row["f_hz"]) for row in rows])
    for number, (step, f) in enumerate(zip(np.diff(t_s, prepend=t_s[0] - 1.0), f_hz, strict=True), start=1):
        if not step > 0.0:
            raise ValueError(f"frequency table, row {number}: instant does not rise, accepted: rising instants")
        if not 40.0 <= f <= 70.0:
            raise ValueError(f"frequency table, row {number}: {f} Hz, accepted: 40 to 70")
    return FrequencyTrace(t_s, f_hz, source)


def load_gb_trace() -> FrequencyTrace:
    """Return Great Britain's frequency on 9 August 2019, 149 figures one second apart, t = 0 at 15:52:30 UTC."""
    text = resources.files("sites.edge.plant").joinpath("gb_20190809.csv").read_text(encoding="utf-8")
    return trace_from_text(text)
