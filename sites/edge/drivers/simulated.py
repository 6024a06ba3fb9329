"""Simulated sites: the plant and the controller's kernels in one compiled closed loop."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sites.core.assignments import Assignment, curve_of
from sites.core.requests import SiteRequest
from sites.edge.config import ConfigError, EdgeConfig
from sites.edge.control.exchange import (
    ALARM_NAMES,
    LATCHES,
    MEASURED_DTYPE,
    MODE_NAMES,
    REGISTER_DTYPE,
    CapturedWaveform,
    RecordRows,
    StructuredArray,
)
from sites.edge.control.pacing import Pace
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.grid_play import GridPlay
from sites.edge.studies.paced_loop import PacedLoop

SAMPLE_RATE_HZ = 10_000
US_PER_SAMPLE = 1_000_000 // SAMPLE_RATE_HZ
US_PER_ROW = 10_000


class SimulatedSites:
    """A PacedDriver over simulated plants; the grid's frequency and the feeders are set from outside.

    While it runs paced the grid stays at its nominal frequency: moves and jumps wait for ``advance``.
    """

    def __init__(self, sites: Sequence[SiteParameters], *, seed: int, starts_at_us: int, grid: GridPlay) -> None:
        """``starts_at_us`` is rounded down to the record's 10 ms grid."""
        self.starts_at_us = starts_at_us // US_PER_ROW * US_PER_ROW
        self.sample_rate_hz = SAMPLE_RATE_HZ
        self.sites = len(sites)
        self._grid = grid
        self._loop = ClosedLoop(sites, seed=seed, sample_rate_hz=SAMPLE_RATE_HZ, starts_at_us=self.starts_at_us)
        self._feeder_moves: deque[tuple[int, bool, int]] = deque()
        self._phase_jumps: deque[tuple[int, float, int]] = deque()
        self._paced: PacedLoop | None = None
        self._asked: dict[int, int] = {}
        """Site's index -> mark of what it was asked last."""

    @property
    def sample(self) -> int:
        """See Driver."""
        if self._paced is not None:
            self._paced.catch_up()
        return int(self._loop.sample)

    def move_feeder(self, index: int, *, opens: bool, at_us: int) -> None:
        """Open or close a site's feeder at an instant (at once when that is past); from any thread."""
        self._feeder_moves.append((index, opens, at_us))

    def jump_phase(self, index: int, *, angle_rad: float, at_us: int) -> None:
        """Let the phase of the grid behind a site jump at an instant; from any thread."""
        self._phase_jumps.append((index, angle_rad, at_us))

    def advance(self, samples: int) -> None:
        """See Driver."""
        while self._phase_jumps:
            index, angle_rad, at_us = self._phase_jumps.popleft()
            self._loop.jump_phase(index, angle_rad, max(self.sample, self._sample_at(at_us)))
        while self._feeder_moves:
            index, opens, at_us = self._feeder_moves.popleft()
            move = self._loop.open_feeder if opens else self._loop.close_feeder
            move(index, max(self.sample, self._sample_at(at_us)))
        first_us = self.starts_at_us + self.sample * US_PER_SAMPLE
        self._loop.advance(self._grid.frequency_hz(first_us, samples, US_PER_SAMPLE))

    def switch_closed(self) -> npt.NDArray[np.bool_]:
        """See Driver."""
        return np.asarray(self._loop.measured()["switch_closed"]) > 0.5

    def measured(self) -> StructuredArray:
        """See Driver."""
        seen = self._loop.measured()
        names = [name for name in MEASURED_DTYPE.names or () if not name.endswith("_us")]
        target = _as_dtype(seen, MEASURED_DTYPE, names)
        target["decided_at_us"] = np.where(seen["decisions"] > 0, self._us_at(seen["decided_sample"]), 0.0)
        standing = seen["latched"] | seen["warnings"] << LATCHES
        for bit, name in enumerate(ALARM_NAMES):
            since_us = self._us_at(seen["alarm_sample"][:, bit])
            target[f"{name}_since_us"] = np.where(standing >> bit & 1, since_us, 0.0)
        return target

    def registers(self) -> StructuredArray:
        """See Driver."""
        return _as_dtype(self._loop.registers(), REGISTER_DTYPE)

    def arm(self, index: int, assignment: Assignment) -> None:
        """See Driver."""
        self._loop.arm(
            index,
            curve_of(assignment),
            assignment.power_kw,
            assignment.baseline_kw,
            # A window that opened before this process started is open from the first sample.
            max(0, self._sample_at(round(assignment.starts_at.timestamp() * 1_000_000))),
            self._sample_at(round(assignment.ends_at.timestamp() * 1_000_000)),
        )

    def disarm(self, index: int) -> None:
        """See Driver."""
        self._loop.disarm(index)

    def ask(self, index: int, request: SiteRequest) -> None:
        """See Driver."""
        self._asked[index] = self._loop.ask(index, request)

    def answer(self, index: int) -> str | None:
        """See Driver."""
        return self._loop.answer(index, self._asked[index])

    def set_input(self, index: int, name: str, value: int) -> None:
        """See Driver."""
        self._loop.set_input(index, name, value)

    def align_probe(self, utc_ms: int) -> None:
        """See Driver."""
        self._loop.align_probe(utc_ms)

    def resume(self, index: int, before: np.void) -> None:
        """See Driver."""
        since_us = [int(before[f"{name}_since_us"]) for name in ALARM_NAMES]
        self._loop.resume(
            index,
            mode=MODE_NAMES[int(before["mode"])],
            latched=int(before["latched"]),
            alarm=int(before["alarm"]),
            switch_closed=bool(before["switch_closed"]),
            since=[self._sample_at(at_us) if at_us else 0 for at_us in since_us],
        )

    def follow_setpoint(self, index: int, power_kw: float, ramp_kw_per_s: float, until_sample: int) -> None:
        """See Driver."""
        self._loop.follow_setpoint(index, power_kw, ramp_kw_per_s, until_sample)

    def prepare_pace(self, pace: Pace, tick_samples: int, next_boundary: int, interval_samples: int) -> None:
        """See PacedDriver."""
        self._paced = PacedLoop(self._loop, pace, tick_samples=tick_samples, grid_hz=self._loop.sites[0].nominal_hz)
        self._paced.meter_from(next_boundary, interval_samples)

    def run_paced(self) -> None:
        """See PacedDriver."""
        if self._paced is None:
            raise RuntimeError("run_paced before prepare_pace, accepted: prepare_pace first")
        self._paced.run()

    def drain_boundaries(self) -> Sequence[tuple[int, StructuredArray]]:
        """See PacedDriver."""
        if self._paced is None:
            return ()
        return [(sample, _as_dtype(found, REGISTER_DTYPE)) for sample, found in self._paced.drain_boundaries()]

    def drain_records(self) -> Sequence[RecordRows]:
        """See Driver."""
        drain = self._loop.drain_records if self._paced is None else self._paced.drain_rows
        first_sample, rows = drain()
        if not len(rows):
            return ()
        return (RecordRows(self.starts_at_us + int(first_sample) * US_PER_SAMPLE, rows),)

    def drain_waveforms(self) -> Sequence[CapturedWaveform]:
        """See Driver."""
        return [
            CapturedWaveform(
                index=waveform.index,
                starts_at_us=self.starts_at_us + waveform.start_sample * US_PER_SAMPLE,
                trigger_at_us=self.starts_at_us + waveform.trigger_sample * US_PER_SAMPLE,
                rate_hz=float(waveform.rate_hz),
                cause=waveform.cause,
                columns=tuple(waveform.columns),
                samples=waveform.samples,
            )
            for waveform in self._loop.drain_waveforms()
        ]

    def _sample_at(self, at_us: int) -> int:
        return (at_us - self.starts_at_us) // US_PER_SAMPLE

    def _us_at(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return self.starts_at_us + samples * US_PER_SAMPLE


def site_parameters(config: EdgeConfig) -> SiteParameters:
    """Return the simulated plant that a site's file describes.

    Nameplates come from its assets, everything else from ``[plant]``. Raises ConfigError naming the
    file, the key and what is accepted.
    """
    assets = {asset.kind: asset for asset in config.assets}
    rated_kw = {kind: asset.rated_kw for kind, asset in assets.items()}
    known: dict[str, Any] = {
        "site_id": config.site_id,
        "name": config.name,
        "nominal_hz": config.nominal_hz,
        "nominal_voltage_v": config.nominal_voltage_v,
        "phases": config.phases,
        "grid_code": config.grid_code.name,
        "anti_islanding": config.anti_islanding,
        "feeder": config.feeder,
        "pcs_kva": rated_kw["battery"],
        "battery_kwh": assets["battery"].capacity_kwh,
        "reserve_kwh": assets["battery"].reserve_kwh,
        "pv_kw": rated_kw.get("pv", 0.0),
        "load_kw": rated_kw.get("load", 0.0),
        "genset_kw": rated_kw.get("genset", 0.0),
        "import_limit_kw": rated_kw["pcc"],
        "export_limit_kw": assets["pcc"].export_limit_kw,
    }
    free = {field.name: field for field in dataclasses.fields(SiteParameters) if field.name not in known}
    given = {key: value for key, value in config.plant.items() if key != "seed"}
    for key in given:
        if key not in free:
            raise ConfigError(f"{config.path}: plant.{key} is not known, accepted: seed, {', '.join(sorted(free))}")
    for name, field in free.items():
        if field.default is dataclasses.MISSING and name not in given:
            raise ConfigError(f"{config.path}: plant.{name} is missing, accepted: a value of {field.type}")
    try:
        return SiteParameters(**known, **given)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{config.path}: plant: {error}") from None


def start_site(config: EdgeConfig) -> SimulatedSites:
    """Return the driver of one simulated site, its kernels compiled before the first sample counts."""
    sites = [site_parameters(config)]
    seed = int(config.plant.get("seed", 1))
    warm = Pace(period_ns=1, starts_ns=0)
    warm.stop()
    warmed = SimulatedSites(sites, seed=seed, starts_at_us=0, grid=GridPlay(config.nominal_hz))
    warmed.prepare_pace(warm, SAMPLE_RATE_HZ // 1000, -1, SAMPLE_RATE_HZ)
    warmed.run_paced()
    warmed.advance(1)
    # The clock is read now: the compilation just done must not count as lateness.
    driver = SimulatedSites(sites, seed=seed, starts_at_us=time.time_ns() // 1000, grid=GridPlay(config.nominal_hz))
    # One millisecond, so that the switch's poles are sensed before anyone asks for their state.
    driver.advance(SAMPLE_RATE_HZ // 1000)
    return driver


def _as_dtype(source: StructuredArray, dtype: np.dtype, names: Sequence[str] | None = None) -> StructuredArray:
    """Copy the fields that the link knows (or those named), by name; a missing one is a KeyError at the first call."""
    target = np.zeros(source.shape, dtype)
    for name in names if names is not None else dtype.names or ():
        target[name] = source[name]
    return target
