"""Battery and DC link of a site as numbers of the plant."""

from __future__ import annotations

from typing import Final

from sites.edge.plant.dc_link import USABLE_SHARE
from sites.edge.plant.parameters import SiteParameters

CELL_R_PU_H: Final = 0.0583
"""Resistance of cells and cables on nominal voltage and 1C: 16 mOhm on ten strings of 768 V and 280 Ah."""
FAST_R_PU_H: Final = 0.02625
"""0.3 mOhm a cell."""
SLOW_R_PU_H: Final = 0.0175
"""0.2 mOhm a cell: an assumption, no data sheet gives it."""
CONVERTER_LOSS_RATIO: Final = 0.025


def store_values(site: SiteParameters) -> dict[str, float]:
    """Return the battery's and the DC link's part of the plant's parameters."""
    rated = rated_share(site)
    return {
        "capacity_j": site.battery_kwh * 3.6e6,
        "converter_loss_ratio": CONVERTER_LOSS_RATIO,
        "cell_r": CELL_R_PU_H * rated,
        "cell_fast_r": FAST_R_PU_H * rated,
        "cell_slow_r": SLOW_R_PU_H * rated,
        "ambient_c": site.ambient_c,
        "dc_store_s": site.dc_link_ms / 1000.0 / USABLE_SHARE,
        "dc_supply_s": site.dc_supply_ms / 1000.0,
    }


def rated_share(site: SiteParameters) -> float:
    """Resistance against that of energy cells: who builds for more than 1C takes cells of less resistance."""
    return min(1.0, site.battery_kwh / site.pcs_kva)


def full_power_efficiency(site: SiteParameters) -> float:
    """Energy at the converter's terminals from a stored kWh at full power, from nominal cell voltage."""
    drop = (CELL_R_PU_H + FAST_R_PU_H + SLOW_R_PU_H) * rated_share(site) * site.pcs_kva / site.battery_kwh
    return (1.02 - drop) / (1.0 + CONVERTER_LOSS_RATIO)
