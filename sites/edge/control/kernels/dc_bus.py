"""One controller step of a DC site: mains watched on every sample, the bus supervised once per millisecond.

DC loads hang on the battery's own bus and see nothing of a transfer; what the controller decides is where the
rectifiers' voltage stands. Lower: the battery carries more of the load and the site's input falls, down to
nothing and never below (no export). Higher: the battery is charged and the input rises. That shift, closed over
the battery's shunt, is the site's answer to the grid's frequency.
"""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.dc_battery import (
    block_charge_ratio,
    move_charge_limit,
    supervise_battery_contactor,
    upper_voltage_v,
)
from sites.edge.control.kernels.dc_disconnect import supervise_tiers
from sites.edge.control.kernels.dc_service import LIVE_V_SHARE, dc_power_reference, offer_headroom
from sites.edge.control.kernels.detector import reset_detector, watch_millisecond, watch_samples
from sites.edge.control.kernels.frequency import estimate_frequency
from sites.edge.control.kernels.records import CAUSE_NONE
from sites.edge.control.kernels.requests import (
    acknowledge,
    active_latches,
    answer,
    note_alarms,
    settle,
    start,
    tripped_event,
)
from sites.edge.control.kernels.samples import SENSOR_PU, mend_sample
from sites.edge.control.kernels.sequence import track_sequence
from sites.edge.control.kernels.service import reset_stream, share_granted

INVERSE_SQRT3: Final = 0.5773502691896258
SHORT_OUTAGE_MS: Final = 1000
"""Up to here the input contactor stays closed: rectifiers bridge a dip by themselves and need no walk-in."""
SHORT_RETURN_MS: Final = 200
DEAD_SHARE: Final = 0.5
"""Bus voltage over nominal below which nothing runs any more."""
DEAD_MS: Final = 500
OVERVOLTAGE_MS: Final = 100
SMOOTH: Final = 0.3
"""Share of a new reading, once per millisecond: about 3 ms of memory."""
SPENT_RATIO: Final = 0.005
"""Charge that an outage may take without being put back: the battery's own figure jumps by 0.001."""
ARRIVAL_SHARE: Final = 0.12
"""Share per millisecond, twice in a row: 16 ms on average."""
IDLE_SHARE: Final = 0.005
"""Rectifier current over rated below which the rectifiers count as giving nothing."""


@kernel
def change_dc_mode(k: Record, c: Record, dc: Record, table: Any, event: int) -> None:
    """Look a DC site's next mode up and do what entering it means; unknown events lock out, as at an AC site."""
    mode = c["mode"]
    following = table[mode, event]
    if following == modes.UNEXPECTED:
        following = modes.LOCKOUT
    if following == modes.LOCKOUT and mode != modes.LOCKOUT:
        c["alarm"] = 1 + mode * modes.EVENT_COUNT + event
    if following == mode:
        return
    c["mode"] = following
    modes.log_change(c, mode, event, following)
    c["mode_ticks"] = 0
    c["base_pu"] = 0.0
    c["service_pu"] = 0.0
    reset_stream(c)
    c["required_pu"] = 0.0
    dc["serving"] = 0
    dc["dead_ms"] = 0
    dc["over_ms"] = 0
    dc["walked_ms"] = 0
    if following == modes.GRID_TIED:
        c["base_pu"] = c["power_pu"]
        c["cause"] = 0
        c["decided"] = 0
        c["reclosures"] += 1
        c["genset_run"] = 0
        c["reference"] = min(max(c["level_u"], 0.85), 1.15)
        dc["auxiliary_command"] = 0
        reset_detector(c)
    elif following == modes.ISLANDED:
        dc["auxiliary_command"] = 1
        if mode == modes.GRID_TIED:
            c["decided"] = 1
            c["decisions"] += 1
            modes.note_decision(c, event)
        elif mode == modes.LOCKOUT:
            c["alarm"] = modes.ALARM_NONE
            dc["battery_command"] = 1
    elif following == modes.RESYNCHRONIZING:
        c["switch_command"] = 1
        c["genset_run"] = 0
    elif following == modes.BLACK_START:
        # Nothing feeds the bus: everything off it, so that whoever comes back first meets no load.
        dc["battery_command"] = 0
        for tier in range(dc["tier_command"].shape[0]):
            dc["tier_command"][tier] = 0
    elif following == modes.LOCKOUT:
        # Safe state: no source on the bus; only a request leads out, after a fault only the key at the site.
        if event not in (modes.EMERGENCY_STOP, modes.FIRE, modes.BMS_TRIP):
            c["latched"] |= modes.LATCH_FAULT
        c["switch_command"] = 0
        c["genset_run"] = 0
        dc["battery_command"] = 0
        dc["auxiliary_command"] = 1
        for tier in range(dc["tier_command"].shape[0]):
            dc["tier_command"][tier] = 0


@kernel
def dc_control_step(
    k: Record, c: Record, m: Record, dk: Record, dc: Record, dm: Record, table: Any, sample: int
) -> None:
    """Take one sample of a DC site; outputs are left in ``c`` (input contactor, genset) and ``dc``."""
    mend_sample(k, c, m)
    if k["phases"] == 3:
        u_alpha = (2.0 * m["ua"] - m["ub"] - m["uc"]) * (1.0 / 3.0)
        u_beta = (m["ub"] - m["uc"]) * INVERSE_SQRT3
    else:
        u_alpha = m["ua"]
        u_beta = 0.0
    c["mode_ticks"] += 1
    c["sample"] = sample
    if c["mode"] == modes.GRID_TIED:
        cause = watch_samples(k, c, m, u_alpha, u_beta)
        if cause != CAUSE_NONE and c["mode_ticks"] > k["blanking_ticks"]:
            c["cause"] = cause
            change_dc_mode(k, c, dc, table, modes.GRID_LOST)
    track_sequence(k, c, u_alpha, u_beta)
    c["ticks_to_ms"] -= 1
    if c["ticks_to_ms"] <= 0:
        c["ticks_to_ms"] = k["ticks_per_ms"]
        supervise_dc(k, c, m, dk, dc, dm, table, sample)


@kernel
def supervise_dc(k: Record, c: Record, m: Record, dk: Record, dc: Record, dm: Record, table: Any, sample: int) -> None:
    """Everything at a DC site that a millisecond is soon enough for."""
    most_v = SENSOR_PU * dk["nominal_v"]
    most_a = SENSOR_PU * dk["rectifier_a"]
    dc["bus_v"] = followed(dc["bus_v"], dm["bus_v"], most_v)
    dc["battery_a"] = followed(dc["battery_a"], dm["battery_a"], most_a)
    dc["rectifier_a"] = followed(dc["rectifier_a"], dm["rectifier_a"], most_a)
    dc["load_a"] = followed(dc["load_a"], dm["load_a"], most_a)
    dc["pv_a"] = followed(dc["pv_a"], dm["pv_a"], most_a)
    if not abs(dm["battery_v"]) < most_v:
        dm["battery_v"] = dc["bus_v"]
    c["frequency_hz"] = estimate_frequency(k, c)
    c["voltage_pu"] = dc["bus_v"] / dk["nominal_v"]
    c["power_pu"] = dc["bus_v"] * dc["battery_a"] / dk["base_w"]
    watch_mains(c, dc)
    event = modes.NOTHING
    if c["mode"] == modes.GRID_TIED:
        event = supervise_mains(k, c, sample)
        dc_power_reference(k, c, m, dk, dc, sample)
        if not dc["recharging"]:
            dc["resting_ratio"] = m["soc_ratio"]
    elif c["mode"] == modes.ISLANDED:
        event = supervise_outage(k, c, m, dk, dc, dm)
    elif c["mode"] == modes.RESYNCHRONIZING:
        event = supervise_walk_in(k, c, m, dk, dc, dm)
    elif c["mode"] == modes.BLACK_START:
        event = supervise_dead_bus(c, dk, dc)
    wanted = take_dc_requests(c, m)
    if wanted != modes.NOTHING:
        event = wanted
    if c["mode"] != modes.LOCKOUT:
        supervise_tiers(c, m, dk, dc, dm)
        supervise_battery_contactor(m, dk, dc, dm)
    fault = watch_bus(c, dk, dc)
    if fault != modes.NOTHING:
        event = fault
    tripped = tripped_event(m)
    if tripped != modes.NOTHING:
        c["latched"] |= active_latches(m)
        event = tripped
    if event != modes.NOTHING:
        change_dc_mode(k, c, dc, table, event)
    set_voltages(c, m, dk, dc, dm)
    offer_headroom(c, dk, dc, dm)
    note_alarms(c)


@kernel
def followed(value: float, reading: float, most: float) -> float:
    """Return a smoothed reading of the bus one millisecond on; what is no reading at all leaves it where it is."""
    return value + SMOOTH * (reading - value) if abs(reading) < most else value


@kernel
def take_dc_requests(c: Record, m: Record) -> int:
    """Answer what was asked for; return the event of a granted start, or 0.

    A DC site has no island that one could plan, and no work mode of its own: it starts again and acknowledges.
    """
    asked = c["request"]
    if asked != 0:
        c["request"] = 0
    turned = m["local_reset"] != 0 and c["key_was"] == 0
    c["key_was"] = m["local_reset"]
    if asked == 0 and not turned:
        return modes.NOTHING
    event = modes.NOTHING
    local = asked & modes.REQUEST_START_LOCAL != 0 or turned
    if local or asked & modes.REQUEST_START_REMOTE:
        code = start(c, m, local)
        if code == modes.GRANTED and c["mode"] == modes.LOCKOUT:
            event = modes.START_REQUESTED
        if asked:
            answer(c, code)
        else:
            settle(c, code)
    elif asked & modes.REQUEST_ACKNOWLEDGE:
        acknowledge(c)
        answer(c, modes.GRANTED)
    else:
        answer(c, modes.REFUSED_FITTED)
    c["start_wanted"] = 0
    return event


@kernel
def watch_mains(c: Record, dc: Record) -> None:
    """Count how long the mains have been fit for rectifiers: a wide window, and the PLL locked."""
    if 0.8 <= c["level_u"] <= 1.2 and abs(c["cross_u"]) < 0.1:
        dc["fit_ms"] += 1
        dc["unfit_ms"] = 0
    else:
        dc["unfit_ms"] += 1
        if dc["unfit_ms"] > 3:
            dc["fit_ms"] = 0


@kernel
def supervise_mains(k: Record, c: Record, sample: int) -> int:
    """Grid-tied: judge the dips' slow windows; return an event. A load trips on no frequency."""
    ms = sample // k["ticks_per_ms"]
    cause = watch_millisecond(k, c, ms)
    if cause != CAUSE_NONE and c["mode_ticks"] > k["blanking_ticks"]:
        c["cause"] = cause
        return modes.GRID_LOST
    return modes.NOTHING


@kernel
def supervise_outage(k: Record, c: Record, m: Record, dk: Record, dc: Record, dm: Record) -> int:
    """Without mains: contactor, genset, and the way back; return an event."""
    outage_ms = c["mode_ticks"] // k["ticks_per_ms"]
    if m["poles_closed"] > 0 and outage_ms <= SHORT_OUTAGE_MS:
        return modes.GRID_FIT if dc["fit_ms"] >= SHORT_RETURN_MS else modes.NOTHING
    c["switch_command"] = 0
    if k["genset_fitted"]:
        if m["soc_ratio"] < k["genset_start_ratio"]:
            c["genset_run"] = 1
        elif m["soc_ratio"] > k["genset_stop_ratio"]:
            c["genset_run"] = 0
    if dc["bus_v"] < DEAD_SHARE * dk["nominal_v"]:
        dc["dead_ms"] += 1
        if dc["dead_ms"] >= DEAD_MS:
            return modes.BUS_FAULT
    else:
        dc["dead_ms"] = 0
    return modes.GRID_FIT if dc["fit_ms"] >= dk["return_ms"] else modes.NOTHING


@kernel
def supervise_walk_in(k: Record, c: Record, m: Record, dk: Record, dc: Record, dm: Record) -> int:
    """Mains are back: wait until the rectifiers carry what is asked of them; return an event."""
    if dc["fit_ms"] == 0:
        return modes.GRID_UNFIT
    settled = dm["rectifier_on"] and (dc["battery_a"] <= 0.0 or not dm["limiting"])
    dc["walked_ms"] = dc["walked_ms"] + 1 if settled else 0
    overdue = c["mode_ticks"] > 2 * (dk["walk_in_ms"] + 1000) * k["ticks_per_ms"]
    if dc["walked_ms"] < SHORT_RETURN_MS and not overdue:
        return modes.NOTHING
    if m["soc_ratio"] < dc["resting_ratio"] - SPENT_RATIO:
        # What the outage took is put back: the next one may come soon.
        dc["recharging"] = 1
        dc["target_ratio"] = dc["resting_ratio"]
    return modes.SWITCH_CLOSED


@kernel
def supervise_dead_bus(c: Record, dk: Record, dc: Record) -> int:
    """Dead bus: mains bring it back by the rectifiers, the sun or the genset by themselves; return an event."""
    if dc["fit_ms"] >= dk["return_ms"]:
        return modes.GRID_FIT
    if dc["battery_command"] and dc["bus_v"] > DEAD_SHARE * dk["nominal_v"]:
        return modes.BUS_UP
    return modes.NOTHING


@kernel
def watch_bus(c: Record, dk: Record, dc: Record) -> int:
    """Return a fault of the bus: overvoltage, or collapsed while the rectifiers should carry it."""
    if dc["bus_v"] > dk["highest_v"]:
        dc["over_ms"] += 1
        if dc["over_ms"] >= OVERVOLTAGE_MS:
            return modes.BUS_FAULT
    else:
        dc["over_ms"] = 0
    if c["mode"] == modes.GRID_TIED:
        if dc["bus_v"] < DEAD_SHARE * dk["nominal_v"]:
            dc["dead_ms"] += 1
            if dc["dead_ms"] >= DEAD_MS:
                return modes.BUS_FAULT
        else:
            dc["dead_ms"] = 0
    return modes.NOTHING


@kernel
def wanted_battery_a(m: Record, dk: Record, dc: Record) -> float:
    """Return the battery's current that is wanted now [A, positive out of it], inside all its limits.

    In an armed window baseline and response decide (dc_service.py), above the reserve. Otherwise the site's own
    use: recharge when low, float for lead, rest for lithium.
    """
    soc = m["soc_ratio"]
    if soc < dk["recharge_ratio"]:
        dc["recharging"] = 1
        dc["target_ratio"] = dk["full_ratio"]
    elif soc >= dc["target_ratio"]:
        dc["recharging"] = 0
    current_a = 0.0
    if dc["serving"]:
        current_a = dc["service_w"] / max(dc["bus_v"], LIVE_V_SHARE * dk["nominal_v"])
    elif dk["holds_float"] or dc["recharging"]:
        current_a = -dk["charge_a"]
    lowest_a = -min(dc["charge_limit_a"], dk["charge_a"] * block_charge_ratio(m["temperature_c"]))
    return min(max(current_a, lowest_a), dk["discharge_a"])


@kernel
def set_voltages(c: Record, m: Record, dk: Record, dc: Record, dm: Record) -> None:
    """Place the rectifiers' and the PV's voltage and the rectifiers' current limit for the next millisecond."""
    upper_v = upper_voltage_v(dk, dc, m["temperature_c"])
    dc["upper_v"] = upper_v
    move_charge_limit(dk, dc, m["temperature_c"])
    on_genset = c["mode"] != modes.GRID_TIED and c["genset_run"] and dm["genset_up"]
    fed = c["mode"] == modes.GRID_TIED or c["mode"] == modes.RESYNCHRONIZING or on_genset
    safe_v = max(dc["bus_v"], LIVE_V_SHARE * dk["nominal_v"])
    share = dm["modules"] / dk["modules"]
    limit_a = min(dk["rectifier_a"] * share, min(dk["rectifier_w"] * share, dk["import_w"]) / safe_v)
    if on_genset:
        limit_a = min(limit_a, dk["genset_w"] / safe_v)
    dc["limit_a"] = limit_a if c["mode"] != modes.LOCKOUT else 0.0
    # What the rectifiers' own droop takes at the load of the moment, and the shift for the wanted current.
    wanted_a = wanted_battery_a(m, dk, dc)
    dc["wanted_a"] = wanted_a
    if c["mode"] == modes.GRID_TIED:
        share_granted(c, wanted_a * safe_v / dk["base_w"])
    ahead_v = dk["droop_ohm"] * (dc["load_a"] - dc["pv_a"]) - dk["loop_ohm"] * wanted_a
    if not dm["battery_closed"]:
        # Alone on the bus the rectifiers hold its voltage; beside an open battery they meet its voltage first.
        target_v = dm["battery_v"] + 0.5 * dk["close_v"] if not dm["bms_trip"] else upper_v
        dc["v_ref_v"] = min(max(target_v, dk["lowest_v"]), upper_v) + dk["droop_ohm"] * max(dc["rectifier_a"], 0.0)
        dc["trim_v"] = dc["v_ref_v"] - ahead_v
        dc["on_way_a"] = dc["expected_a"] = wanted_a
    elif not fed:
        # Mains are away: stand where the rectifiers would give nothing, so that they return without a step.
        dc["v_ref_v"] = dc["bus_v"]
        dc["trim_v"] = dc["v_ref_v"] - ahead_v
        dc["on_way_a"] = dc["expected_a"] = wanted_a
    else:
        # The shift takes two cycles of the modules' bus to arrive: compare with what it should show by then.
        dc["on_way_a"] += ARRIVAL_SHARE * (wanted_a - dc["on_way_a"])
        dc["expected_a"] += ARRIVAL_SHARE * (dc["on_way_a"] - dc["expected_a"])
        error_a = dc["battery_a"] - dc["expected_a"]
        held_up = dm["limiting"] and error_a > 0.0
        held_down = dc["rectifier_a"] < IDLE_SHARE * dk["rectifier_a"] and error_a < 0.0
        if not held_up and not held_down:
            dc["trim_v"] += dk["trim_share"] * dk["loop_ohm"] * error_a
        v_ref_v = dc["trim_v"] + ahead_v
        lowest_v = dk["lowest_v"]
        highest_v = upper_v + dk["droop_ohm"] * dk["rectifier_a"]
        dc["v_ref_v"] = min(max(v_ref_v, lowest_v), highest_v)
        dc["trim_v"] += dc["v_ref_v"] - v_ref_v
    # The sun comes first: its voltage stands above the rectifiers', up to the battery's limit.
    top_v = upper_v + dk["pv_lead_v"]
    if not dm["battery_closed"] and not dm["bms_trip"]:
        top_v = min(top_v, dm["battery_v"] + 0.5 * dk["close_v"])
    excess_a = -dc["battery_a"] - dc["charge_limit_a"]
    if excess_a > 0.02 * dk["charge_a"] and dc["pv_a"] > 0.0:
        dc["pv_v_ref_v"] = max(dc["pv_v_ref_v"] - 0.02 * dk["loop_ohm"] * excess_a, dk["lowest_v"])
    else:
        dc["pv_v_ref_v"] = min(dc["pv_v_ref_v"] + 0.01 * dk["pv_lead_v"], top_v)
