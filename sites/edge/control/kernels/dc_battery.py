"""A DC site's battery: charge voltage with temperature, charge limit, its contactor (last low-voltage disconnect)."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

REFERENCE_C: Final = 25.0
COLD_C: Final = 0.0
"""No charging below: lithium plates."""
HOT_C: Final = 45.0
HOTTEST_C: Final = 55.0
EVEN_MS: Final = 100


@kernel
def block_charge_ratio(temperature_c: float) -> float:
    """Share of the charge current that the battery's temperature allows: none in frost, falling from 45 °C on."""
    if temperature_c < COLD_C:
        return 0.0
    return min(max((HOTTEST_C - temperature_c) / (HOTTEST_C - HOT_C), 0.0), 1.0)


@kernel
def upper_voltage_v(dk: Record, dc: Record, temperature_c: float) -> float:
    """Highest bus voltage for charging [V]: the charge voltage while charging in earnest, else float.

    Both by temperature: lead takes 3 mV less per cell for each kelvin above 25 °C, between 0 and 45 °C.
    """
    shift_v = dk["float_v_per_k"] * (min(max(temperature_c, COLD_C), HOT_C) - REFERENCE_C)
    charging = dc["recharging"] or dc["serving"]
    return min((dk["charge_v"] if charging else dk["float_v"]) + shift_v, dk["ceiling_v"])


@kernel
def move_charge_limit(dk: Record, dc: Record, temperature_c: float) -> None:
    """Lower the charge current where the bus passes its upper voltage: constant current, then constant voltage."""
    most_a = dk["charge_a"] * block_charge_ratio(temperature_c)
    step_a = 0.002 * (dc["upper_v"] - dc["bus_v"]) / dk["loop_ohm"]
    dc["charge_limit_a"] = min(max(dc["charge_limit_a"] + step_a, 0.0), most_a)


@kernel
def supervise_battery_contactor(m: Record, dk: Record, dc: Record, dm: Record) -> None:
    """Last disconnect: part the battery before it is ruined, and take it back beside an even bus only."""
    if dc["battery_command"]:
        dc["battery_even_ms"] = 0
        low = dm["battery_closed"] and dc["bus_v"] < dk["battery_off_v"]
        dc["battery_low_ms"] = dc["battery_low_ms"] + 1 if low else 0
        if dc["battery_low_ms"] >= dk["tier_off_ms"]:
            dc["battery_command"] = 0
            dc["battery_low_ms"] = 0
            dc["disconnects"] += 1
    else:
        even = abs(dc["bus_v"] - dm["battery_v"]) < dk["close_v"] and dc["bus_v"] > dk["lowest_v"]
        # Capacitors alone would look even, too: somebody must feed the bus.
        fed = dm["rectifier_on"] or dc["pv_a"] > 0.001 * dk["rectifier_a"]
        dc["battery_even_ms"] = dc["battery_even_ms"] + 1 if even and fed else 0
        if dc["battery_even_ms"] >= EVEN_MS:
            dc["battery_command"] = 1
