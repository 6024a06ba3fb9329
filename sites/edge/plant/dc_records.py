"""Records of a simulated DC site beside those of its AC input: battery, rectifiers, PV, loads, meters.

Volts, amperes and watts: a DC plant is read and checked in them. Powers into the DC bus are positive.
"""

from __future__ import annotations

from typing import Final

import numpy as np

TIERS: Final = 3
"""Tiers of DC load: 0 stays to the last (transmission, site controller), 2 goes first (capacity layers)."""
OCV_POINTS: Final = 9

DC_PLANT_PARAMETERS: Final = np.dtype(
    [
        (name, np.float64)
        for name in (
            "nominal_v",
            # Rectifiers, all modules together.
            "rectifier_w",
            "rectifier_a",
            "droop_ohm",
            "current_share",
            "loss_idle_w",
            "loss_linear",
            "loss_square_per_w",
            "input_low_pu",
            "input_high_pu",
            "link_j",
            "link_low_j",
            "link_gain",
            "input_share",
            "square_share",
            "walk_in_w_s",
            # Bus.
            "bus_f_per_dt",
            "bleed_s",
            # Battery: all strings in parallel.
            "battery_ohm",
            "fast_ohm",
            "fast_s",
            "slow_ohm",
            "slow_s",
            "battery_as",
            "charge_efficiency",
            "cell_low_v",
            "cell_high_v",
            "trip_a",
            "cells",
            # PV: maximum power tracker with droop.
            "pv_droop_ohm",
            "pv_share",
            "pv_max_a",
            # Loads.
            "load_low_v",
            "load_start_v",
            "auxiliary_w",
            "inverter_efficiency",
            "genset_w",
        )
    ]
    + [
        ("tier_w", np.float64, (TIERS,)),
        ("ocv_soc", np.float64, (OCV_POINTS,)),
        ("ocv_v", np.float64, (OCV_POINTS,)),
        ("command_ticks", np.int64),
        ("transfer_ticks", np.int64),
        ("radio_profile", np.int64),
        ("modules", np.int64),
    ],
    align=True,
)

DC_PLANT: Final = np.dtype(
    [
        (name, np.float64)
        for name in (
            "bus_v",
            "rectifier_a",
            "battery_a",
            "pv_a",
            "load_a",
            "emf_v",
            "fast_v",
            "slow_v",
            "link_j",
            "input_g",
            "input_square",
            "walk_in_w",
            "load_factor",
            "pv_w",
            # Set points as the modules hold them, and those on their way (one bus cycle).
            "set_v",
            "set_a",
            "next_v",
            "next_a",
            "auxiliary_pu",
            "row_as",
        )
    ]
    + [("tier_on", np.int64, (TIERS,))]
    + [
        (name, np.int64)
        for name in (
            "loads_up",
            "modules",
            "battery_closed",
            "bms_trip",
            "rectifier_on",
            "limiting",
            "command_ticks",
            "transfer_ticks",
            "on_inverter",
        )
    ],
    align=True,
)

DC_METERS: Final = np.dtype(
    [
        (name, np.float64)
        for name in (
            "rectifier_j",
            "loss_j",
            "stored_j",
            "dc_load_j",
            "auxiliary_j",
            "battery_as",
            "low_v",
            "high_v",
            "auxiliary_dark_s",
        )
    ],
    align=True,
)
"""Meters behind the five of every site: rectifiers' output, their losses, what their DC links and the bus's
capacitors took up, DC loads, AC auxiliaries [J]; battery charge [As]; lowest and highest bus voltage since they
were read [V]; time for which the auxiliaries had less than half their voltage [s]."""
