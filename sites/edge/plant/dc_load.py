"""DC loads: constant power in tiers, and how radio traffic moves them over the day."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.plant.dc_records import TIERS
from sites.edge.plant.grid import MASK, next_random

RADIO_SHARE: Final = (
    0.74, 0.71, 0.69, 0.68, 0.68, 0.70, 0.76, 0.84, 0.91, 0.95, 0.97, 0.99,
    1.00, 0.99, 0.99, 0.99, 1.00, 1.02, 1.04, 1.05, 1.05, 1.01, 0.92, 0.82,
)  # fmt: skip
"""Power of a radio site by hour of the day over its declared load. Shape: some two thirds of a base station's
power do not depend on traffic, and traffic at night falls to a fifth; engineering knowledge, no measurement."""


@kernel
def radio_share(second_of_day: float) -> float:
    """Share of the declared load at a time of day, linear between the hours' middles."""
    hour = second_of_day / 3600.0 - 0.5
    whole = int(hour) if hour >= 0.0 else -1
    part = hour - whole
    first = RADIO_SHARE[whole % 24]
    return first + (RADIO_SHARE[(whole + 1) % 24] - first) * part


@kernel
def move_load(dg: Record, d: Record, p: Record, second_of_day: float) -> None:
    """Move the loads' common factor by a row of 10 ms: a slow walk of +-2 % around the profile."""
    usual = radio_share(second_of_day) if dg["radio_profile"] else 1.0
    noise = next_random(p) / MASK - 0.5
    d["load_factor"] += 0.002 * noise + 0.002 * (usual - d["load_factor"])


@kernel
def drawn_w(dg: Record, d: Record) -> float:
    """Power that the connected DC loads draw now [W]; 0 while the bus is too low for them to run."""
    if d["bus_v"] < dg["load_low_v"]:
        d["loads_up"] = 0
    elif d["bus_v"] > dg["load_start_v"]:
        d["loads_up"] = 1
    if not d["loads_up"]:
        return 0.0
    power_w = 0.0
    for tier in range(TIERS):
        if d["tier_on"][tier]:
            power_w += dg["tier_w"][tier]
    return power_w * d["load_factor"]
