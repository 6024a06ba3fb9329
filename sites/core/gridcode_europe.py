"""ENA G99 (Great Britain) and EN 50549-1 (CENELEC), low voltage, 50 Hz."""

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

G99_TRIP: Final = Cited(
    "ENA G99 table 10.1, low voltage; a setting is a delay, 0.1 s more to clear is our allowance", "M"
)
G99_LOM: Final = Cited("ENA G99 table 10.1: 1 Hz/s, definite time 500 ms; vector shift not allowed any more", "V")
G99_RANGE: Final = Cited("ENA G99 clause 11.2 (type A): 47-52 Hz and how long", "M")
G99_JUMP: Final = Cited("ENA G99 type test of stability: vector shift of +-50 degrees, both directions", "M")
G99_SYNC: Final = Cited("ENA G99 asks no figure; IEEE 1547-2018 table 5 taken over", "U")

EN_RANGE: Final = Cited("EN 50549-1:2019 clause 4.4.2", "M")
EN_RIDE: Final = Cited("EN 50549-1:2019 clause 4.5.3 and 4.5.4, figures for non-synchronous plants", "M")
EN_TRIP: Final = Cited(
    "EN 50549-1:2019 clause 4.9.3 leaves the settings to the grid operator; here at the end of the ride-through", "U"
)
EN_LOM: Final = Cited("EN 50549-1:2019 clause 4.9.4, tested as EN 62116: 2 s", "M")
EN_RETURN: Final = Cited("EN 50549-1:2019 clause 4.10.2: default reconnection after a trip", "M")

ANY_SIZE_SYNC: Final = (SynchronismLimits(500.0, 0.3, 0.10, 20.0, G99_SYNC),
                        SynchronismLimits(1500.0, 0.2, 0.05, 15.0, G99_SYNC),
                        SynchronismLimits(float("inf"), 0.1, 0.03, 10.0, G99_SYNC))  # fmt: skip

G99: Final = GridCodeProfile(
    name="g99",
    title="ENA G99, type A, low voltage",
    nominal_hz=50.0,
    continuous_pu=(0.90, 1.10),
    continuous_hz=(49.0, 51.0),
    trips=(
        TripStage("OV2", V, Side.ABOVE, 1.19, 0.6, G99_TRIP, delay_s=0.5),
        TripStage("OV1", V, Side.ABOVE, 1.14, 1.1, G99_TRIP, delay_s=1.0),
        TripStage("UV1", V, Side.BELOW, 0.80, 2.6, G99_TRIP, delay_s=2.5),
        TripStage("OF1", F, Side.ABOVE, 52.0, 0.6, G99_TRIP, delay_s=0.5),
        TripStage("UF1", F, Side.BELOW, 47.5, 20.1, G99_TRIP, delay_s=20.0),
        TripStage("UF2", F, Side.BELOW, 47.0, 0.6, G99_TRIP, delay_s=0.5),
        TripStage("ROCOF", Quantity.ROCOF_HZ_PER_S, Side.ABOVE, 1.0, 0.7, G99_LOM, delay_s=0.5, window_s=0.1),
    ),
    ride_through=(
        RideThrough(Operation.MANDATORY, F, 51.0, 51.5, 5400.0, G99_RANGE),
        RideThrough(Operation.MANDATORY, F, 51.5, 52.0, 900.0, G99_RANGE),
        RideThrough(Operation.MANDATORY, F, 47.5, 49.0, 5400.0, G99_RANGE),
        RideThrough(Operation.MANDATORY, F, 47.0, 47.5, 20.0, G99_RANGE),
    ),
    rocof=RocofWithstand(1.0, 0.5, G99_LOM),
    phase_jump=PhaseJumpWithstand(20.0, 50.0, G99_JUMP),
    loss_of_mains=LossOfMains(
        "RoCoF relay; active method here besides", 2.0, Cited("EN 62116 as G99 calls it up", "U")
    ),
    enter_service=EnterService(
        0.90, 1.10, 47.5, 51.5, 20.0, 0.0, Cited("ENA G99 clause 10.3: 20 s inside limits", "M")
    ),
    synchronism=ANY_SIZE_SYNC,
    droop=FrequencyDroop(0.4, 0.10, 2.0, Cited("ENA G99 clause 11.2.4: LFSM-O from 50.4 Hz with 10 %", "M")),
    momentary_island=MomentaryIsland(
        permitted=True,
        reason="fault ride-through is asked from type B on (1 MW); a type A site may leave in a dip",
        cited=Cited("ENA G99 clauses 11 and 12: fault ride-through stands under type B", "M"),
    ),
)

EN50549: Final = GridCodeProfile(
    name="en50549-1",
    title="EN 50549-1:2019, low voltage",
    nominal_hz=50.0,
    continuous_pu=(0.85, 1.10),
    continuous_hz=(49.0, 51.0),
    trips=(
        TripStage("OV3", V, Side.ABOVE, 1.25, 0.2, EN_TRIP, delay_s=0.1),
        TripStage("OV2", V, Side.ABOVE, 1.20, 5.1, EN_TRIP, delay_s=5.0),
        TripStage("OV1", V, Side.ABOVE, 1.15, 60.1, EN_TRIP, delay_s=60.0),
        TripStage("UV1", V, Side.BELOW, 0.85, 3.1, EN_TRIP, delay_s=3.0),
        TripStage("OF1", F, Side.ABOVE, 52.0, 0.6, EN_TRIP, delay_s=0.5),
        TripStage("UF1", F, Side.BELOW, 47.0, 0.6, EN_TRIP, delay_s=0.5),
    ),
    ride_through=(
        RideThrough(Operation.MANDATORY, V, 0.05, 0.85, 0.25, EN_RIDE, slope_s_per_unit=2.75 / 0.80),
        RideThrough(Operation.MANDATORY, V, 0.0, 0.05, 0.25, Cited("EN 50549-1:2019: 0.05 pu, read as any depth", "U")),
        RideThrough(Operation.MANDATORY, V, 1.10, 1.15, 60.0, EN_RIDE),
        RideThrough(Operation.MANDATORY, V, 1.15, 1.20, 5.0, EN_RIDE),
        RideThrough(Operation.MANDATORY, V, 1.20, 1.25, 0.1, EN_RIDE),
        RideThrough(Operation.MANDATORY, F, 47.5, 49.0, 1800.0, EN_RANGE),
        RideThrough(Operation.MANDATORY, F, 51.0, 51.5, 1800.0, EN_RANGE),
    ),
    rocof=RocofWithstand(2.0, 0.5, Cited("EN 50549-1:2019 clause 4.5.2: 2 Hz/s for non-synchronous plants", "M")),
    phase_jump=PhaseJumpWithstand(
        20.0, 60.0, Cited("EN 50549-1:2019 has none, A1:2023 adds one not read here; IEEE 1547's taken over", "U")
    ),
    loss_of_mains=LossOfMains("active method (EN 62116)", 2.0, EN_LOM),
    enter_service=EnterService(0.85, 1.10, 49.5, 50.2, 60.0, 600.0, EN_RETURN),
    synchronism=ANY_SIZE_SYNC,
    droop=FrequencyDroop(0.2, 0.05, 2.0, Cited("EN 50549-1:2019 clause 4.6.1: from 50.2 Hz with 5 %", "M")),
    momentary_island=MomentaryIsland(
        permitted=True,
        reason="under-voltage ride-through binds type B; for type A it is left to the grid operator",
        cited=Cited("EN 50549-1:2019 clause 4.5.3.1", "U"),
    ),
)
