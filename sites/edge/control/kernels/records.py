"""The records that the control kernels read and write: samples in, state; `X.

Beside them ``parameter_records.py``: what a controller is commissioned with. Per unit throughout: voltage on the peak
of the nominal phase voltage, current on the peak of the converter's rated phase current, power on the converter's
rating. Power into the bus is positive. Nothing of the plant stands here: what is not in ``SAMPLES`` does not reach the
controller.
"""

from __future__ import annotations

from typing import Final

import numpy as np

CYCLE_RING: Final = 256
"""Samples kept of each voltage and current: a cycle of 45 Hz at 10 kHz and some; a power of two."""
ANGLE_MS: Final = 125
"""Longest ring of the angle behind the frequency estimate [ms]: five windows of 25 ms."""
REST_MS: Final = 50
"""Sliding mean of what flows beside the converter [ms]: whole half-cycles of 50 and of 60 Hz."""
CAUSE_NONE: Final = 0
CAUSE_PHASE_LOST: Final = 1
CAUSE_DEEP_DIP: Final = 2
CAUSE_LONG_DIP: Final = 3
CAUSE_OVERVOLTAGE: Final = 4
CAUSE_FREQUENCY: Final = 5
CAUSE_OVERLOAD: Final = 6
CAUSE_POLE_OPEN: Final = 7
CAUSE_COLLAPSE: Final = 8
CAUSE_DECAY: Final = 9

PATH_NONE: Final = 0
PATH_MAGNITUDE: Final = 1
PATH_PER_PHASE: Final = 2
PATH_DEVIATION: Final = 3
PATH_CURRENT: Final = 4
PATH_CLOCK: Final = 5
PATH_WINDOW: Final = 6
PATH_ACTIVE: Final = 7

CAUSE_VOLTAGE: Final = 20
CAUSE_ROCOF: Final = 21
CAUSE_ISLAND: Final = 22
"""Causes of windows.py and anti_islanding.py, beside those of the detector."""

CAUSE_PLANNED: Final = 40
CAUSE_SWITCH: Final = 41
CAUSE_BOND: Final = 42
"""Causes of an island beside those of the detector: on request, poles that opened by themselves, a bond that
stays closed beside the grid's own."""

MAX_STAGES: Final = 10
MAX_RMS_MS: Final = 25
ROCOF_STEPS: Final = 10
TIERS: Final = 3
"""Groups of load behind contactors of their own: critical, essential, deferrable (tiers.py)."""
LOG_LENGTH: Final = 16
"""Changes of mode that a controller keeps until somebody reads them (modes.py)."""
MODE_COUNT: Final = 7
ALARM_COUNT: Final = 7
"""Latches and warnings whose beginning is kept (modes.py: ALARMS)."""

RING_MS: Final = 10
"""Length of the sliding means of power and voltage [ms]: half a cycle at 50 Hz."""

SAMPLES: Final = np.dtype(
    [(name, np.float64) for name in ("va", "vb", "vc", "ua", "ub", "uc", "ia", "ib", "ic", "pa", "pb", "pc")]
    + [("soc_ratio", np.float64), ("temperature_c", np.float64), ("poles_closed", np.int64)]
    # grid_forming.py: what the converter and the battery's management report of themselves.
    + [(name, np.float64) for name in ("charge_limit_pu", "discharge_limit_pu", "dc_link_share")]
    + [("pcs_running", np.int64)]
    # protection.py: contacts that win over everything (1 = tripped), the bond's auxiliary contact, the local key.
    + [(name, np.int64) for name in ("emergency_stop", "fire", "bms_trip", "neutral_earth_closed", "local_reset")]
    # genset.py: what the set's own panel reports, GENSET_*, and its power into the bus [pu].
    + [("genset_state", np.int64), ("genset_pu", np.float64)],
    align=True,
)
"""One instant: v load bus, u utility side of the switch, i through the switch into the bus, p converter
into the bus [pu]; state of charge and temperature as the battery's own management reports them; how
many poles of the static switch its auxiliary contacts report closed; how much of the converter's rating the
battery's management lets it charge and discharge, energy in the DC link on the full link's, and 1 while the
converter's bridge runs or could; the site's digital inputs."""

SAMPLE_STATE: Final = (
    # Sequence filter and PLL on the utility side (sequence.py).
    *((name, 1) for name in ("x_alpha", "q_alpha", "x_beta", "q_beta", "cos_u", "sin_u", "omega_u")),
    ("level_u", 1),
    ("cross_u", 1),
    # What the loss detector keeps of each phase's voltage and current (phases.py).
    *((name, 3) for name in ("window_along", "window_across", "phasor_c", "phasor_s")),
    *((name, 3) for name in ("dead_area", "lack", "weight", "news")),
    *((name, 3) for name in ("i_square", "i_lately", "i_mean", "i_moving", "flat_ticks", "gone_ticks", "flat_area")),
    ("v_past", 3),
    ("i_past", 3),
    # And of all of them together.
    *((name, 1) for name in ("window_c2", "window_s2", "window_ticks", "phasor_c2", "phasor_s2")),
    *((name, 1) for name in ("slow_like", "slow_own", "like", "own", "size", "trend")),
    ("news_size", 1),
    ("news_raw", 1),
    ("news_peak", 1),
    # What the samples are held against: moves once per millisecond.
    ("reference", 1),
    ("cycle_ticks", 1),
)
"""What changes with every sample: name and count of numbers, in order, one run of memory at the state's beginning."""

STATE: Final = np.dtype(
    [(name, np.float64, (count,)) if count > 1 else (name, np.float64) for name, count in SAMPLE_STATE]
    + [
        # Bus angle against the utility side (synchronism check).
        ("sync_dot", np.float64),
        ("sync_cross", np.float64),
        ("sync_gap_pu", np.float64),
        # Detector.
        ("sag_ticks", np.int64),
        ("before_along", np.float64, (3,)),
        ("before_across", np.float64, (3,)),
        ("before_c2", np.float64),
        ("before_s2", np.float64),
        ("before_ticks", np.float64),
        ("ratio_ms", np.float64, (4,)),
        ("decay_ms", np.int64),
        ("decay_step", np.float64),
        ("seen", np.int64, (3,)),
        ("news_usual", np.float64),
        ("flat_longest", np.float64),
        # upstream.py: the source behind the switch while something is under way.
        ("up_left", np.int64),
        ("up_cos", np.float64),
        ("up_sin", np.float64),
        ("up_ticks", np.int64, (3,)),
        ("up_verdict", np.int64, (3,)),
        ("up_di", np.float64, (3,)),
        ("up_sums", np.float64, (3, 5)),
        ("up_pole", np.int64, (3,)),
        ("up_peak", np.float64, (3,)),
        ("up_a", np.float64, (3,)),
        ("up_b", np.float64, (3,)),
        ("half_a", np.float64, (3,)),
        ("half_b", np.float64, (3,)),
        ("open_ticks", np.int64),
        ("collapse_ticks", np.int64),
        ("blind_ticks", np.int64),
        ("smallest_pu", np.float64),
        ("fall_pu", np.float64),
        ("even_falls", np.int64),
        ("path", np.int64),
        ("jump_rad", np.float64),
        ("jump_ms", np.int64),
        ("relocks", np.int64),
        ("moving_ms", np.int64),
        ("pending", np.int64),
        ("lost_ticks", np.int64),
        ("overload_ticks", np.int64),
        ("over_ticks", np.int64),
        ("deep_windows", np.int64),
        ("middle_windows", np.int64),
        ("shallow_windows", np.int64),
        # Mode machine.
        ("mode", np.int64),
        ("mode_ticks", np.int64),
        ("cause", np.int64),
        ("alarm", np.int64),
        ("decisions", np.int64),
        ("reclosures", np.int64),
        ("decided", np.int64),
        ("fit_ticks", np.int64),
        ("unfit_ms", np.int64),
        ("in_sync_ms", np.int64),
        ("fault_ms", np.int64),
        ("request", np.int64),
        # windows.py: mean squares of the grid's phases, rate of change, clocks of the stages.
        ("grid_square", np.float64, (3,)),
        ("grid_sum", np.float64, (3,)),
        ("grid_ring", np.float64, (3, MAX_RMS_MS)),
        ("grid_at", np.int64),
        ("rocof_ring", np.float64, (ROCOF_STEPS,)),
        ("rocof_at", np.int64),
        ("rocof_ms", np.int64),
        ("rocof_hz_per_s", np.float64),
        ("stage_ms", np.int64, (MAX_STAGES,)),
        # anti_islanding.py: the pair under way, the last pairs' shares, the drive.
        ("probe_now_pu", np.float64),
        ("probe_held_pu", np.float64),
        ("probe_power", np.float64),
        ("probe_run", np.float64),
        ("probe_omega", np.float64),
        ("power_share", np.float64, (3,)),
        ("frequency_share", np.float64, (3,)),
        ("probe_valid", np.int64),
        ("probe_pairs", np.int64),
        ("drive_pairs", np.int64),
        ("driven_pairs", np.int64),
        ("probe_rest_ms", np.int64),
        ("suspicions", np.int64),
        # requests.py, protection.py: what is latched (bits) and since which sample, what was refused, the last answer.
        ("latched", np.int64),
        ("warnings", np.int64),
        ("alarms_were", np.int64),
        ("alarm_sample", np.int64, (ALARM_COUNT,)),
        ("refusals", np.int64),
        ("answer", np.int64),
        ("key_was", np.int64),
        ("start_wanted", np.int64),
        ("island_wanted", np.int64),
        ("wanted_ms", np.int64),
        ("hold_island", np.int64),
        ("energy_out", np.int64),
        ("bond_ms", np.int64),
        ("dead_ms", np.int64),
        ("leak_ms", np.int64),
        ("fault_peak_pu", np.float64),
        # modes.py: the last decision to leave the grid, the changes of mode not read yet, how long each has lasted.
        ("decided_sample", np.int64),
        ("decided_cause", np.int64),
        ("decided_path", np.int64),
        ("sample", np.int64),
        ("log_count", np.int64),
        ("log_sample", np.int64, (LOG_LENGTH,)),
        ("log_mode", np.int64, (LOG_LENGTH,)),
        ("log_event", np.int64, (LOG_LENGTH,)),
        ("log_after", np.int64, (LOG_LENGTH,)),
        ("log_cause", np.int64, (LOG_LENGTH,)),
        ("mode_ms", np.int64, (MODE_COUNT,)),
        # transfer.py: exchange with the grid, planned island, ramp after entering service, momentary islands.
        ("pcc_pu", np.float64),
        ("planned_pu", np.float64),
        ("entry_pu", np.float64),
        ("entry_room_pu", np.float64),
        ("island_ms", np.int64),
        ("momentary", np.int64),
        ("momentary_islands", np.int64),
        ("lost_pu", np.float64),
        ("apart_ticks", np.int64),
        ("withdrawals", np.int64),
        # tiers.py, black_start.py, genset.py.
        ("overload_ms", np.int64),
        ("under_ms", np.int64),
        ("tier_wait_ms", np.int64),
        ("sheds", np.int64),
        ("start_stage", np.int64),
        ("start_ms", np.int64),
        ("utility_dead", np.int64),
        ("stuck_ms", np.int64),
        ("genset_ms", np.int64),
        ("genset_leaves", np.int64),
        ("genset_failures", np.int64),
        ("genset_wanted", np.int64),
        # Grid-forming converter.
        ("cos_e", np.float64),
        ("sin_e", np.float64),
        ("omega_e", np.float64),
        ("level_e", np.float64),
        ("level_cut", np.float64),
        ("skew_cos", np.float64, (3,)),
        ("skew_sin", np.float64, (3,)),
        ("skewed", np.int64),
        ("limit_pu", np.float64),
        ("hot_ms", np.int64),
        ("warm_ms", np.int64),
        ("p_sum", np.float64),
        ("v2_sum", np.float64),
        ("p_ring", np.float64, (RING_MS,)),
        ("v2_ring", np.float64, (RING_MS,)),
        ("ring_at", np.int64),
        # One cycle of voltages and currents (cycle.py).
        ("cycle_ring", np.float32, (CYCLE_RING, 6)),
        ("ring_put", np.int64),
        ("ring_held", np.int64),
        ("ticks_to_ms", np.int64),
        ("power_pu", np.float64),
        ("voltage_pu", np.float64),
        ("peak_pu", np.float64),
        ("base_pu", np.float64),
        ("service_pu", np.float64),
        ("required_pu", np.float64),
        ("frequency_hz", np.float64),
        # Armed record.
        ("armed", np.int64),
        ("armed_starts", np.int64),
        ("armed_ends", np.int64),
        ("armed_pu", np.float64),
        # Share that armed_pu moves to while a window is open, and by how much each millisecond.
        ("armed_goal_pu", np.float64),
        ("armed_step_pu", np.float64),
        # A setpoint stream beside the curve: power now, power asked for, sample up to which that holds.
        ("stream_pu", np.float64),
        ("stream_goal_pu", np.float64),
        ("stream_until", np.int64),
        ("stream_ramp_per_ms", np.float64),
        # service.py, share_granted: the reference after every limit, the stream's part of it, what the converter
        # misses of it for longer than its loop explains.
        ("granted_pu", np.float64),
        ("stream_given_pu", np.float64),
        ("missed_pu", np.float64),
        ("armed_sign", np.float64),
        ("baseline_pu", np.float64),
        ("points", np.int64),
        ("curve_hz", np.float64, (8,)),
        ("curve_share", np.float64, (8,)),
        # Armed trigger and recovery (droop.py); powers as shares of the contracted power.
        ("armed_latches", np.int64),
        ("trigger_stage", np.int64),
        ("trigger_since", np.int64),
        ("trigger_share", np.float64),
        ("trigger_ramp_per_ms", np.float64),
        ("trigger_sustain_ms", np.int64),
        ("trigger_release_per_ms", np.float64),
        ("trigger_rest_ms", np.int64),
        ("recovery_share", np.float64),
        ("recovery_after_ms", np.int64),
        ("recovery_ramp_per_ms", np.float64),
        # Frequency estimate (frequency.py): last phasor, its correction [rad], angle against nominal [rad] and
        # its last five windows, the last means [rad/ms].
        ("angle_x", np.float64),
        ("angle_y", np.float64),
        ("angle_shift", np.float64),
        ("angle_rad", np.float64),
        ("angle_oldest", np.float64),
        ("angle_ring", np.float64, (ANGLE_MS,)),
        ("angle_at", np.int64),
        ("angle_count", np.int64),
        ("smooth_ring", np.float64, (20,)),
        ("smooth_at", np.int64),
        ("response_hz", np.float64),
        # Power reference (service.py): the reference, what its measurement should show, what flows beside the
        # converter into the bus, energy given and not yet taken back [pu·s], what limits [LIMITED_...],
        # seconds until the energy ends at the present power; turns of a loop that hunts.
        ("wanted_pu", np.float64),
        ("expected_pu", np.float64),
        ("rest_ring", np.float64, (REST_MS,)),
        ("rest_at", np.int64),
        ("rest_sum", np.float64),
        ("recovery_pu", np.float64),
        ("given_pu_s", np.float64),
        ("idle_ms", np.int64),
        ("limited_by", np.int64),
        ("saturates_in_s", np.float64),
        ("hunt_from", np.float64),
        ("hunt_way", np.int64),
        ("hunt_ms", np.int64),
        ("hunt_turns", np.int64),
        ("calm_ms", np.int64),
        ("calm_pu", np.float64),
        # Outputs.
        ("ea", np.float64),
        ("eb", np.float64),
        ("ec", np.float64),
        ("switch_command", np.int64),
        ("converter_on", np.int64),
        ("genset_run", np.int64),
        ("pv_limit_ratio", np.float64),
        ("pv_connected", np.int64),
        ("tiers_closed", np.int64),
        ("bond_command", np.int64),
        ("genset_close", np.int64),
        ("genset_target_pu", np.float64),
    ],
    align=True,
)
