"""GB/T 33593-2017: distributed resources, storage among them, connected at 35 kV and below (50 Hz).

Of the Chinese standards this one fits sites on 400 V: GB/T 36547-2024 (storage stations) begins at 10(6) kV,
GB/T 19964 is for photovoltaic plants, GB/T 34120-2023 for the storage converter itself. No primary text was
read; each figure is from memory and has to be checked before a real site is commissioned.
"""

from __future__ import annotations

from typing import Final

from sites.core.gridcode_profile import (
    Cited,
    EnterService,
    FrequencyDroop,
    GridCodeProfile,
    LossOfMains,
    MomentaryIsland,
    Operation,
    PhaseJumpWithstand,
    Quantity,
    RideThrough,
    RocofWithstand,
    Side,
    SynchronismLimits,
    TripStage,
)

V: Final = Quantity.VOLTAGE_PU
F: Final = Quantity.FREQUENCY_HZ

VOLTAGE: Final = Cited("GB/T 33593-2017, protection against voltage at the point of connection", "U")
FREQUENCY: Final = Cited("GB/T 33593-2017, frequency at the point of connection; GB/T 34120-2023 alike", "U")
TAKEN_OVER: Final = Cited("not found in the Chinese standards; IEEE 1547-2018's taken over", "U")

GBT: Final = GridCodeProfile(
    name="gbt-33593",
    title="GB/T 33593-2017, 400 V",
    nominal_hz=50.0,
    continuous_pu=(0.85, 1.10),
    continuous_hz=(49.5, 50.2),
    trips=(
        TripStage("OV2", V, Side.ABOVE, 1.35, 0.2, VOLTAGE),
        TripStage("OV1", V, Side.ABOVE, 1.10, 2.0, VOLTAGE),
        TripStage("UV1", V, Side.BELOW, 0.85, 2.0, VOLTAGE),
        TripStage("UV2", V, Side.BELOW, 0.50, 0.2, VOLTAGE),
        TripStage("OF1", F, Side.ABOVE, 50.5, 0.2, FREQUENCY),
        TripStage("UF1", F, Side.BELOW, 48.0, 4.2, FREQUENCY),
        TripStage("UF2", F, Side.BELOW, 46.5, 0.2, FREQUENCY),
    ),
    ride_through=(
        RideThrough(Operation.MANDATORY, F, 48.0, 49.5, 600.0, FREQUENCY),
        RideThrough(Operation.MANDATORY, F, 50.2, 50.5, 120.0, FREQUENCY),
    ),
    rocof=RocofWithstand(0.5, 0.5, TAKEN_OVER),
    phase_jump=PhaseJumpWithstand(20.0, 60.0, TAKEN_OVER),
    loss_of_mains=LossOfMains("active method", 2.0, Cited("GB/T 33593-2017 and GB/T 36547: 2 s", "M")),
    enter_service=EnterService(0.85, 1.10, 49.5, 50.2, 60.0, 0.0, Cited("GB/T 33593-2017: 20 s to 5 min", "U")),
    synchronism=(
        SynchronismLimits(500.0, 0.3, 0.10, 20.0, TAKEN_OVER),
        SynchronismLimits(1500.0, 0.2, 0.05, 15.0, TAKEN_OVER),
        SynchronismLimits(float("inf"), 0.1, 0.03, 10.0, TAKEN_OVER),
    ),
    droop=FrequencyDroop(0.05, 0.03, 2.0, Cited("GB/T 36547-2024, primary frequency control of storage", "U")),
    momentary_island=MomentaryIsland(
        permitted=True,
        reason="on 400 V no low-voltage ride-through is asked",
        cited=Cited("GB/T 33593-2017: ride-through from 10(6) kV on", "U"),
    ),
)
