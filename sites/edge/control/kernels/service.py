"""Grid-tied power reference: service over the baseline, recovery of what was given, and every limit on it."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.droop import (
    absorbable_energy,
    follow,
    limit_by_energy,
    required_power,
    stream_power,
    usable_energy,
)
from sites.edge.control.kernels.records import REST_MS

LIMITED_NOT: Final = 0
LIMITED_BY_ENERGY: Final = 1
LIMITED_BY_EXPORT: Final = 2
LIMITED_BY_IMPORT: Final = 3
LIMITED_BY_RATING: Final = 4

LIMIT_SHARE: Final = 0.99
"""Of the connection's limits: what the meters and the loop leave uncertain."""
NOT_SOON_S: Final = 86_400.0
"""Told while the energy does not end within a day at the present power."""
QUIET_SHARE: Final = 0.05
"""Energy is taken back while less than this share of the contract is due."""
RECOVERY_S: Final = 60.0
"""Recovery slows down over the last minute of energy."""
PV_PER_MS: Final = 0.005
"""How fast surplus that nothing else can take holds the sun back [1/(pu ms)]."""
PV_BACK_PER_MS: Final = 0.0002


HUNT_MS: Final = 250
HUNT_TURNS: Final = 6
HUNT_SHARE: Final = 0.1
"""Six turns of 10 % of the contract, each within 250 ms of the last: no grid swings so fast, only the loop itself."""
CALM_MS: Final = 600_000
CALM_LAG_MS: Final = 500.0
MISSED_LAG_MS: Final = 1000.0
MISSED_PU: Final = 0.03
"""A converter that misses its reference by more than this, over the time above, meets a limit that nobody told.

A step of the whole rating, 22 ms late on its way, makes 0.022 of it (0.5 pu: 0.011 measured)."""


@kernel
def watch_rest(k: Record, c: Record, m: Record) -> float:
    """Return what PV, genset and load give to the bus together [pu, into it positive], mean of 50 ms.

    From the currents through the switch and of the converter: the same samples, so that the converter's own
    changes do not show in it.
    """
    flow = m["va"] * (m["ia"] + m["pa"])
    if k["phases"] == 3:
        flow += m["vb"] * (m["ib"] + m["pb"]) + m["vc"] * (m["ic"] + m["pc"])
    flow *= -2.0 / k["phases"]
    if not abs(flow) < 100.0:
        # No number: a bad sample must not stay in the sum for ever.
        flow = c["rest_sum"] / REST_MS
    at = c["rest_at"]
    c["rest_sum"] += flow - c["rest_ring"][at]
    c["rest_ring"][at] = flow
    c["rest_at"] = at + 1 if at + 1 < REST_MS else 0
    return c["rest_sum"] / REST_MS


@kernel
def recovery_power(k: Record, c: Record, due: float, quiet: bool) -> float:
    """Return the power that takes back what the service gave [pu], within the product's allowance.

    It begins when little has been due for the product's time and the site's own stagger, and goes at once
    when the grid asks again.
    """
    share = c["recovery_share"]
    # What a stream moved is the stream's: its sender brings it back, or does not.
    c["given_pu_s"] += (c["power_pu"] - c["base_pu"] - c["stream_given_pu"]) * 0.001
    if share <= 0.0 or not quiet:
        c["idle_ms"] = 0
        c["recovery_pu"] = follow(c["recovery_pu"], 0.0, k["service_ramp_per_ms"])
        return c["recovery_pu"]
    c["idle_ms"] += 1
    target = 0.0
    if c["idle_ms"] > c["recovery_after_ms"] + k["recovery_stagger_ms"]:
        most = share * c["armed_pu"]
        target = min(max(-c["given_pu_s"] / RECOVERY_S, -most), most)
    c["recovery_pu"] = follow(c["recovery_pu"], target, c["recovery_ramp_per_ms"] * c["armed_pu"])
    return c["recovery_pu"]


@kernel
def limited_power(k: Record, c: Record, m: Record, wanted: float) -> float:
    """Return a wanted power [pu] inside rating, energy and the connection's limits; tell what limits it.

    The connection wins over the service: its limits follow what flows beside the converter now, so that a
    rising sun takes room from a discharge, and then is stored, and then held back.
    """
    rest = watch_rest(k, c, m)
    by = LIMITED_NOT
    power = min(max(wanted, -1.0), 1.0)
    if power != wanted:
        by = LIMITED_BY_RATING
    within = limit_by_energy(k, m["soc_ratio"], power)
    if within != power:
        by = LIMITED_BY_ENERGY
        power = within
    highest = LIMIT_SHARE * k["export_limit_pu"] - rest
    lowest = -LIMIT_SHARE * k["import_limit_pu"] - rest
    if power > highest:
        by = LIMITED_BY_EXPORT
        power = limit_by_energy(k, m["soc_ratio"], max(highest, -1.0))
    elif power < lowest:
        by = LIMITED_BY_IMPORT
        power = limit_by_energy(k, m["soc_ratio"], min(lowest, 1.0))
    c["limited_by"] = by
    surplus = power - highest
    if surplus > 1e-6:
        c["pv_limit_ratio"] = max(c["pv_limit_ratio"] - PV_PER_MS * surplus, 0.0)
    else:
        c["pv_limit_ratio"] = follow(c["pv_limit_ratio"], 1.0, PV_BACK_PER_MS)
    return power


@kernel
def calmed_service(c: Record, required: float) -> float:
    """Return the service power to follow [pu]: the required one, or a slow image of it after hunting.

    The site's own power turns the angle that its frequency is read from. What the commissioned reactance does
    not take out of that closes a loop, which a steep curve on a weak grid can make swing within 0.1 s. A loop
    that hunts is slowed to a lag of half a second for ten minutes: any grid that the site may stand on is
    stable with that.
    """
    way = 1.0 if c["hunt_way"] >= 0 else -1.0
    c["hunt_ms"] += 1
    if way * (required - c["hunt_from"]) >= 0.0:
        c["hunt_from"] = required
    elif way * (c["hunt_from"] - required) > HUNT_SHARE * c["armed_pu"]:
        c["hunt_turns"] = c["hunt_turns"] + 1 if c["hunt_ms"] < HUNT_MS else 0
        c["hunt_ms"] = 0
        c["hunt_way"] = -int(way)
        c["hunt_from"] = required
        if c["hunt_turns"] >= HUNT_TURNS:
            c["calm_ms"] = CALM_MS
            c["hunt_turns"] = 0
    if c["calm_ms"] > 0:
        c["calm_ms"] -= 1
        c["calm_pu"] += (required - c["calm_pu"]) / CALM_LAG_MS
    else:
        c["calm_pu"] = required
    return c["calm_pu"]


@kernel
def time_to_saturation(k: Record, soc_ratio: float, power: float) -> float:
    """Return the seconds until the energy ends at a power [pu], ``NOT_SOON_S`` at most."""
    left = usable_energy(k, soc_ratio) if power > 0.0 else absorbable_energy(k, soc_ratio)
    size = abs(power)
    return left / size if size * NOT_SOON_S > left else NOT_SOON_S


@kernel
def power_reference(k: Record, c: Record, m: Record, sample: int, frequency_hz: float) -> float:
    """Return the converter's power reference for the next millisecond [pu]."""
    required = required_power(k, c, sample, frequency_hz)
    c["required_pu"] = required
    in_window = c["armed"] and c["armed_starts"] <= sample < c["armed_ends"]
    baseline = c["baseline_pu"] if in_window else 0.0
    c["base_pu"] = follow(c["base_pu"], baseline, k["base_ramp_per_ms"])
    c["service_pu"] = follow(c["service_pu"], calmed_service(c, required), k["service_ramp_per_ms"])
    quiet = in_window and abs(required) <= QUIET_SHARE * c["armed_pu"]
    recovery = recovery_power(k, c, required, quiet)
    power = limited_power(k, c, m, c["base_pu"] + c["service_pu"] + recovery + stream_power(c, sample))
    c["saturates_in_s"] = time_to_saturation(k, m["soc_ratio"], power)
    return power


@kernel
def share_granted(c: Record, granted: float) -> None:
    """Note the reference that is left after every limit and the stream's part of it [pu]. Once per millisecond.

    The curve comes first. What a limit takes off the sum it takes off the stream, up to all of it, and then off the
    curve; a stream that runs the other way keeps all of its own. A converter that stays away from its reference has met
    a limit that the controller does not know: that counts like one that it knows. The rest, lag, probe and losses, is
    small and stays with the curve, or with the site's own use where none is armed.
    """
    c["missed_pu"] += (c["granted_pu"] - c["power_pu"] - c["missed_pu"]) / MISSED_LAG_MS
    c["granted_pu"] = granted
    stream = c["stream_pu"]
    lack = c["base_pu"] + c["service_pu"] + c["recovery_pu"] + stream - granted
    lack += c["missed_pu"] - min(max(c["missed_pu"], -MISSED_PU), MISSED_PU)
    c["stream_given_pu"] = stream - min(max(lack, min(stream, 0.0)), max(stream, 0.0))


@kernel
def reset_stream(c: Record) -> None:
    """Forget a stream's power: beside no grid there is none."""
    c["stream_pu"] = 0.0
    c["stream_given_pu"] = 0.0
    c["granted_pu"] = c["power_pu"]
    c["missed_pu"] = 0.0


@kernel
def drive_power(k: Record, c: Record, wanted: float) -> None:
    """Set the converter's frequency so that its power follows a reference [pu]. Once per millisecond.

    The angle that a change of power needs over filter and grid is fed forward; the loop corrects what is
    left, against what its own measurement should show by now, a mean of 10 ms.
    """
    if c["mode_ticks"] <= k["ticks_per_ms"]:
        # Just tied: what flows is where the reference starts from.
        c["wanted_pu"] = wanted
        c["expected_pu"] = c["power_pu"]
    change = wanted - c["wanted_pu"]
    c["wanted_pu"] = wanted
    c["expected_pu"] += k["power_memory"] * (wanted - c["expected_pu"])
    feed_rad_s = k["feed_x"] * change * 1000.0
    c["omega_e"] = c["omega_u"] + feed_rad_s + k["power_gain_rad_s"] * (c["expected_pu"] - c["power_pu"])
