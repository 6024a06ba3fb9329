"""A measured response on one sample grid: what came row by row, with NaN where rows are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from markets.core.delivery import BoolArray, Delivery, SiteRecord, site_delivery
from markets.core.product import Product
from markets.core.scores.score import Component, ScoreError
from sites.core.curves import FloatArray

MOST_SAMPLES: Final = 20_000_000
"""Eleven days at 20 Hz; four columns of it are 640 MB."""
_JITTER: Final = 0.25
"""Share of a step that a row may come early or late."""


class RecordError(ScoreError):
    """A row that has no place on a sample grid."""

    def __init__(self, row: int, column: str, what: str) -> None:
        super().__init__(what)
        self.row = row
        """Counted from 0."""
        self.column = column


@dataclass(frozen=True, slots=True)
class Recording:
    """Frequency, power and perhaps a signal at equal steps, shape ``(n,)`` each; NaN where a row is missing."""

    rate_hz: float
    frequency_hz: FloatArray
    power_kw: FloatArray
    """Positive into the grid [kW]."""
    signal: FloatArray | None
    """What the operator asked for, -1 to 1 of the contract; an instruction is 1 while it holds."""
    scored_s: float | None = None
    """Only so much from the beginning is scored, where a rule reads beyond what it scores [s]; None: all."""

    @property
    def known(self) -> BoolArray:
        """Where a row came."""
        known = np.isfinite(self.power_kw) & np.isfinite(self.frequency_hz)
        return known if self.signal is None else known & np.isfinite(self.signal)

    @property
    def duration_s(self) -> float:
        """Length, each sample for its step [s]."""
        return self.power_kw.size / self.rate_hz

    def service_kw(self, product: Product, baseline_kw: float) -> FloatArray:
        """Return the power above the baseline in the product's direction [kW]; 0 where a row is missing."""
        way = -1.0 if product.direction.value == "high" else 1.0
        return np.where(self.known, (self.power_kw - baseline_kw) * way, 0.0)

    def delivery(self, product: Product, contract_kw: float, baseline_kw: float) -> Delivery:
        """Return what was due by the product's curve at the recorded frequency, and what was given."""
        size = self.power_kw.size
        return site_delivery(
            SiteRecord(self.frequency_hz, self.power_kw, np.ones(size), np.full(size, contract_kw)),
            curve=product.curve,
            nominal_hz=product.curve.nominal_hz,
            rate_hz=self.rate_hz,
            contracted_kw=contract_kw,
            baseline_kw=baseline_kw,
        )

    def quality(self) -> dict[str, Component]:
        """Return how much of the record is there."""
        known = self.known
        edges = np.flatnonzero(np.diff(np.concatenate(([True], known, [True])).astype(np.int8)))
        gaps = (edges[1::2] - edges[::2]) / self.rate_hz
        return {
            "rate_hz": self.rate_hz,
            "duration_s": self.duration_s,
            "rows": int(known.sum()),
            "missing": int(known.size - known.sum()),
            "missing_share": float(1.0 - known.mean()),
            "gaps": int(gaps.size),
            "longest_gap_s": float(gaps.max(initial=0.0)),
        }


def recording_of_rows(
    t_s: FloatArray, frequency_hz: FloatArray, power_kw: FloatArray, signal: FloatArray | None = None
) -> Recording:
    """Return rows on the grid of their own rate; a step of several periods is a gap.

    ``t_s`` is counted from anywhere [s]. Raises RecordError naming the row that does not come after the one before, or
    at no multiple of the rate; ScoreError for too few rows or too long a span.
    """
    if t_s.size < 2:
        raise ScoreError(f"{t_s.size} rows, accepted: two or more")
    steps = np.diff(t_s)
    back = np.flatnonzero(~(steps > 0.0))
    if back.size:
        row = int(back[0]) + 1
        raise RecordError(row, "t_s", f"{t_s[row]:g} follows {t_s[row - 1]:g}, accepted: instants that rise")
    middle = float(np.median(steps))
    step_s = float(steps[np.abs(steps - middle) <= 0.5 * middle].mean())
    counts = np.rint(steps / step_s)
    irregular = np.flatnonzero((counts <= 1.0) & (np.abs(steps - step_s) > _JITTER * step_s))
    if irregular.size:
        row = int(irregular[0]) + 1
        raise RecordError(
            row,
            "t_s",
            f"comes {steps[row - 1]:.6g} s after the row before, the others every {step_s:.6g} s, accepted: one rate, "
            f"each row within a quarter of a step; whole steps left out are a gap",
        )
    samples = int(counts.sum()) + 1
    if samples > MOST_SAMPLES:
        raise ScoreError(
            f"the rows span {samples} samples at {1.0 / step_s:.6g} Hz, accepted: {MOST_SAMPLES}; score it day by day"
        )
    rate_hz = _round_rate(1.0 / step_s)
    if samples == t_s.size:
        return Recording(rate_hz, frequency_hz, power_kw, signal)
    at = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return Recording(
        rate_hz,
        _placed(frequency_hz, at, samples),
        _placed(power_kw, at, samples),
        None if signal is None else _placed(signal, at, samples),
    )


def _placed(values: FloatArray, at: np.ndarray, samples: int) -> FloatArray:
    placed = np.full(samples, np.nan)
    placed[at] = values
    return placed


def _round_rate(rate_hz: float) -> float:
    """Return the whole number of hertz or seconds that a rate is meant to be, or the rate itself."""
    for whole in (float(round(rate_hz)), 1.0 / max(1.0, round(1.0 / rate_hz))):
        if whole > 0.0 and abs(rate_hz / whole - 1.0) < 1e-3:
            return whole
    return rate_hz
