"""A synthetic fleet: telecom sites, edge cabinets and a few data centers, the same for the same seed."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np

from sites.edge.plant.parameters import SiteParameters

GRID_ZONE: Final = "GB"
TIME_ZONE: Final = "Europe/London"
NOMINAL_HZ: Final = 50.0
MAX_SITES: Final = 9999
STRING_KWH: Final = 5.12
"""16 lithium iron phosphate cells of 100 Ah: 51.2 V."""


def synthetic_fleet(count: int, seed: int) -> list[SiteParameters]:
    """Return ``count`` sites ``site-0001`` … in the GB zone.

    Of every 20 sites 8 are single-phase telecom sites of a few kW (two of them on a 48 V DC bus), 11 edge
    cabinets of 20-150 kW and one a data center of 500 kW. Raises ValueError when the count is outside 1 to 9999.
    """
    if not 1 <= count <= MAX_SITES:
        raise ValueError(f"count is {count}, accepted: 1 to {MAX_SITES}")
    return [_site(number, np.random.default_rng([seed, number])) for number in range(1, count + 1)]


def _site(number: int, random: np.random.Generator) -> SiteParameters:
    place = number % 20
    kind = "data_center" if place == 10 else "telecom" if place % 5 in (3, 4) else "cabinet"
    if kind == "telecom":
        phases, voltage_v = 1, 230.0
        pcs_kva = float(random.choice([5.0, 8.0, 10.0]))
        hours, pv_share, load_share = random.uniform(0.6, 1.6), 0.5, random.uniform(0.25, 0.5)
        genset_kw = float(random.choice([0.0, 10.0]))
    elif kind == "cabinet":
        phases, voltage_v = 3, 400.0
        pcs_kva = float(random.choice([20.0, 30.0, 50.0, 100.0, 150.0], p=[0.3, 0.3, 0.2, 0.1, 0.1]))
        hours, pv_share, load_share = random.uniform(0.5, 1.3), 0.4, random.uniform(0.3, 0.65)
        genset_kw = float(random.choice([0.0, 0.8])) * pcs_kva
    else:
        phases, voltage_v = 3, 400.0
        pcs_kva = 500.0
        hours, pv_share, load_share = random.uniform(0.6, 1.2), 0.5, random.uniform(0.35, 0.5)
        genset_kw = 500.0
    battery_kwh = round(pcs_kva * hours, 1)
    load_kw = round(pcs_kva * load_share, 2)
    # Own use first: half an hour of the load stays in the battery, whatever the grid asks.
    reserve_kwh = round(min(0.5 * load_kw, 0.4 * battery_kwh), 2)
    switch_kind = "sic" if kind == "telecom" else str(random.choice(["forced", "sic"], p=[0.8, 0.2]))
    if kind != "telecom" and number % 25 == 17:
        switch_kind = "natural"
    elif kind != "telecom" and number % 50 == 22:
        switch_kind = "contactor"
    site = SiteParameters(
        site_id=f"site-{number:04d}",
        name=f"{kind.replace('_', ' ').capitalize()} {number}",
        kind=kind,
        nominal_hz=NOMINAL_HZ,
        nominal_voltage_v=voltage_v,
        phases=phases,
        pcs_kva=pcs_kva,
        battery_kwh=battery_kwh,
        soc_ratio=round(float(random.uniform(0.6, 0.9)), 3),
        reserve_kwh=reserve_kwh,
        pv_kw=round(pcs_kva * pv_share, 2),
        pv_now_ratio=round(float(random.uniform(0.1, 0.5)), 3),
        load_kw=load_kw,
        genset_kw=genset_kw,
        import_limit_kw=round(1.3 * pcs_kva, 1),
        export_limit_kw=round(float(random.uniform(0.6, 1.0)) * pcs_kva, 1),
        switch_kind=switch_kind,
        meter_bias_hz=round(float(random.uniform(-0.01, 0.01)), 5),
        noise_pu=round(float(random.uniform(0.002, 0.004)), 5),
        short_circuit_ratio=round(float(random.uniform(6.0, 20.0)), 2),
        neighbor_load_pu=round(float(random.uniform(2.5, 6.0)), 2),
        grid_voltage_pu=round(float(random.uniform(0.98, 1.02)), 4),
        fifth_harmonic_pu=round(float(random.uniform(0.0, 0.02)), 4),
    )
    return _on_dc_bus(site, random) if place in (9, 19) else site


def _on_dc_bus(site: SiteParameters, random: np.random.Generator) -> SiteParameters:
    """Return a telecom site as one on a 48 V bus: strings of 100 Ah for hours, rectifiers that export nothing."""
    hours = random.uniform(3.0, 5.0)
    strings = max(2, math.ceil(site.load_kw * hours / STRING_KWH))
    battery_kwh = round(strings * STRING_KWH, 2)
    return dataclasses.replace(
        site,
        name=f"Telecom 48 V {int(site.site_id[-4:])}",
        bus="dc48",
        rectifier_modules=math.ceil(site.pcs_kva / 2.0),
        load_profile="radio",
        battery_kwh=battery_kwh,
        # Two hours of the load: what an operator leaves for an outage.
        reserve_kwh=round(min(2.0 * site.load_kw, 0.5 * battery_kwh), 2),
        pv_kw=round(0.6 * site.load_kw, 2),
        auxiliary_kw=round(float(random.choice([0.0, 0.1, 0.3])), 2),
        export_limit_kw=0.0,
        switch_kind="contactor",
    )
