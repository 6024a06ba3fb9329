"""IEEE 1547-2018 with its default settings, abnormal operating performance categories I, II and III (60 Hz)."""

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

NOMINAL_HZ: Final = 60.0
CONTINUOUS_PU: Final = (0.88, 1.10)
CONTINUOUS_HZ: Final = (58.8, 61.2)

SETTINGS: Final = Cited("EPRI OpenDER 2.2, AS-with std-values.csv (default settings, category III)", "V")
RIDE: Final = Cited("EPRI OpenDER 2.2, rt_crit.py (IEEE 1547-2018 tables 14-16)", "V")
TRIP_I: Final = Cited("IEEE 1547-2018 table 11; EPRI OpenDER 2.2, common_file_format.py, CAT_I, agrees", "V")
TRIP_II: Final = Cited("IEEE 1547-2018 table 12; EPRI OpenDER 2.2, common_file_format.py, CAT_II, agrees", "V")
TRIP_FREQUENCY: Final = Cited("IEEE 1547-2018 table 18; OpenDER's default settings agree", "V")
ROCOF: Final = Cited("IEEE 1547-2018 table 21, averaged over at least 0.1 s", "M")
JUMP: Final = Cited("IEEE 1547-2018 clause 6.5.2.6 as quoted by Microchip's application page", "V")
ISLAND: Final = Cited("IEEE 1547-2018 clause 8.1.1: 2 s, up to 5 s by agreement", "M")
SYNC: Final = Cited("IEEE 1547-2018 table 5", "M")
EXCUSE: Final = Cited(
    "IEEE 1547-2018 clause 6.4.2.1: excused while net export is under 10 % of rating, or load leaves with generation",
    "U",
)

V: Final = Quantity.VOLTAGE_PU
F: Final = Quantity.FREQUENCY_HZ

FREQUENCY_TRIPS: Final = (
    TripStage("OF2", F, Side.ABOVE, 62.0, 0.16, TRIP_FREQUENCY),
    TripStage("OF1", F, Side.ABOVE, 61.2, 300.0, TRIP_FREQUENCY),
    TripStage("UF1", F, Side.BELOW, 58.5, 300.0, TRIP_FREQUENCY),
    TripStage("UF2", F, Side.BELOW, 56.5, 0.16, TRIP_FREQUENCY),
)
FREQUENCY_RIDE: Final = (
    RideThrough(Operation.MANDATORY, F, 61.2, 61.8, 299.0, RIDE),
    RideThrough(Operation.MANDATORY, F, 57.0, 58.8, 299.0, RIDE),
)
HIGH_VOLTAGE_RIDE: Final = (
    RideThrough(Operation.PERMISSIVE, V, 1.10, 1.15, 1.0, RIDE),
    RideThrough(Operation.PERMISSIVE, V, 1.15, 1.175, 0.5, RIDE),
    RideThrough(Operation.PERMISSIVE, V, 1.175, 1.20, 0.2, RIDE),
)


def _profile(
    category: str, rocof_hz_per_s: float, trips: tuple[TripStage, ...], ride_through: tuple[RideThrough, ...]
) -> GridCodeProfile:
    return GridCodeProfile(
        name=f"ieee1547-{category.lower()}",
        title=f"IEEE 1547-2018, category {category}",
        nominal_hz=NOMINAL_HZ,
        continuous_pu=CONTINUOUS_PU,
        continuous_hz=CONTINUOUS_HZ,
        trips=(*trips, *FREQUENCY_TRIPS),
        ride_through=(*ride_through, *FREQUENCY_RIDE),
        rocof=RocofWithstand(rocof_hz_per_s, 0.1, ROCOF),
        phase_jump=PhaseJumpWithstand(20.0, 60.0, JUMP),
        loss_of_mains=LossOfMains("any method that passes IEEE 1547.1's test; active method here", 2.0, ISLAND),
        enter_service=EnterService(0.917, 1.05, 59.5, 60.1, 300.0, 300.0, SETTINGS),
        synchronism=(
            SynchronismLimits(500.0, 0.3, 0.10, 20.0, SYNC),
            SynchronismLimits(1500.0, 0.2, 0.05, 15.0, SYNC),
            SynchronismLimits(float("inf"), 0.1, 0.03, 10.0, SYNC),
        ),
        droop=FrequencyDroop(0.036, 0.05, 5.0, SETTINGS),
        momentary_island=MomentaryIsland(
            permitted=False,
            reason="mandatory operation asks the site to stay; the excuse for small exporters is not verified",
            cited=EXCUSE,
        ),
    )


CATEGORY_I: Final = _profile(
    "I",
    0.5,
    (
        TripStage("OV2", V, Side.ABOVE, 1.20, 0.16, TRIP_I),
        TripStage("OV1", V, Side.ABOVE, 1.10, 2.0, TRIP_I),
        TripStage("UV1", V, Side.BELOW, 0.70, 2.0, TRIP_I),
        TripStage("UV2", V, Side.BELOW, 0.45, 0.16, TRIP_I),
    ),
    (
        *HIGH_VOLTAGE_RIDE,
        RideThrough(Operation.MANDATORY, V, 0.70, 0.88, 0.7, RIDE, slope_s_per_unit=4.0),
        RideThrough(Operation.PERMISSIVE, V, 0.50, 0.70, 0.16, RIDE),
    ),
)
CATEGORY_II: Final = _profile(
    "II",
    2.0,
    (
        TripStage("OV2", V, Side.ABOVE, 1.20, 0.16, TRIP_II),
        TripStage("OV1", V, Side.ABOVE, 1.10, 2.0, TRIP_II),
        TripStage("UV1", V, Side.BELOW, 0.70, 10.0, TRIP_II),
        TripStage("UV2", V, Side.BELOW, 0.45, 0.16, TRIP_II),
    ),
    (
        *HIGH_VOLTAGE_RIDE,
        RideThrough(Operation.MANDATORY, V, 0.65, 0.88, 3.0, RIDE, slope_s_per_unit=8.7),
        RideThrough(Operation.PERMISSIVE, V, 0.45, 0.65, 0.32, RIDE),
        RideThrough(Operation.PERMISSIVE, V, 0.30, 0.45, 0.16, RIDE),
    ),
)
CATEGORY_III: Final = _profile(
    "III",
    3.0,
    (
        TripStage("OV2", V, Side.ABOVE, 1.20, 0.16, SETTINGS),
        TripStage("OV1", V, Side.ABOVE, 1.10, 13.0, SETTINGS),
        TripStage("UV1", V, Side.BELOW, 0.88, 21.0, SETTINGS),
        TripStage("UV2", V, Side.BELOW, 0.50, 2.0, SETTINGS),
    ),
    (
        RideThrough(Operation.MOMENTARY_CESSATION, V, 1.10, 1.20, 12.0, RIDE),
        RideThrough(Operation.MANDATORY, V, 0.70, 0.88, 20.0, RIDE),
        RideThrough(Operation.MANDATORY, V, 0.50, 0.70, 10.0, RIDE),
        RideThrough(Operation.MOMENTARY_CESSATION, V, 0.0, 0.50, 1.0, RIDE),
    ),
)
