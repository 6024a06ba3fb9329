"""Records of the simulated plant: parameters, state of a site, state of a phase, meters.

Per unit on the converter's rating, as in the control kernels; meters in W and J.
"""

from __future__ import annotations

from typing import Final

import numpy as np

ASSETS: Final = ("pcc", "battery", "pv", "genset", "load")

PLANT_PARAMETERS: Final = np.dtype(
    [
        (name, np.float64)
        for name in (
            "dt_s",
            "nominal_rad_s",
            "bias_rad_s",
            "grid_pu",
            # Companion models: conductance and memory (inductance over the time step) per branch.
            "grid_g",
            "grid_l",
            "neighbor_g",
            "neighbor_l",
            "filter_g",
            "filter_l",
            "filter_c",
            "switch_g",
            "base_w",
            "load_pu",
            "pv_pu",
            "genset_rated_pu",
            # genset.py: the alternator's companion branch.
            "genset_g",
            "genset_l",
            # battery.py, dc_link.py
            "capacity_j",
            "converter_loss_ratio",
            "cell_r",
            "cell_fast_r",
            "cell_slow_r",
            "ambient_c",
            "dc_store_s",
            "dc_supply_s",
            "fuel_idle_ul_s",
            "fuel_ul_j",
        )
    ]
    # loads.py: the neighbors' parallel R, L, C; motors of the neighbors and of the site; the site's rectifiers.
    + [
        (name, np.float64)
        for name in (
            "tank_g",
            "tank_l_g",
            "tank_c",
            "motor_g",
            "motor_l",
            "motor_rate",
            "motor_drop",
            "motor_hold",
            "motor_slowing",
            "own_motor_g",
            "own_motor_l",
            "own_motor_rate",
            "own_motor_drop",
            "own_motor_slowing",
            "own_motor_pu",
            "rectifier_g",
            "rectifier_c",
            "rectifier_pu",
        )
    ]
    + [("special_loads", np.int64)]
    # auxiliaries.py: share of the load behind the first 0, 1, 2, 3 tiers. genset.py: samples of a millisecond.
    + [("tier_shares", np.float64, (4,)), ("ticks_per_ms", np.int64)]
    + [(name, np.int64) for name in ("phases", "switch_kind", "close_delay_ticks")],
    align=True,
)

PLANT: Final = np.dtype(
    [(name, np.float64) for name in ("cos_g", "sin_g", "load_pu", "pv_pu", "genset_pu", "soc_ratio", "temperature_c")]
    + [
        (name, np.int64)
        for name in (
            "random",
            "switch_target",
            "switch_ticks",
            # dc_sources.py
            "genset_ticks",
        )
    ]
    # auxiliaries.py: contactors of the load's tiers and of the neutral-earth bond.
    + [("tier_share", np.float64)]
    + [(name, np.int64) for name in ("tiers_ordered", "bond_ordered", "bond_held")]
    # genset.py: panel, alternator, engine.
    + [
        (name, np.int64)
        for name in ("genset_state", "gen_ms", "gen_at", "gen_ticks", "gen_sync_ms", "gen_reverse_ms", "gen_dead_ms")
    ]
    + [
        (name, np.float64)
        for name in (
            "gen_cos",
            "gen_sin",
            "gen_w",
            "gen_e",
            "gen_angle",
            "gen_p_sum",
            "gen_now",
            "gen_speed",
            "gen_slope",
            "gen_sum",
            "gen_torque",
            "gen_turbo",
        )
    ]
    + [("gen_orders", np.float64, (30,))]
    # events.py: the next event's place in the site's schedule and its sample; what lasts.
    + [("event_at", np.int64), ("event_place", np.int64), ("fault_where", np.int64), ("fault_to_earth", np.int64)]
    # disturbance.py: harmonics of the source [pu] and the transients on it.
    + [(name, np.float64) for name in ("h5", "h7", "h11", "h13", "noise_pu")]
    + [
        (name, np.float64)
        for name in (
            "ring_cos",
            "ring_sin",
            "ring_turn_cos",
            "ring_turn_sin",
            "dip_pu",
            "dip_memory",
            "flicker_pu",
            "flicker_cos",
            "flicker_sin",
            "flicker_turn",
            "notch_pu",
            "notch_cos_half",
        )
    ]
    + [("disturbed", np.int64)]
    # loads.py: voltage behind the motors' reactance [pu] and its speed [rad/s].
    + [(name, np.float64) for name in ("motor_cos", "motor_sin", "motor_w", "own_cos", "own_sin", "own_w")]
    # battery.py: polarization and cell voltage on nominal; dc_link.py: energy on the full link's, supply's power.
    + [(name, np.float64) for name in ("fast_pu", "slow_pu", "cell_pu", "dc_share", "dc_supply_pu")]
    + [(name, np.int64) for name in ("battery_open", "beyond_rows", "bridge_stopped", "blocked")]
    # rotating.py: the bus voltage as the PV inverters and the genset follow it [pu], and its speed [rad/s].
    + [(name, np.float64) for name in ("bus_cos", "bus_sin", "bus_w")],
    align=True,
)

PHASE: Final = np.dtype(
    [
        (name, np.float64)
        for name in ("v", "u", "i_grid", "i_neighbor", "i_filter", "i_switch", "i_before", "i_arrester")
    ]
    + [(name, np.int64) for name in ("breaker_closed", "breaker_command", "switch_closed")]
    # The source's own level and turn of this phase, and what a transient adds to it.
    + [(name, np.float64) for name in ("level", "turn_cos", "turn_sin", "ring_share", "impulse_pu")]
    + [("impulse_ticks", np.int64)]
    # A fault at this phase: conductance, the voltage of the point where the phases meet, current into it.
    + [(name, np.float64) for name in ("fault_g", "fault_v", "i_fault", "arrester_side")]
    + [("fault_command", np.int64), ("switch_stuck", np.int64), ("open_ticks", np.int64)]
    # loads.py: currents of the special loads and the direct voltage of the rectifiers.
    + [(name, np.float64) for name in ("i_coil", "i_motor", "e_motor", "i_own", "e_own", "i_rectifier", "v_rectifier")]
    # genset.py: current of the alternator into the bus.
    + [("i_genset", np.float64)],
    align=True,
)
"""One phase: load bus and utility side voltage, currents of the branches, poles, source, fault."""

EVENT: Final = np.dtype(
    [("at", np.int64), ("kind", np.int64), ("mask", np.int64), ("value", np.float64, (4,))], align=True
)
"""One disturbance of a site's schedule: its sample, what it is (``events.py``), bit k for phase k, figures."""

METERS: Final = np.dtype(
    [
        ("now", np.float64, (5,)),
        ("row", np.float64, (5,)),
        ("last_row", np.float64, (5,)),
        ("block", np.float64, (5,)),
        ("mean_w", np.float64, (5,)),
        ("into_j", np.float64, (5,)),
        ("from_j", np.float64, (5,)),
        ("service_block_j", np.float64),
        ("service_into_j", np.float64),
        ("service_from_j", np.float64),
        ("stream_block_j", np.float64),
        ("stream_into_j", np.float64),
        ("stream_from_j", np.float64),
        ("fuel_ul", np.float64),
        ("frequency_sum", np.float64),
        ("service_w", np.float64),
        ("stream_w", np.float64),
        ("row_ticks", np.int64),
        ("ring_at", np.int64),
        ("trigger_sample", np.int64),
        ("post_ticks", np.int64),
        ("trigger_cause", np.int64),
        ("was_decided", np.int64),
        ("samples", np.int64),
    ],
    align=True,
)
"""Meters of a site, assets in the order of ``ASSETS``: power of this sample, sums over the 10 ms row and the
100 ms block [pu·samples], registers [J], and the waveform recorder's place in its ring."""
