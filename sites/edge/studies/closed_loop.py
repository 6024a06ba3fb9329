"""Plants and controllers of many sites in one compiled loop, in steps of one sample."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.core.curves import ResponseCurve
from sites.edge.control import recorder
from sites.edge.control.exchange import ALARM_NAMES, RECORD_COLUMNS, SERVICES
from sites.edge.control.islanding import (
    CAUSE_NAMES,
    MODE_NAMES,
    arm_curve,
    follow_setpoint,
    transition_table,
)
from sites.edge.control.kernels import genset, modes, records
from sites.edge.control.kernels.service import NOT_SOON_S
from sites.edge.control.recorder import Waveform
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state
from sites.edge.plant.parameters import SiteParameters
from sites.edge.plant.records import ASSETS, METERS
from sites.edge.plant.store_values import full_power_efficiency
from sites.edge.plant.values import (
    FILTER_R_PU,
    FILTER_X_PU,
    phase_states,
    plant_parameters,
    plant_state,
)
from sites.edge.studies.dc_sites import (
    DC_WAVEFORM_COLUMNS,
    DcSites,
    dc_charge_headroom_kw,
    dc_discharge_headroom_kw,
)
from sites.edge.studies.disturbances import Disturbances, no_events
from sites.edge.studies.fleet_step import advance_fleet
from sites.edge.studies.operation import Operation

__all__ = ["MODE_NAMES", "ClosedLoop", "Waveform"]

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
StructuredArray = npt.NDArray[np.void]

CONTROLLER_WORDS: Final = (
    "mode", "limited_by", "tiers_closed", "latched", "warnings", "alarm", "refusals", "decisions",
    "decided_cause", "decided_path", "decided_sample",
)  # fmt: skip
MEASURED: Final = np.dtype(
    [
        (name, np.float64)
        for name in (
            "frequency_hz", "voltage_pu", "pcc_kw", "battery_kw", "pv_kw", "genset_kw", "load_kw",
            "soc_ratio", "temperature_c", "service_kw", "stream_kw", "required_kw", "discharge_kw", "charge_kw",
            "usable_energy_kwh", "absorbable_energy_kwh", "switch_closed", "armed_kw", "baseline_kw",
            "genset_running", "saturates_in_s",
        )
    ]
    + [(name, np.int64) for name in CONTROLLER_WORDS]
    + [("inputs", np.int64), ("alarm_sample", np.int64, (len(ALARM_NAMES),))]
)  # fmt: skip
REGISTERS: Final = np.dtype(
    [(f"{asset}_{way}_j", np.float64) for asset in ASSETS for way in ("into", "from")]
    + [(f"{service}_{way}_j", np.float64) for service in SERVICES for way in ("into", "from")]
    + [("fuel_ul", np.float64)]
)
CHUNK: Final = 1000
"""Samples per call of the kernel: a finished recording is fetched before its site can need the next."""
RECOVERY_SPREAD_S: Final = 120
"""A fleet's recovery of energy begins spread over this time, by the site's id."""
MAX_ROW_CHUNKS: Final = 600
"""A minute of 100 Hz rows is kept for whoever drains them; older ones are dropped."""


class ClosedLoop(Disturbances, Operation):
    """Sites with their controllers, advanced by samples of the grid's frequency. One caller at a time."""

    def __init__(
        self, sites: Sequence[SiteParameters], *, seed: int, sample_rate_hz: int = 10_000, starts_at_us: int = 0
    ) -> None:
        """Build the sites, in step with the grid.

        ``starts_at_us`` (since the epoch) aligns the 10 ms rows, the 100 ms metering blocks and the anti-islanding
        probe to UTC.
        Raises ValueError when there is no site or the rate is no multiple of 1000 Hz.
        """
        if not sites:
            raise ValueError("a closed loop of 0 sites, accepted: one or more")
        if sample_rate_hz < 1000 or sample_rate_hz % 1000:
            raise ValueError(f"sample_rate_hz is {sample_rate_hz}, accepted: multiples of 1000")
        self.sites = tuple(sites)
        self.sample = 0
        """Samples done."""
        self._rate_hz = sample_rate_hz
        self._row_ticks = sample_rate_hz // 100
        block = self._row_ticks * 10
        self._offset = round(starts_at_us * sample_rate_hz / 1_000_000) % block
        dt_s = 1.0 / sample_rate_hz
        self._g = np.concatenate([plant_parameters(site, dt_s) for site in sites])
        self._p = np.concatenate([plant_state(site, seed, index) for index, site in enumerate(sites)])
        self._phases = phase_states(sites)
        self._events = no_events(len(sites))
        self._k = np.concatenate([control_parameters(control_settings(site, sample_rate_hz)) for site in sites])
        self._c = np.concatenate(
            [initial_state(self._k[i : i + 1], starts_dead=site.starts_dead) for i, site in enumerate(sites)]
        )
        self.align_probe(starts_at_us // 1000)
        self._m = np.zeros(len(sites), records.SAMPLES)
        self._m["soc_ratio"] = self._p["soc_ratio"]
        self._m["temperature_c"] = self._p["temperature_c"]
        self._m["charge_limit_pu"] = self._m["discharge_limit_pu"] = 1.0
        self._m["dc_link_share"] = self._m["pcs_running"] = 1
        self._m["neutral_earth_closed"] = [site.starts_dead for site in sites]
        self._w = np.zeros(len(sites), METERS)
        self._w["trigger_sample"] = -1
        self._table = transition_table()
        self._ac = np.array([i for i, site in enumerate(sites) if not site.is_dc], np.int64)
        self.dc = DcSites(sites, self._g, starts_at_us)
        """The DC sites among them, with what stands behind their meters."""
        length = recorder.ring_length(sample_rate_hz)
        self._post_ticks = round(recorder.POST_S * sample_rate_hz)
        self._rings = np.zeros((len(sites), length, len(recorder.WAVEFORM_COLUMNS)), np.float32)
        self._row_chunks: deque[tuple[int, Float32Array]] = deque(maxlen=MAX_ROW_CHUNKS)
        self._waveforms: list[Waveform] = []

    def advance(self, grid_hz: FloatArray) -> None:
        """Advance all sites by ``len(grid_hz)`` samples at the grid's frequency [Hz]. Lets other threads run."""
        grid_hz = np.ascontiguousarray(grid_hz, dtype=np.float64)
        for at in range(0, len(grid_hz), CHUNK):
            self._advance_chunk(grid_hz[at : at + CHUNK])

    def _advance_chunk(self, grid_hz: FloatArray) -> None:
        count = (self._offset % self._row_ticks + len(grid_hz)) // self._row_ticks
        first = self.sample - self._offset % self._row_ticks
        rows = np.empty((count, len(self.sites), len(RECORD_COLUMNS)), np.float32)
        now = (grid_hz, self.sample, self._offset, self._row_ticks, self._post_ticks, rows)
        arguments: tuple[Any, ...] = (*self.step_arrays(), *now)
        if len(self._ac):
            advance_fleet(*arguments)
        every = (self._g, self._p, self._phases, self._events, self._k, self._c, self._m, self._w)
        self.dc.advance(every, self._rings, now)
        if count:
            self._row_chunks.append((first, rows))
        self.note_advanced(self.sample + len(grid_hz))

    # What a paced loop needs: it calls the same kernel itself.

    def step_arrays(self) -> tuple[Any, ...]:
        """Return the arrays that ``advance_fleet`` works on, in its order."""
        plant = (self._g, self._p, self._phases, self._events)
        return (self._ac, *plant, self._k, self._c, self._m, self._w, self._table, self._rings)

    @property
    def offset(self) -> int:
        """Number of the next sample inside its metering block of 100 ms."""
        return self._offset

    @property
    def row_samples(self) -> int:
        """Samples of one 10 ms row."""
        return self._row_ticks

    @property
    def post_samples(self) -> int:
        """Samples that a recording goes on after its decision."""
        return self._post_ticks

    def meter_words(self) -> FloatArray:
        """Return the meters' memory as numbers [sites, words]; a copy of it is a reading of every register."""
        return np.asarray(self._w.view(np.float64).reshape(len(self.sites), -1))

    def note_advanced(self, sample: int) -> None:
        """Take over that the kernel ran to a sample, and fetch the recordings that are complete."""
        self._offset = (self._offset + sample - self.sample) % (self._row_ticks * 10)
        self.sample = sample
        for i in np.flatnonzero((self._w["trigger_sample"] >= 0) & (self._w["post_ticks"] <= 0)):
            self._fetch(int(i))

    def _fetch(self, index: int) -> None:
        w = self._w[index]
        samples = recorder.unroll(self._rings[index], int(w["ring_at"]), int(w["samples"]))
        trigger = int(w["trigger_sample"])
        self._waveforms.append(
            Waveform(
                index=index,
                start_sample=trigger + self._post_ticks - len(samples),
                trigger_sample=trigger,
                rate_hz=float(self._rate_hz),
                cause=CAUSE_NAMES[int(w["trigger_cause"])],
                columns=DC_WAVEFORM_COLUMNS if self.sites[index].is_dc else recorder.WAVEFORM_COLUMNS,
                samples=samples,
            )
        )
        w["samples"] = 0
        w["ring_at"] = 0
        # Last: from here on a kernel that runs beside writes into the ring again.
        w["trigger_sample"] = -1

    def measured(self) -> StructuredArray:
        """Return what controllers and meters show now, one row of ``MEASURED`` a site; powers over 100 ms."""
        out = np.zeros(len(self.sites), MEASURED)
        base_kw = self._g["base_w"] / 1000.0
        c, k, soc = self._c, self._k, self._m["soc_ratio"]
        for name in ("frequency_hz", "voltage_pu", "alarm_sample", *CONTROLLER_WORDS):
            out[name] = c[name]
        out["inputs"] = self.inputs()
        for j, asset in enumerate(ASSETS):
            out[f"{asset}_kw"] = self._w["mean_w"][:, j] / 1000.0
        out["soc_ratio"] = soc
        out["temperature_c"] = self._m["temperature_c"]
        out["service_kw"] = self._w["service_w"] / 1000.0
        out["stream_kw"] = self._w["stream_w"] / 1000.0
        out["required_kw"] = c["required_pu"] * base_kw
        tied = c["mode"] == modes.GRID_TIED
        out["saturates_in_s"] = np.where(tied, c["saturates_in_s"], NOT_SOON_S)
        capacity_kwh = k["capacity_pu_s"] * base_kw / 3600.0
        usable = np.maximum(0.0, soc - k["reserve_ratio"]) * capacity_kwh * k["discharge_efficiency"]
        absorbable = np.maximum(0.0, 0.95 - soc) * capacity_kwh
        out["usable_energy_kwh"] = usable
        out["absorbable_energy_kwh"] = absorbable
        for i, site in enumerate(self.sites):
            out["discharge_kw"][i] = discharge_headroom_kw(site) if tied[i] and usable[i] > 0.0 else 0.0
            out["charge_kw"][i] = charge_headroom_kw(site) if tied[i] and absorbable[i] > 0.0 else 0.0
        self.dc.write_headroom(out)
        out["switch_closed"] = self._m["poles_closed"] == self._g["phases"]
        armed = (c["armed"] == 1) & (self.sample < c["armed_ends"])
        out["armed_kw"] = c["armed_pu"] * base_kw * armed
        out["baseline_kw"] = c["baseline_pu"] * base_kw * armed
        turning = (self._m["genset_state"] >= genset.READY) & (self._m["genset_state"] <= genset.COOLING)
        out["genset_running"] = turning | (self._p["genset_ticks"] > 0) & (self._p["genset_pu"] > 0.0)
        return out

    def registers(self, words: FloatArray | None = None) -> StructuredArray:
        """Return the meters' cumulative registers, one row of ``REGISTERS`` a site, to the last 100 ms block.

        ``words``: a copy of ``meter_words`` from the instant to read at; else now.

        A block's net energy goes to one register of each asset by its sign, so into − from over all
        assets is zero. The curve's and the stream's energy count likewise, each for itself: a service that swings to
        and fro shows in both of its registers.
        """
        out = np.zeros(len(self.sites), REGISTERS)
        w = self._w if words is None else words.view(METERS)[:, 0]
        for j, asset in enumerate(ASSETS):
            out[f"{asset}_into_j"] = w["into_j"][:, j]
            out[f"{asset}_from_j"] = w["from_j"][:, j]
        for name in ("service_into_j", "service_from_j", "stream_into_j", "stream_from_j", "fuel_ul"):
            out[name] = w[name]
        return out

    def arm(
        self,
        index: int,
        curve: ResponseCurve,
        power_kw: float,
        baseline_kw: float,
        starts_sample: int,
        ends_sample: int,
    ) -> None:
        """Arm one site with a curve for the samples [starts, ends); replaces what it held."""
        base_kw = float(self._g["base_w"][index]) / 1000.0
        arm_curve(
            self._c[index : index + 1],
            curve,
            power_pu=power_kw / base_kw,
            baseline_pu=baseline_kw / base_kw,
            starts=starts_sample,
            ends=ends_sample,
        )

    def resume(
        self, index: int, *, mode: str, latched: int, alarm: int, switch_closed: bool, since: Sequence[int]
    ) -> None:
        """See Operation."""
        super().resume(index, mode=mode, latched=latched, alarm=alarm, switch_closed=switch_closed, since=since)
        if mode == "lockout":
            self.dc.stand_still(index)

    def disarm(self, index: int) -> None:
        """Return one site to its own use."""
        self._c["armed"][index] = 0

    def follow_setpoint(self, index: int, power_kw: float, ramp_kw_per_s: float, until_sample: int) -> None:
        """Let one site follow a stream's power [kW, into the bus] up to a sample; then it ramps to nothing."""
        base_kw = float(self._g["base_w"][index]) / 1000.0
        follow_setpoint(
            self._c[index : index + 1],
            power_pu=power_kw / base_kw,
            ramp_per_s=ramp_kw_per_s / base_kw,
            until=until_sample,
        )

    def drain_records(self) -> tuple[int, Float32Array]:
        """Return (first sample, rows [n, sites, RECORD_COLUMNS]) of the 100 Hz record since the last call.

        A row is the mean over its 10 ms; for one phase the powers are the mean of this and the last row.
        """
        if not self._row_chunks:
            return self.sample, np.empty((0, len(self.sites), len(RECORD_COLUMNS)), np.float32)
        first = self._row_chunks[0][0]
        rows = np.concatenate([rows for _, rows in self._row_chunks])
        self._row_chunks.clear()
        return first, rows

    def newest_samples(self, index: int, count: int) -> Float32Array:
        """Return a site's newest samples [n, WAVEFORM_COLUMNS] from its recorder's ring, at most ``count``.

        Fewer after a recording was fetched: its ring starts anew then.
        """
        w, ring = self._w[index], self._rings[index]
        held = min(int(w["samples"]), len(ring), count)
        return ring[np.arange(int(w["ring_at"]) - held, int(w["ring_at"])) % len(ring)]

    def drain_waveforms(self) -> list[Waveform]:
        """Return the recordings completed since the last call."""
        kept, self._waveforms = self._waveforms, []
        return kept


def discharge_headroom_kw(site: SiteParameters) -> float:
    """Power that a site may add into its bus for service [kW], from what it declared, not from a moment.

    Capped by the connection: what the export limit allows over the declared load, less the sun's share.
    """
    if site.is_dc:
        return dc_discharge_headroom_kw(site)
    room_kw = site.export_limit_kw + 0.9 * site.load_kw - 1.1 * site.pv_now_ratio * site.pv_kw
    return round(max(0.0, min(site.pcs_kva, room_kw)), 3)


def charge_headroom_kw(site: SiteParameters) -> float:
    """Power that a site may take out of its bus for service [kW], under its import limit."""
    if site.is_dc:
        return dc_charge_headroom_kw(site)
    return round(max(0.0, min(site.pcs_kva, site.import_limit_kw - 1.1 * site.load_kw)), 3)


def control_settings(site: SiteParameters, rate_hz: int) -> ControlSettings:
    """Return the settings that a site's controller is commissioned with: nameplates, nothing of the moment."""
    load_pu = site.load_kw / site.pcs_kva
    return ControlSettings(
        phases=site.phases,
        rate_hz=float(rate_hz),
        nominal_hz=site.nominal_hz,
        grid_code=site.grid_code,
        anti_islanding=site.anti_islanding,
        feeder=site.feeder,
        rated_kva=site.pcs_kva,
        filter_x_pu=FILTER_X_PU * (1.0 + site.filter_error),
        filter_r_pu=FILTER_R_PU * (1.0 + site.filter_error),
        capacity_pu_h=site.battery_kwh / site.pcs_kva,
        reserve_ratio=site.reserve_kwh / site.battery_kwh,
        # What is left of a stored kWh at full power, so that the promise holds at any power.
        discharge_efficiency=full_power_efficiency(site),
        enter_service_delay_s=site.enter_service_delay_s,
        genset_fitted=site.genset_kw > 0.0,
        converter=site.converter,
        current_known=not site.is_dc,
        converter_behind=not site.is_dc,
        # Eight tenths of what the fault level tells: the neighbors' load takes a part, and too much would swing.
        grid_x_pu=0.8 / site.short_circuit_ratio,
        import_limit_pu=site.import_limit_kw / site.pcs_kva,
        export_limit_pu=site.export_limit_kw / site.pcs_kva,
        recovery_stagger_s=zlib.crc32(site.site_id.encode()) % RECOVERY_SPREAD_S,
        genset_rated_pu=site.genset_kw / site.pcs_kva,
        genset_minimum_run_s=site.genset_minimum_run_s,
        momentary_s=site.momentary_s,
        bond_fitted=site.bond_fitted,
        bond_refuses=site.bond_refuses,
        tier_pu=(site.load_tiers[0] * load_pu, site.load_tiers[1] * load_pu, site.load_tiers[2] * load_pu),
    )
