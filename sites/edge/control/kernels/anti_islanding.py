"""Active anti-islanding: does the power still follow when we ask for a little more?

A grid-forming converter holds any island at nominal voltage and close to nominal frequency, so no window sees a
balanced one. What an island cannot do is take another power: its load decides. The converter therefore adds a small
probe to the power that it holds, plus in one slot and minus in the next (or the other way around, by a code), and
compares. On a grid the power follows the probe and the frequency does not; in an island the power stays and the
frequency runs, because the power loop turns the missing power into a change of frequency.

Two slots make a pair. Its two shares, ideal values:

    power share      grid 1, island 0     (power of the first slot less the second's) / (twice the probe)
    frequency share  grid 0, island 1     likewise, run of the frequency against the one expected in an island

Motors with inertia hold the frequency for a while and look like a weak grid: then the frequency share tells. A
steep droop holds the frequency of an island against the probe: then the power share tells. Three pairs in a row
that look like an island, or two that leave no doubt, start the *drive*: the same with some fifteen times the power;
two pairs of it decide. Rates of change that the grid brings itself are the same in both slots and cancel; what is
disturbed is not counted.

All sites behind one feeder share code and clock (UTC), so that they ask together and do not hide each other.
"""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.records import CAUSE_ISLAND, CAUSE_NONE

SLOT_MS: Final = 100
RAMP_MS: Final = 30
"""From one side of the probe to the other."""
SETTLE_MS: Final = 50
"""From the turn of the probe until the power of a grid-tied converter has followed (SCR 3: 90 %)."""
POWER_MS: Final = 60
"""From here on the mean power of 10 ms knows nothing of the slot before."""
PAIRS: Final = 3
CODE_LENGTH: Final = 63
CODE_MS: Final = CODE_LENGTH * 2 * SLOT_MS
"""After this time the signs repeat."""

LEAST_FREQUENCY_SHARE: Final = 0.08
MEAN_FREQUENCY_SHARE: Final = 0.20
LARGEST_POWER_SHARE: Final = 0.75
MEAN_POWER_SHARE: Final = 0.50
"""What three pairs in a row have to show for a suspicion: one of the two shares, each pair and their mean."""
CLEAR_POWER_SHARE: Final = 0.45
"""Two pairs are enough when the power stays behind by more than half in both."""
DRIVEN_FREQUENCY_SHARE: Final = 0.12
DRIVEN_POWER_SHARE: Final = 0.35
"""What both pairs of the drive have to show: the noise is the same, the probe ten times as large."""
DRIVE_PAIRS: Final = 2
REST_MS: Final = 1000
"""From one drive to the next: a suspicion that was wrong must not become a habit."""
QUIET_MS: Final = 500
"""After the switch has closed."""
INTACT_LOW_PU: Final = 0.85
INTACT_HIGH_PU: Final = 1.15
NEWS_PU: Final = 0.04
"""Voltage that differs this much from its last cycle: a jump of two degrees, which turns the power by more than a
probe."""
LOCKED: Final = 0.06
"""Phase error of the PLL [rad] above which the grid is disturbed: a jump, a fault, an unbalance."""


@kernel
def code_sign(k: Record, pair: int) -> float:
    """Return +1 or -1: whether the first slot of a pair asks for more or for less."""
    return 1.0 if (k["probe_code"] >> (pair % CODE_LENGTH)) & 1 else -1.0


@kernel
def reset_probe(c: Record) -> None:
    """Begin anew, without a suspicion."""
    c["probe_pairs"] = 0
    c["drive_pairs"] = 0
    c["driven_pairs"] = 0
    c["probe_valid"] = 0
    c["probe_rest_ms"] = 0


@kernel
def is_disturbed(c: Record) -> int:
    """Return 1 while the grid is not in a state in which a share means anything: ride-through is under way."""
    intact = INTACT_LOW_PU < c["level_u"] < INTACT_HIGH_PU and abs(c["cross_u"]) < LOCKED
    return int(not intact or c["news_size"] > NEWS_PU * NEWS_PU)


@kernel
def open_pair(k: Record, c: Record) -> None:
    """Begin a pair of slots: with the probe, or with the drive when there is a suspicion."""
    c["probe_valid"] = 1
    c["probe_now_pu"] = k["drive_pu"] if c["drive_pairs"] > 0 else k["probe_pu"]
    c["probe_power"] = 0.0
    c["probe_run"] = 0.0


@kernel
def close_pair(k: Record, c: Record) -> int:
    """Judge a pair of slots; return a cause, or 0."""
    size = c["probe_now_pu"]
    power_share = c["probe_power"] / (2.0 * size * (SLOT_MS - POWER_MS))
    run = 2.0 * size * k["island_rad_s2"] * (SLOT_MS - SETTLE_MS) * 0.001
    frequency_share = c["probe_run"] / run
    if c["drive_pairs"] > 0:
        c["drive_pairs"] -= 1
        if frequency_share >= DRIVEN_FREQUENCY_SHARE or power_share <= DRIVEN_POWER_SHARE:
            c["driven_pairs"] += 1
            if c["driven_pairs"] >= DRIVE_PAIRS:
                return CAUSE_ISLAND
        else:
            c["drive_pairs"] = 0
        if c["drive_pairs"] == 0:
            c["driven_pairs"] = 0
            c["probe_pairs"] = 0
        return CAUSE_NONE
    at = c["probe_pairs"] % PAIRS
    c["power_share"][at] = power_share
    c["frequency_share"][at] = frequency_share
    c["probe_pairs"] += 1
    clear = c["probe_pairs"] >= 2 and is_clear(c, at)
    suspect = c["probe_pairs"] >= PAIRS and is_suspect(c)
    if c["probe_rest_ms"] <= 0 and (clear or suspect):
        c["drive_pairs"] = DRIVE_PAIRS
        c["driven_pairs"] = 0
        c["probe_rest_ms"] = REST_MS
        c["suspicions"] += 1
    return CAUSE_NONE


@kernel
def is_clear(c: Record, at: int) -> int:
    """Return 1 when in each of the last two pairs the power did not follow; no noise makes a grid look so."""
    before = PAIRS - 1 if at == 0 else at - 1
    return int(abs(c["power_share"][at]) <= CLEAR_POWER_SHARE and abs(c["power_share"][before]) <= CLEAR_POWER_SHARE)


@kernel
def is_suspect(c: Record) -> int:
    """Return 1 when the last pairs look like an island's, by one share or the other."""
    power = 0.0
    frequency = 0.0
    by_power = 1
    by_frequency = 1
    for j in range(PAIRS):
        power += c["power_share"][j] / PAIRS
        frequency += c["frequency_share"][j] / PAIRS
        if abs(c["power_share"][j]) > LARGEST_POWER_SHARE:
            by_power = 0
        if c["frequency_share"][j] < LEAST_FREQUENCY_SHARE:
            by_frequency = 0
    return int((by_power and power <= MEAN_POWER_SHARE) or (by_frequency and frequency >= MEAN_FREQUENCY_SHARE))


@kernel
def watch_probe(k: Record, c: Record, ms: int) -> int:
    """Take one millisecond of power and frequency, return a cause, or 0.

    ``ms`` counts on the clock that the sites of a feeder share. Judges what the probe of the milliseconds before
    has done; call before ``probe_power``.
    """
    if k["probe_pu"] <= 0.0:
        return CAUSE_NONE
    c["probe_rest_ms"] -= 1
    since = ms % (2 * SLOT_MS)
    pair = ms // (2 * SLOT_MS)
    if since == 0:
        # The pair that ends here; its code is that of the pair before.
        end_slot(k, c, pair - 1, -1.0)
        cause = CAUSE_NONE
        if c["probe_valid"]:
            cause = close_pair(k, c)
        elif c["drive_pairs"] == 0:
            c["probe_pairs"] = 0
        if c["mode_ticks"] > QUIET_MS * k["ticks_per_ms"]:
            open_pair(k, c)
        else:
            reset_probe(c)
        return cause
    if is_disturbed(c):
        c["probe_valid"] = 0
    slot = since % SLOT_MS
    sign = code_sign(k, pair)
    if since > SLOT_MS:
        sign = -sign
    if slot == 0:
        end_slot(k, c, pair, 1.0)
    elif slot == SETTLE_MS:
        c["probe_omega"] = c["omega_u"]
    if slot > POWER_MS:
        c["probe_power"] += sign * c["power_pu"]
    return CAUSE_NONE


@kernel
def end_slot(k: Record, c: Record, pair: int, half: float) -> None:
    """Add the last millisecond of a slot: the power, and how far the frequency ran since it settled."""
    sign = code_sign(k, pair) * half
    c["probe_power"] += sign * c["power_pu"]
    c["probe_run"] += sign * (c["omega_u"] - c["probe_omega"])


@kernel
def probe_power(k: Record, c: Record, ms: int, wanted: float, lowest: float, highest: float) -> float:
    """Return the power to hold in this millisecond [pu]: the wanted one with the probe on it.

    The sum stays between ``lowest`` and ``highest``, and what is wanted gives way: a converter that cannot give
    more would look like an island. Without room for both signs there is no probe.
    """
    size = c["probe_now_pu"]
    if k["probe_pu"] <= 0.0 or c["probe_valid"] == 0 or highest - lowest < 2.0 * size:
        c["probe_held_pu"] = 0.0
        c["probe_valid"] = 0
        return wanted
    since = ms % (2 * SLOT_MS)
    target = size * code_sign(k, ms // (2 * SLOT_MS))
    if since >= SLOT_MS:
        target = -target
    # A step would show in the grid's angle, and every meter nearby would read it as frequency.
    step = size * 2.0 / RAMP_MS
    c["probe_held_pu"] = min(max(target, c["probe_held_pu"] - step), c["probe_held_pu"] + step)
    return min(max(wanted, lowest + size), highest - size) + c["probe_held_pu"]
