"""The DC sites of a closed loop: their records beside everybody's, their step, what they can give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.edge.control.dc_settings import DC_TRANSITIONS, DcSettings, dc_control_parameters, dc_initial_state
from sites.edge.control.islanding import transition_table
from sites.edge.control.kernels.dc_records import DC_PARAMETERS, DC_SAMPLES, DC_STATE, TIERS
from sites.edge.plant.dc_load import RADIO_SHARE, radio_share
from sites.edge.plant.dc_records import DC_METERS, DC_PLANT, DC_PLANT_PARAMETERS
from sites.edge.plant.dc_values import (
    CELLS,
    WINDOW_V,
    battery_ah,
    battery_ohm,
    cells_of,
    dc_meters,
    dc_plant_parameters,
    dc_plant_state,
    nominal_bus_v,
    rectifier_droop_ohm,
)
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.dc_step import DAY_S, advance_dc_fleet

StructuredArray = npt.NDArray[np.void]

DC_WAVEFORM_COLUMNS: Final = (
    "ua_pu", "ub_pu", "uc_pu", "ia_pu", "ib_pu", "ic_pu", "bus_pu", "battery_a", "rectifier_a", "pv_a", "load_a",
    "rectifier_on", "feeder_open", "decision", "switch_open",
)  # fmt: skip
"""Waveform of a DC site: AC input [pu], bus voltage [pu of nominal, 51.2 V], currents [A]; then 0/1 channels."""
DC_MEASURED: Final = np.dtype(
    [("index", np.int64)]
    + [
        (name, np.float64)
        for name in (
            "bus_v", "low_v", "high_v", "battery_a", "battery_v", "rectifier_kw", "loss_kwh", "dc_load_kwh",
            "auxiliary_kwh", "stored_kwh", "rectifier_kwh", "auxiliary_dark_s",
        )
    ]
    + [("tier_on", np.int64, (TIERS,)), ("battery_closed", np.int64), ("disconnects", np.int64)]
)  # fmt: skip
LFP_TIERS_V: Final = ((2.80, 2.95, 3.05), (3.15, 3.20, 3.20), 2.70)
VRLA_TIERS_V: Final = ((1.80, 1.85, 1.90), (2.02, 2.04, 2.04), 1.75)
"""Volts per cell: tiers off, tiers on again, battery off."""


class DcSites:
    """Records and step of a closed loop's DC sites; empty where there are none."""

    def __init__(self, sites: Sequence[SiteParameters], g: StructuredArray, starts_at_us: int) -> None:
        self.members = np.array([i for i, site in enumerate(sites) if site.is_dc], np.int64)
        """Places of the DC sites among all."""
        self._sites = [site for site in sites if site.is_dc]
        self.starts_s = starts_at_us / 1e6 % DAY_S
        """Time of day at sample 0 [s]."""
        dg, d, dk, dc = [], [], [], []
        for site, place in zip(self._sites, self.members, strict=True):
            dg.append(dc_plant_parameters(site, float(g["dt_s"][place])))
            d.append(dc_plant_state(site, dg[-1]))
            if site.load_profile == "radio":
                d[-1]["load_factor"] = radio_share(self.starts_s)
            dk.append(dc_control_parameters(dc_settings(site)))
            bus_v, load_a, pv_a = (float(d[-1][name][0]) for name in ("bus_v", "load_a", "pv_a"))
            dc.append(dc_initial_state(dk[-1], bus_v=bus_v, load_a=load_a, pv_a=pv_a))
        self._dg = np.concatenate([np.zeros(0, DC_PLANT_PARAMETERS), *dg])
        self._d = np.concatenate([np.zeros(0, DC_PLANT), *d])
        self._dk = np.concatenate([np.zeros(0, DC_PARAMETERS), *dk])
        self._dc = np.concatenate([np.zeros(0, DC_STATE), *dc])
        self._dm = np.zeros(len(dg), DC_SAMPLES)
        self._dw = np.concatenate([np.zeros(0, DC_METERS), *(dc_meters() for _ in dg)])
        self._table = transition_table(DC_TRANSITIONS)

    def step_arrays(self) -> tuple[Any, ...]:
        """Return the DC sites' own arrays, in the order of ``advance_dc_fleet``."""
        return (self.members, self._dg, self._d, self._dk, self._dc, self._dm, self._dw, self._table)

    def advance(self, every: tuple[Any, ...], rings: Any, now: tuple[Any, ...]) -> None:
        """Advance the DC sites; nothing is compiled where there are none.

        ``every`` holds the records of all sites, ``now`` what ``advance_fleet`` takes from ``grid_hz`` on.
        """
        if len(self.members):
            members, *own = self.step_arrays()
            *timing, rows = now
            advance_dc_fleet(*(members, *every, *own, rings, *timing, self.starts_s, rows))

    def write_headroom(self, out: StructuredArray) -> None:
        """Write what the DC sites' controllers offer now into rows of ``measured()`` [kW]; 0 where energy lacks."""
        for way, energy in (("discharge", "usable_energy_kwh"), ("charge", "absorbable_energy_kwh")):
            offered_kw = np.round(self._dc[f"offered_{way}_w"] / 1000.0, 3)
            out[f"{way}_kw"][self.members] = np.where(out[energy][self.members] > 0.0, offered_kw, 0.0)

    def stand_still(self, index: int) -> None:
        """Take battery and tiers of a DC site off its bus, as its lockout does; nothing at any other site."""
        if index in self.members:
            dc = self._dc[int(np.searchsorted(self.members, index))]
            dc["battery_command"] = 0
            dc["auxiliary_command"] = 1
            dc["tier_command"][:] = 0

    def fail_modules(self, index: int, count: int) -> None:
        """Let ``count`` rectifier modules of a site fail, or with a negative count come back.

        Raises ValueError when the site has no DC bus or not as many modules.
        """
        if index not in self.members:
            raise ValueError(f"site {index} has no DC bus, accepted: one of {self.members.tolist()}")
        d = self._d[int(np.searchsorted(self.members, index))]
        left = int(d["modules"]) - count
        fitted = self._sites[int(np.searchsorted(self.members, index))].rectifier_modules
        if not 0 <= left <= fitted:
            raise ValueError(f"{left} rectifier modules would be left, accepted: 0 to {fitted}")
        d["modules"] = left

    def measured(self) -> StructuredArray:
        """Return one row of ``DC_MEASURED`` a DC site, and begin new lowest and highest voltages."""
        out = np.zeros(len(self.members), DC_MEASURED)
        out["index"] = self.members
        if not len(out):
            return out
        for name in ("bus_v", "battery_a", "tier_on", "battery_closed"):
            out[name] = self._d[name]
        for name in ("low_v", "high_v", "auxiliary_dark_s"):
            out[name] = self._dw[name]
        for name in ("loss", "dc_load", "auxiliary", "stored", "rectifier"):
            out[f"{name}_kwh"] = self._dw[f"{name}_j"] / 3.6e6
        out["battery_v"] = self._dm["battery_v"]
        out["rectifier_kw"] = self._d["bus_v"] * self._d["rectifier_a"] / 1000.0
        out["disconnects"] = self._dc["disconnects"]
        for name in ("low_v", "high_v"):
            self._dw[name] = self._d["bus_v"]
        return out


def dc_discharge_headroom_kw(site: SiteParameters) -> float:
    """Power by which a DC site can surely reduce its input at any hour [kW], from what it declared."""
    least = min(RADIO_SHARE) if site.load_profile == "radio" else 1.0
    net_kw = 0.9 * least * site.load_kw - 1.1 * site.pv_now_ratio * site.pv_kw
    battery_kw = CELLS[site.battery_chemistry].discharge_per_h * site.battery_kwh
    return round(max(0.0, min(net_kw, site.pcs_kva, 0.9 * battery_kw)), 3)


def dc_charge_headroom_kw(site: SiteParameters) -> float:
    """Power by which a DC site can surely raise its input at any hour [kW], from what it declared."""
    most_kw = min(site.pcs_kva, 0.93 * (site.import_limit_kw - site.auxiliary_kw))
    battery_kw = CELLS[site.battery_chemistry].charge_per_h * site.battery_kwh
    return round(max(0.0, min(0.95 * most_kw - 1.1 * site.load_kw, 0.9 * battery_kw)), 3)


def dc_settings(site: SiteParameters) -> DcSettings:
    """Return the settings that a DC site's controller is commissioned with."""
    cell = CELLS[site.battery_chemistry]
    cells = cells_of(site)
    off_v, on_v, battery_off_v = LFP_TIERS_V if site.battery_chemistry == "lfp" else VRLA_TIERS_V
    return DcSettings(
        rectifier_w=site.pcs_kva * 1000.0,
        modules=site.rectifier_modules,
        battery_ah=battery_ah(site),
        battery_ohm=battery_ohm(site),
        droop_ohm=rectifier_droop_ohm(site),
        nominal_v=nominal_bus_v(site),
        window_v=WINDOW_V[site.bus],
        charge_v=cells * cell.charge_v,
        float_v=cells * cell.float_v,
        float_v_per_k=cells * cell.float_v_per_k,
        charge_per_h=cell.charge_per_h,
        discharge_per_h=cell.discharge_per_h,
        holds_float=site.battery_chemistry == "vrla",
        # 93 %: the rectifiers' own losses at full input, and some margin.
        import_w=0.93 * (site.import_limit_kw - site.auxiliary_kw) * 1000.0,
        genset_w=0.85 * site.genset_kw * 1000.0,
        tier_off_v=tuple(cells * v for v in off_v),
        tier_on_v=tuple(cells * v for v in on_v),
        battery_off_v=cells * battery_off_v,
        mains_return_delay_s=site.mains_return_delay_s,
        walk_in_s=site.walk_in_s,
    )
