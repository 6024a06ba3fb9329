"""What a controller is commissioned with: one record, written once from nameplate, settings and grid code.

Per unit as in ``records.py``; nothing here changes while the controller runs.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from sites.edge.control.kernels.records import MAX_STAGES, TIERS

PARAMETERS: Final = np.dtype(
    [
        ("phases", np.int64),
        ("rate_hz", np.float64),
        ("dt_s", np.float64),
        ("nominal_rad_s", np.float64),
        ("ticks_per_ms", np.int64),
        # Converter's own output filter, known to its controller [pu, pu].
        ("filter_l_over_dt", np.float64),
        ("filter_x", np.float64),
        ("filter_r", np.float64),
        ("virtual_r", np.float64),
        ("level_memory", np.float64),
        ("skew_memory", np.float64),
        ("skew_memory_alone", np.float64),
        ("pll_kp", np.float64),
        ("pll_ki", np.float64),
        # Loss detector.
        ("dead_area", np.float64),
        ("sag_share", np.float64),
        ("sag_memory", np.float64),
        ("sag_hold_ticks", np.int64),
        ("sag_amplitude", np.float64),
        ("pushed_back", np.float64),
        ("decay_memory", np.float64),
        ("decay_ms", np.int64),
        ("flat_square", np.float64),
        ("lost_hold_ticks", np.int64),
        ("phasor_memory", np.float64),
        ("ratio_memory", np.float64),
        ("trend_memory", np.float64),
        ("news_memory", np.float64),
        ("news_share", np.float64),
        ("scale_memory", np.float64),
        ("lately_memory", np.float64),
        ("mean_memory", np.float64),
        ("collapse_ticks", np.int64),
        ("flat_ticks", np.int64),
        ("flat_poles", np.int64),
        ("flat_area", np.float64),
        ("open_latch_ticks", np.int64),
        ("current_known", np.int64),
        ("up_fitted", np.int64),
        ("up_ticks", np.int64),
        ("up_memory", np.float64),
        ("up_r", np.float64),
        ("up_l_over_dt", np.float64),
        ("deep_windows", np.int64),
        ("overload_pu", np.float64),
        ("overload_hold_ticks", np.int64),
        ("overvoltage_pu", np.float64),
        ("overvoltage_hold_ticks", np.int64),
        ("blanking_ticks", np.int64),
        ("switch_timeout_ticks", np.int64),
        # Power loop and island droop.
        ("power_gain_rad_s", np.float64),
        ("island_droop_rad_s", np.float64),
        ("service_ramp_per_ms", np.float64),
        ("base_ramp_per_ms", np.float64),
        # Reconnection.
        ("enter_delay_ticks", np.int64),
        ("enter_low_hz", np.float64),
        ("enter_high_hz", np.float64),
        ("enter_low_pu", np.float64),
        ("enter_high_pu", np.float64),
        ("sync_angle_rad", np.float64),
        ("sync_slip_rad_s", np.float64),
        ("sync_voltage_pu", np.float64),
        ("sync_dwell_ms", np.int64),
        ("black_start_ms", np.int64),
        # synchronism.py: distance of the two voltages at an instant that withdraws a closing [pu squared].
        ("apart_square", np.float64),
        # transfer.py: ramp after entering service, momentary islands.
        ("entry_ramp_per_ms", np.float64),
        ("momentary_ms", np.int64),
        ("momentary_delay_ticks", np.int64),
        # protection.py: neutral-earth bond.
        ("bond_fitted", np.int64),
        ("bond_refuses", np.int64),
        ("bond_hold_ms", np.int64),
        # tiers.py: rated load of each tier [pu], state of charge below which it is shed.
        ("tier_pu", np.float64, (TIERS,)),
        ("tier_low_ratio", np.float64, (TIERS,)),
        ("tier_restore_ms", np.int64),
        # Energy limits.
        ("reserve_ratio", np.float64),
        ("capacity_pu_s", np.float64),
        ("discharge_efficiency", np.float64),
        ("genset_fitted", np.int64),
        ("genset_start_ratio", np.float64),
        ("genset_stop_ratio", np.float64),
        # Kind of converter (grid_following.py).
        ("grid_following", np.int64),
        ("genset_rated_pu", np.float64),
        ("genset_minimum_run_ms", np.int64),
        # Grid code (windows.py, detector.py): 1 when the site may leave in a dip for its load's sake.
        ("momentary_island", np.int64),
        # Frequency estimate (frequency.py): turn of the nominal phasor in 1 ms, a window's length and that of the
        # last mean [ms], the grid's reactance up to the site as commissioned [pu].
        ("turn_cos", np.float64),
        ("turn_sin", np.float64),
        ("window_ms", np.int64),
        ("smooth_ms", np.int64),
        ("grid_x", np.float64),
        # Power reference (service.py): reactance that the feed-forward counts on [pu], memory of the power's
        # own measurement [1/ms], limits of the connection [pu, >= 0], the site's own delay of recovery.
        ("feed_x", np.float64),
        ("power_memory", np.float64),
        ("import_limit_pu", np.float64),
        ("export_limit_pu", np.float64),
        ("recovery_stagger_ms", np.int64),
        # windows.py: the grid code's stages, [kind, level, clock].
        ("stages", np.int64),
        ("stage_kind", np.int64, (MAX_STAGES,)),
        ("stage_level", np.float64, (MAX_STAGES,)),
        ("stage_hold_ms", np.int64, (MAX_STAGES,)),
        ("rms_ms", np.int64),
        ("rocof_step_ms", np.int64),
        # anti_islanding.py: probe and drive [pu of rating], the code of the feeder, its clock against the samples,
        # how fast the frequency runs in an island for each pu of missing power.
        ("probe_pu", np.float64),
        ("drive_pu", np.float64),
        ("probe_code", np.int64),
        ("probe_offset_ms", np.int64),
        ("island_rad_s2", np.float64),
    ],
    align=True,
)
