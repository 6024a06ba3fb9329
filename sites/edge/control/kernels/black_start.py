"""Black start: a dead bus verified, the voltage raised softly, then load by tiers, then PV; the genset comes last.

The bus is raised without load. Current without voltage means a fault on it, and voltage that appears on the
utility side as well means a pole that conducts into a dead feeder: both lock the site out.
"""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.modes import change_mode
from sites.edge.control.kernels.protection import DEAD_PU, watch_dead_bus, watch_leak
from sites.edge.control.kernels.synchronism import watch_enter_service
from sites.edge.control.kernels.tiers import allowed_tiers

VERIFY: Final = 0
RAISE: Final = 1
TIERS_IN: Final = 2
SOURCES_IN: Final = 3

VERIFY_MS: Final = 100
VERIFY_TIMEOUT_MS: Final = 1000
BUS_UP_MS: Final = 500
"""How long the bus may take to show the voltage that the converter gives it."""
TEST_LEVEL: Final = 0.1
"""From this level of the soft start on a fault can be told from noise."""
FAULT_PEAK_PU: Final = 0.5
FAULT_SHARE: Final = 0.5
FAULT_MS: Final = 30
TIER_FAULT_MS: Final = 150
"""A breaker in the tier has this long to clear its own fault."""
TIER_STEP_MS: Final = 150
SOURCE_STEP_MS: Final = 50
STUCK_MS: Final = 30


@kernel
def supervise_black_start(k: Record, c: Record, m: Record, table: Any) -> None:
    """One millisecond of a black start."""
    c["required_pu"] = 0.0
    c["start_ms"] += 1
    watch_enter_service(k, c)
    current = max(abs(m["pa"]), max(abs(m["pb"]), abs(m["pc"])))
    c["fault_peak_pu"] = max(0.95 * c["fault_peak_pu"], current)
    stage = c["start_stage"]
    if stage == VERIFY:
        event = verify_dead(k, c, m)
    elif stage == RAISE:
        event = raise_voltage(k, c, m)
    else:
        event = connect_loads(k, c, m)
    if event != modes.NOTHING:
        change_mode(k, c, table, event)


@kernel
def next_stage(c: Record, stage: int) -> None:
    """Enter a stage at its first millisecond."""
    c["start_stage"] = stage
    c["start_ms"] = 0
    c["fault_ms"] = 0


@kernel
def verify_dead(k: Record, c: Record, m: Record) -> int:
    """Bus dead, switch open, bond closed: only then the converter starts. Returns an event, or 0."""
    dead = watch_dead_bus(c, m)
    bonded = k["bond_fitted"] == 0 or m["neutral_earth_closed"] != 0
    if dead and bonded and m["poles_closed"] == 0 and c["start_ms"] >= VERIFY_MS:
        c["utility_dead"] = int(abs(c["level_u"]) + abs(c["cross_u"]) < DEAD_PU)
        c["converter_on"] = 1
        next_stage(c, RAISE)
        return modes.NOTHING
    if c["start_ms"] < VERIFY_TIMEOUT_MS:
        return modes.NOTHING
    if m["poles_closed"] > 0:
        return modes.SWITCH_STUCK
    return modes.BUS_LIVE if not dead else modes.BOND_OPEN


@kernel
def raise_voltage(k: Record, c: Record, m: Record) -> int:
    """Raise the level to 1 pu within ``black_start_ms``. Returns an event, or 0."""
    c["level_e"] = min(1.0, c["level_e"] + 1.0 / k["black_start_ms"])
    level = c["level_e"]
    if level > TEST_LEVEL:
        short = c["fault_peak_pu"] > FAULT_PEAK_PU and c["voltage_pu"] < FAULT_SHARE * level
        c["fault_ms"] = c["fault_ms"] + 1 if short else 0
        if c["fault_ms"] >= FAULT_MS:
            return modes.BUS_FAULT
        if watch_stuck(k, c, m):
            return modes.SWITCH_STUCK
    if level >= 1.0:
        if c["voltage_pu"] > 0.9:
            next_stage(c, TIERS_IN)
        elif c["start_ms"] > k["black_start_ms"] + BUS_UP_MS:
            return modes.BUS_FAULT
    return modes.NOTHING


@kernel
def watch_stuck(k: Record, c: Record, m: Record) -> int:
    """Return 1 when a feeder that was dead shows this bus's own rising voltage, or takes its current."""
    same = (
        c["utility_dead"]
        and c["voltage_pu"] > 0.15
        and abs(c["level_u"]) + abs(c["cross_u"]) > 0.5 * c["voltage_pu"]
        and abs(m["ua"] - m["va"]) < 0.05
    )
    c["stuck_ms"] = c["stuck_ms"] + 1 if same else max(0, c["stuck_ms"] - 1)
    return int(c["stuck_ms"] >= STUCK_MS or m["poles_closed"] > 0 or watch_leak(k, c, m))


@kernel
def connect_loads(k: Record, c: Record, m: Record) -> int:
    """Tiers one after the other, then PV; a site out of energy keeps them off and goes to meet the grid."""
    c["level_e"] = min(max(c["level_e"] + 0.01 * (1.0 - c["voltage_pu"]), 0.85), 1.15)
    c["fault_ms"] = c["fault_ms"] + 1 if c["voltage_pu"] < 0.5 else 0
    if c["fault_ms"] >= TIER_FAULT_MS:
        return modes.BUS_FAULT
    if m["poles_closed"] > 0 or watch_leak(k, c, m):
        return modes.SWITCH_STUCK
    if c["energy_out"]:
        return modes.BUS_UP
    if c["start_stage"] == TIERS_IN:
        if c["tiers_closed"] >= allowed_tiers(k, m["soc_ratio"]):
            next_stage(c, SOURCES_IN)
        elif c["start_ms"] >= TIER_STEP_MS and c["voltage_pu"] > 0.9:
            c["tiers_closed"] += 1
            c["start_ms"] = 0
            c["tier_wait_ms"] = 0
    elif c["start_ms"] >= SOURCE_STEP_MS:
        if c["pv_connected"]:
            return modes.BUS_UP
        c["pv_connected"] = 1
        c["pv_limit_ratio"] = 0.0
        c["start_ms"] = 0
    return modes.NOTHING
