"""The records of a DC site's controller (dc_bus.py) beside those of every site: samples, parameters, state.

Volts and amperes of the DC bus; battery current is positive out of the battery, as its power is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

TIERS: Final = 3

DC_SAMPLES: Final = np.dtype(
    [(name, np.float64) for name in ("bus_v", "battery_v", "battery_a", "rectifier_a", "pv_a", "load_a")]
    + [(name, np.int64) for name in ("limiting", "rectifier_on", "modules", "battery_closed", "bms_trip", "genset_up")],
    align=True,
)
"""One instant: bus and battery voltage, currents by shunt into the bus (load: out of it); what rectifiers report
(held by a limit of their own, on, how many), the battery's contactor and its management's trip, the genset's
ready contact."""

DC_PARAMETERS: Final = np.dtype(
    [
        (name, np.float64)
        for name in (
            "base_w",
            "nominal_v",
            "loop_ohm",
            "droop_ohm",
            "trim_share",
            "rectifier_w",
            "rectifier_a",
            "genset_w",
            "import_w",
            # Battery.
            "charge_v",
            "float_v",
            "float_v_per_k",
            "lowest_v",
            "highest_v",
            "ceiling_v",
            "charge_a",
            "discharge_a",
            "recharge_ratio",
            "full_ratio",
            "pv_lead_v",
            "close_v",
            # Low-voltage disconnect.
            "battery_off_v",
            "reconnect_ratio",
        )
    ]
    + [
        ("tier_off_v", np.float64, (TIERS,)),
        ("tier_on_v", np.float64, (TIERS,)),
        ("tier_off_ratio", np.float64, (TIERS,)),
        ("tier_off_ms", np.int64),
        ("tier_on_ms", np.int64),
        ("return_ms", np.int64),
        ("walk_in_ms", np.int64),
        ("holds_float", np.int64),
        ("modules", np.int64),
    ],
    align=True,
)

DC_STATE: Final = np.dtype(
    [
        (name, np.float64)
        for name in (
            "bus_v",
            "battery_a",
            "rectifier_a",
            "load_a",
            "pv_a",
            "trim_v",
            "charge_limit_a",
            "wanted_a",
            "service_w",
            "offered_discharge_w",
            "offered_charge_w",
            "resting_ratio",
            "target_ratio",
            "on_way_a",
            "expected_a",
            "upper_v",
            # Outputs.
            "v_ref_v",
            "limit_a",
            "pv_v_ref_v",
        )
    ]
    + [
        ("tier_low_ms", np.int64, (TIERS,)),
        ("tier_high_ms", np.int64, (TIERS,)),
        ("tier_command", np.int64, (TIERS,)),
        ("battery_command", np.int64),
        ("auxiliary_command", np.int64),
        ("battery_low_ms", np.int64),
        ("battery_even_ms", np.int64),
        ("recharging", np.int64),
        ("serving", np.int64),
        ("unfit_ms", np.int64),
        ("fit_ms", np.int64),
        ("walked_ms", np.int64),
        ("over_ms", np.int64),
        ("dead_ms", np.int64),
        ("disconnects", np.int64),
    ],
    align=True,
)
