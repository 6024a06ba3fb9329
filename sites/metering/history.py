"""Metrics of one site over a period on a regular grid: readings by the second, roll-ups by minute or quarter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.core.intervals import Interval
from sites.metering.instants import EPOCH
from sites.metering.models import MinuteRollUp, QuarterRollUp, Reading, ReadingShape
from sites.metering.rollups import MINUTE, QUARTER
from sites.registry.models import Site
from sites.wire.metrics import ASSET_METRICS, NAMEPLATE_NAMES, NODE_METRICS, MetricType

MAX_STEPS: Final = 4_000
"""Steps of an answer: an hour of seconds, two days of minutes, a month of quarters."""
MAX_ROWS: Final = 100_000
"""Rows read for an answer: a site may send more often than once a second, and in messages of several shapes."""
SECOND: Final = timedelta(seconds=1)
STEPS: Final[Mapping[str, timedelta]] = {"1s": SECOND, "1min": MINUTE, "15min": QUARTER}
"""Resolution's name -> its step, the finest first."""
_TEXTS: Final = frozenset({MetricType.STRING, MetricType.DATETIME})

Array = npt.NDArray[np.float64]


class TooMuch(ValueError):
    """More was asked for than one answer holds; the message says what is accepted."""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric, a value for each step; not-a-number where nothing was measured."""

    metric: str
    """``frequency_hz`` of the site, ``battery/power_kw`` of an asset."""
    unit: str
    counts: Array
    """Values known within the step."""
    means: Array
    lows: Array
    highs: Array


@dataclass(frozen=True, slots=True)
class History:
    """Series on one grid."""

    starts_at: datetime
    """Of the first step."""
    step: timedelta
    steps: int
    series: tuple[Series, ...]


def readable_metrics(*, site: Site) -> dict[str, str]:
    """Return what a history may be asked of at a site: metric -> unit."""
    found = {metric.name: metric.unit for metric in NODE_METRICS if metric.type not in _TEXTS}
    for asset in site.assets.all():
        for metric in ASSET_METRICS.get(asset.kind, ()):
            if metric.name not in NAMEPLATE_NAMES:
                found[f"{asset.name}/{metric.name}"] = metric.unit
    return found


def resolution_for(period: Interval, *, kept_since: Mapping[str, datetime]) -> str:
    """Return the finest resolution that one answer holds and whose data is still kept; else the coarsest."""
    for name, step in STEPS.items():
        if _steps(period, step) <= MAX_STEPS and kept_since.get(name, period.starts_at) <= period.starts_at:
            return name
    return name


def history(*, site: Site, metrics: Mapping[str, str], period: Interval, resolution: str) -> History:
    """Return metrics (name -> unit) over the steps that hold a period.

    Raises TooMuch for more than MAX_STEPS steps, or when more than MAX_ROWS readings would have to be read.
    """
    step = STEPS[resolution]
    steps = _steps(period, step)
    if steps > MAX_STEPS:
        longest_h = step * MAX_STEPS / timedelta(hours=1)
        raise TooMuch(f"{steps} steps of {resolution}, accepted: up to {MAX_STEPS} ({longest_h:.4g} h)")
    starts_at = _floor(period.starts_at, step)
    grid = _Grid(starts_at, step, steps)
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for metric in metrics:
        asset, _, name = metric.rpartition("/")
        wanted[asset][name] = metric
    shapes = {pk: tuple(names.split(",")) for pk, names in ReadingShape.objects.values_list("pk", "names")}
    sums = {metric: grid.sums() for metric in metrics}
    left = MAX_ROWS
    for asset, names in wanted.items():
        useful = {pk: shape for pk, shape in shapes.items() if not names.keys().isdisjoint(shape)}
        rows = _rows(site, asset, list(useful), Interval(starts_at, starts_at + step * steps), resolution, left)
        left -= len(rows)
        for pk, of_shape in _by_shape(rows).items():
            for place, name in enumerate(useful[pk]):
                if name in names:
                    sums[names[name]].add(of_shape, place)
    series = tuple(sums[metric].series(metric, unit) for metric, unit in metrics.items())
    return History(starts_at, step, steps, series)


@dataclass(slots=True)
class _Sums:
    starts_us: int
    step_us: int
    counts: Array
    totals: Array
    lows: Array
    highs: Array

    def add(self, rows: Sequence[Any], place: int) -> None:
        """Add one metric's rows (instant, counts, totals, lows, highs)."""
        at = np.array([(row[1] - EPOCH) // timedelta(microseconds=1) for row in rows], dtype=np.int64)
        steps = (at - self.starts_us) // self.step_us
        counts, totals, lows, highs = (np.array([row[i][place] for row in rows], dtype=np.float64) for i in range(2, 6))
        known = counts > 0.0
        steps = steps[known]
        np.add.at(self.counts, steps, counts[known])
        np.add.at(self.totals, steps, totals[known])
        np.fmin.at(self.lows, steps, lows[known])
        np.fmax.at(self.highs, steps, highs[known])

    def series(self, metric: str, unit: str) -> Series:
        means = np.full_like(self.totals, np.nan)
        np.divide(self.totals, self.counts, out=means, where=self.counts > 0.0)
        return Series(metric, unit, self.counts, means, self.lows, self.highs)


@dataclass(frozen=True, slots=True)
class _Grid:
    starts_at: datetime
    step: timedelta
    steps: int

    def sums(self) -> _Sums:
        microsecond = timedelta(microseconds=1)
        return _Sums(
            (self.starts_at - EPOCH) // microsecond, self.step // microsecond, np.zeros(self.steps),
            np.zeros(self.steps), np.full(self.steps, np.nan), np.full(self.steps, np.nan),
        )  # fmt: skip


def _rows(site: Site, asset: str, shapes: list[int], period: Interval, resolution: str, limit: int) -> list[Any]:
    """Return (shape, instant, counts, totals, lows, highs) of what lies within a period, at most so many."""
    places: dict[str, Any] = {"site": site.pk, "asset": asset, "shape__in": shapes}
    rows: Iterable[Any]
    if resolution == "1s":
        found = Reading.objects.filter(
            **places, measured_at__gte=period.starts_at, measured_at__lt=period.ends_at
        ).values_list("shape_id", "measured_at", "values")[: limit + 1]
        rows = ((shape, at, (~np.isnan(values)).astype(float), values, values, values) for shape, at, values in found)
    else:
        model = MinuteRollUp if resolution == "1min" else QuarterRollUp
        rows = model.objects.filter(
            **places, starts_at__gte=period.starts_at, starts_at__lt=period.ends_at
        ).values_list("shape_id", "starts_at", "counts", "totals", "lows", "highs")[: limit + 1]
    taken = list(rows)
    if len(taken) > limit:
        raise TooMuch(f"more than {MAX_ROWS} readings, accepted: a shorter period, a coarser resolution, fewer metrics")
    return taken


def _by_shape(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(row)
    return found


def _floor(at: datetime, step: timedelta) -> datetime:
    return at - (at - EPOCH) % step


def _steps(period: Interval, step: timedelta) -> int:
    return -((_floor(period.starts_at, step) - period.ends_at) // step)
