"""The battery behind the converter: Thevenin cells, state of charge, temperature, and its own management.

Per unit of the nominal cell voltage; currents as a rate of the capacity [1/h], so that one set of cell data
serves a rack of 240 cells and a telecom pack of 16. Once per row of 10 ms.
"""

from __future__ import annotations

import math
from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel

CELL_V: Final = 3.2
OCV_SOC: Final = (0.0, 0.05, 0.10, 0.20, 0.40, 0.60, 0.80, 0.95, 1.0)
OCV_V: Final = (2.6, 3.05, 3.20, 3.25, 3.29, 3.305, 3.335, 3.36, 3.45)
"""Open-circuit voltage of a lithium iron phosphate cell."""
FAST_S: Final = 30.0
SLOW_S: Final = 400.0
COULOMB_EFFICIENCY: Final = 0.995
LOW_CELL_PU: Final = 2.5 / CELL_V
HIGH_CELL_PU: Final = 3.65 / CELL_V
"""Cell voltages at which the management opens the contactor."""
COLD_PER_K: Final = 0.02
"""Rise of the resistance for each kelvin below 25 °C."""
HEAT_TIME_S: Final = 5400.0
"""13 t at 1.05 kJ/kgK cooled by 2.5 kW/K: about an hour and a half."""
TAPER: Final = 0.05
"""State of charge from full (or empty) over which the reported limits fade to zero."""
HOT_C: Final = 45.0
HOTTEST_C: Final = 55.0
COLD_C: Final = 0.0
COLDEST_C: Final = -20.0
BEYOND_PU: Final = 0.1
BEYOND_ROWS: Final = 200
"""The management opens its contactor when the power has stood this far beyond its limit for 2 s."""
RESET_ROWS: Final = 1000

CLOSED: Final = 0
EMPTY: Final = 1
TRIPPED: Final = 2


@kernel
def open_circuit_pu(soc_ratio: float) -> float:
    """Open-circuit voltage over the nominal one, linear between the table's points."""
    for j in range(len(OCV_SOC) - 2):
        if soc_ratio < OCV_SOC[j + 1]:
            share = (soc_ratio - OCV_SOC[j]) / (OCV_SOC[j + 1] - OCV_SOC[j])
            return (OCV_V[j] + (OCV_V[j + 1] - OCV_V[j]) * share) / CELL_V
    j = len(OCV_SOC) - 2
    share = (soc_ratio - OCV_SOC[j]) / (OCV_SOC[j + 1] - OCV_SOC[j])
    return (OCV_V[j] + (OCV_V[j + 1] - OCV_V[j]) * share) / CELL_V


@kernel
def cell_current(emf: float, resistance: float, power_per_h: float) -> float:
    """Current [1/h] that gives a power [nominal energies per hour] behind a resistance; beyond the peak: the peak's."""
    square = emf * emf - 4.0 * resistance * power_per_h
    return (emf - math.sqrt(max(square, 0.0))) / (2.0 * resistance)


@kernel
def advance_battery(g: Record, p: Record, terminal_j: float, duration_s: float) -> None:
    """Take an energy out of the battery (negative: put it in), measured at the converter's terminals [J].

    The converter loses a share of it; the cells heat by what their resistance takes.
    """
    power_w = terminal_j / duration_s
    cells_w = power_w + g["converter_loss_ratio"] * abs(power_w)
    to_w = g["capacity_j"] / 3600.0
    resistance = g["cell_r"] * (1.0 + COLD_PER_K * max(25.0 - p["temperature_c"], 0.0))
    rest = open_circuit_pu(p["soc_ratio"])
    current = cell_current(rest - p["fast_pu"] - p["slow_pu"], resistance, cells_w / to_w)
    voltage = rest - p["fast_pu"] - p["slow_pu"] - resistance * current
    efficiency = 1.0 if current > 0.0 else COULOMB_EFFICIENCY
    p["soc_ratio"] = min(max(p["soc_ratio"] - efficiency * current * duration_s / 3600.0, 0.0), 1.0)
    p["fast_pu"] += (g["cell_fast_r"] * current - p["fast_pu"]) * duration_s / FAST_S
    p["slow_pu"] += (g["cell_slow_r"] * current - p["slow_pu"]) * duration_s / SLOW_S
    p["cell_pu"] = voltage
    heat_w = current * (rest - voltage) * to_w
    heat_j_k = g["capacity_j"] * 1.9e-3
    cooling_w = heat_j_k / HEAT_TIME_S * (p["temperature_c"] - g["ambient_c"])
    p["temperature_c"] += (heat_w - cooling_w) * duration_s / heat_j_k


@kernel
def power_limits(p: Record) -> Any:
    """Return (charge, discharge) that the management allows now, as shares of the converter's rating."""
    temperature_c = p["temperature_c"]
    heat = min(max((HOTTEST_C - temperature_c) / (HOTTEST_C - HOT_C), 0.0), 1.0)
    charge = heat * min((1.0 - p["soc_ratio"]) / TAPER, 1.0)
    if temperature_c < COLD_C:
        charge = 0.0
    frost = min(max((temperature_c - COLDEST_C) / (COLD_C - COLDEST_C), 0.0), 1.0)
    discharge = min(heat, frost) * min(p["soc_ratio"] / TAPER, 1.0)
    return charge, discharge


@kernel
def guard_battery(g: Record, p: Record, power_pu: float) -> None:
    """The management's contactor: opens on cell voltage or on a power that stays beyond its limits."""
    charge, discharge = power_limits(p)
    if p["battery_open"] == CLOSED:
        beyond = power_pu > discharge + BEYOND_PU or power_pu < -charge - BEYOND_PU
        p["beyond_rows"] = p["beyond_rows"] + 1 if beyond else 0
        if p["soc_ratio"] <= 0.0 or p["cell_pu"] < LOW_CELL_PU:
            p["battery_open"] = EMPTY
            p["beyond_rows"] = 0
        elif p["cell_pu"] > HIGH_CELL_PU or p["beyond_rows"] > BEYOND_ROWS:
            p["battery_open"] = TRIPPED
            p["beyond_rows"] = 0
    elif p["battery_open"] == EMPTY:
        # Charging is still allowed, and lets go of it.
        if p["soc_ratio"] > 2.0 * TAPER:
            p["battery_open"] = CLOSED
    else:
        p["beyond_rows"] += 1
        if p["beyond_rows"] > RESET_ROWS and discharge > 0.5:
            p["battery_open"] = CLOSED
            p["beyond_rows"] = 0


@kernel
def is_blocked(p: Record, phases: Any, count: int) -> int:
    """Return 1 while the converter has nothing to stand on: no battery, or an empty one and no grid to charge from."""
    if p["battery_open"] == TRIPPED:
        return 1
    if p["battery_open"] == EMPTY:
        for k in range(count):
            if phases[k]["breaker_closed"] and phases[k]["switch_closed"]:
                return 0
        return 1
    return 0
