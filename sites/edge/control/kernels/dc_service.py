"""A DC site's battery power for the next millisecond: service over the baseline, recovery, and every limit on it.

As ``service.py`` does at an AC site, with other limits: the battery may take over from the rectifiers what they
carry and not a watt more, for nothing goes back to the grid.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.droop import follow, limit_by_energy, required_power, stream_power
from sites.edge.control.kernels.service import (
    LIMIT_SHARE,
    LIMITED_BY_ENERGY,
    LIMITED_BY_EXPORT,
    LIMITED_BY_IMPORT,
    LIMITED_BY_RATING,
    LIMITED_NOT,
    QUIET_SHARE,
    calmed_service,
    recovery_power,
    time_to_saturation,
)

OFFER_SHARE: Final = 0.90
"""Of what is there now: the load walks by some per cent in the minutes of an activation."""
OFFER_HIGH: Final = 0.985
OFFER_LOW: Final = 0.80
"""Shares of what is there between which an offer stands as it was made."""
LIVE_V_SHARE: Final = 0.5
"""Bus voltage over nominal from which on a power means a current."""


@kernel
def dc_power_reference(k: Record, c: Record, m: Record, dk: Record, dc: Record, sample: int) -> None:
    """Leave the battery's wanted power in ``dc["service_w"]``, and whether a window or its tail asks for it at all.

    Once per millisecond while grid-tied.
    """
    required = required_power(k, c, sample, c["frequency_hz"])
    c["required_pu"] = required
    in_window = c["armed"] and c["armed_starts"] <= sample < c["armed_ends"]
    baseline = c["baseline_pu"] if in_window else 0.0
    c["base_pu"] = follow(c["base_pu"], baseline, k["base_ramp_per_ms"])
    c["service_pu"] = follow(c["service_pu"], calmed_service(c, required), k["service_ramp_per_ms"])
    quiet = in_window and abs(required) <= QUIET_SHARE * c["armed_pu"]
    recovery = recovery_power(k, c, required, quiet)
    asked = c["base_pu"] + c["service_pu"] + recovery + stream_power(c, sample)
    dc["serving"] = 1 if in_window or asked != 0.0 else 0
    power = limited_dc_power(k, c, m, dk, dc, asked)
    dc["service_w"] = power * dk["base_w"]
    c["saturates_in_s"] = time_to_saturation(k, m["soc_ratio"], power)


@kernel
def limited_dc_power(k: Record, c: Record, m: Record, dk: Record, dc: Record, wanted: float) -> float:
    """Return a wanted battery power [pu] inside energy, rectifiers, connection and load; tell what limits it."""
    by = LIMITED_NOT
    power = limit_by_energy(k, m["soc_ratio"], wanted)
    if power != wanted:
        by = LIMITED_BY_ENERGY
    bus_v = max(dc["bus_v"], LIVE_V_SHARE * dk["nominal_v"])
    drawn = bus_v * (dc["load_a"] - dc["pv_a"]) / dk["base_w"]
    highest = max(drawn, 0.0)
    most = dc["limit_a"] * bus_v / dk["base_w"]
    lowest = min(drawn - LIMIT_SHARE * most, 0.0)
    if power > highest:
        by = LIMITED_BY_EXPORT
        power = highest
    elif power < lowest:
        by = LIMITED_BY_IMPORT
        power = lowest
    # The battery's own current limits hold where the current is set; here they are told.
    if power > dk["discharge_a"] * bus_v / dk["base_w"] or power < -dc["charge_limit_a"] * bus_v / dk["base_w"]:
        by = LIMITED_BY_RATING
    c["limited_by"] = by
    return power


@kernel
def held_offer(offered_w: float, true_w: float) -> float:
    """Return what is offered of a power that is there now [W]: nine tenths, and that for as long as it holds.

    An offer that followed the load at every instant would be gone by the time it is taken.
    """
    if offered_w > OFFER_HIGH * true_w or offered_w < OFFER_LOW * true_w:
        return max(OFFER_SHARE * true_w, 0.0)
    return offered_w


@kernel
def offer_headroom(c: Record, dk: Record, dc: Record, dm: Record) -> None:
    """Leave what the site may be asked for now in ``offered_discharge_w`` and ``offered_charge_w``.

    For the grid: what the rectifiers would carry if the battery did nothing, for nothing is exported. Charging:
    what rectifiers and connection have left over the load, as far as the battery takes it.
    """
    if c["mode"] != modes.GRID_TIED or not dm["battery_closed"]:
        dc["offered_discharge_w"] = 0.0
        dc["offered_charge_w"] = 0.0
        return
    drawn_w = dc["bus_v"] * (dc["load_a"] - dc["pv_a"])
    left_w = dc["bus_v"] * dc["limit_a"] - max(drawn_w, 0.0)
    discharge_w = min(drawn_w, dc["bus_v"] * dk["discharge_a"])
    charge_w = min(left_w, dc["bus_v"] * dc["charge_limit_a"])
    dc["offered_discharge_w"] = held_offer(dc["offered_discharge_w"], discharge_w)
    dc["offered_charge_w"] = held_offer(dc["offered_charge_w"], charge_w)
