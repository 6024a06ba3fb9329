"""The scenarios of the islanding suite: which site, what happens to it, and to which class of events it belongs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sites.core.gridcodes import profile_for
from sites.edge.control.settings import CONVERTERS
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import discharge_headroom_kw
from sites.edge.studies.disturbances import EN_50160_MIX

RATE_HZ: Final = 10_000
POINTS: Final = 24
"""Points on the wave, equal steps over one cycle."""
QUICK_POINTS: Final = 6
LONG_BEFORE_S: Final = 0.05
"""What is kept of the time before an event."""

THREE_PHASES: Final = SiteParameters(
    site_id="suite-three", name="Edge cabinet, three phases", kind="cabinet", nominal_hz=50.0, nominal_voltage_v=400.0,
    phases=3, pcs_kva=100.0, battery_kwh=100.0, soc_ratio=0.7, reserve_kwh=20.0, pv_kw=40.0, pv_now_ratio=0.3,
    load_kw=50.0, genset_kw=0.0, import_limit_kw=130.0, export_limit_kw=80.0, fifth_harmonic_pu=0.0,
    enter_service_delay_s=60.0,
)  # fmt: skip
ONE_PHASE: Final = dataclasses.replace(
    THREE_PHASES, site_id="suite-one", name="Telecom site, one phase", kind="telecom", nominal_voltage_v=230.0,
    phases=1, pcs_kva=8.0, battery_kwh=10.0, reserve_kwh=2.0, pv_kw=4.0, load_kw=3.0, import_limit_kw=10.0,
    export_limit_kw=7.0, switch_kind="sic",
)  # fmt: skip

ALL: Final = (0, 1, 2)
MOTOR_SHARE: Final = 0.8
"""Of the neighbors' load, in the classes with motors."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One call of a closed loop's disturbance methods, at an instant relative to the event."""

    method: str
    after_s: float
    """From the event [s]; negative: before it. None of the run before it: ``math.inf`` below zero is its start."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    lasts_s: float | None = None
    """For methods that take an end: until so long after their start."""
    ends_as: str = "until_sample"


@dataclass(frozen=True, slots=True)
class Case:
    """One run of one site."""

    class_name: str
    site: SiteParameters
    happenings: tuple[Happening, ...]
    point: float = 0.0
    """Where on the wave the event lies, in cycles."""
    delivers: bool = False
    """The site delivers all it can at 0.6 Hz below nominal when the event comes; else it is at rest."""
    watch_s: float = 0.3
    """How long it is watched from the event on."""
    ramp_hz_per_s: float = 0.0
    """Slope of the grid's frequency from the event on, for 0.4 s, and back."""
    feeder_opens: bool = False
    """Times run from the feeder's first open pole; else from the event."""


START: Final = -math.inf
THD: Final = Happening("harmonics", START, EN_50160_MIX)
NOISE: Final = Happening("voltage_noise", START, {"half_width_pu": 0.01})
WAVES: Final[dict[str, tuple[Happening, ...]]] = {"clean": (), "thd": (THD,), "noise": (NOISE,)}


def all_cases(*, quick: bool = False) -> list[Case]:
    """Return the matrix; ``quick``: a part of it with 6 points on the wave."""
    cases = [*losses(quick), *dips(quick), *nuisances(quick), *must_rides(quick), *faults(quick)]
    return list(cases)


def at_frequency(site: SiteParameters, nominal_hz: float) -> SiteParameters:
    """Return the site on a grid of 50 or 60 Hz, with the voltage that is usual there."""
    if nominal_hz == 50.0:
        return site
    return dataclasses.replace(site, nominal_hz=60.0, nominal_voltage_v=480.0 if site.phases == 3 else 120.0)


def converter_cases(quick: bool) -> list[Case]:
    """Losses for both ways to control a converter, the same for each; a class is named after the way and the switch."""
    found = []
    for kind in ("sic", "forced", "natural"):
        for converter in CONVERTERS:
            site = dataclasses.replace(THREE_PHASES, switch_kind=kind, converter=converter)
            found += list(_openings(f"{converter}, {kind}", site, ALL, ("thd",), quick))
    return found


def _points(quick: bool) -> list[float]:
    count = QUICK_POINTS if quick else POINTS
    return [step / count for step in range(count)]


def _hertz(quick: bool) -> tuple[float, ...]:
    return (50.0,) if quick else (50.0, 60.0)


def losses(quick: bool) -> Iterator[Case]:
    """Losses of the grid: poles of the feeder's breaker open under the site and its neighbors."""
    waves = ("clean", "thd") if quick else tuple(WAVES)
    for nominal_hz in _hertz(quick):
        three, one = at_frequency(THREE_PHASES, nominal_hz), at_frequency(ONE_PHASE, nominal_hz)
        for kind in ("sic", "forced", "natural", "contactor"):
            site = dataclasses.replace(three, switch_kind=kind)
            yield from _openings(f"loss 3 of 3 phases, {kind}", site, ALL, waves, quick)
        for kind in ("sic", "forced"):
            site = dataclasses.replace(three, switch_kind=kind)
            for phases, text in (((0,), "1"), ((0, 1), "2")):
                yield from _openings(f"loss {text} of 3 phases, {kind}", site, phases, waves, quick)
        yield from _openings("loss, one-phase site, sic", one, (0,), waves, quick)
        for base, text in ((three, "three phases"), (one, "one phase")):
            for tau_s in (0.005, 0.1):
                site = dataclasses.replace(
                    base, switch_kind="sic", neighbor_motor_share=MOTOR_SHARE, neighbor_motor_tau_s=tau_s
                )
                name = f"loss with motors of {1000 * tau_s:g} ms, {text}"
                yield from _openings(name, site, ALL[: base.phases], ("thd",), quick)
        yield from _near_balance(three, quick)


def _openings(
    name: str, site: SiteParameters, phases: tuple[int, ...], waves: Iterable[str], quick: bool, watch_s: float = 0.3
) -> Iterator[Case]:
    for wave in waves:
        for delivers in (False, True):
            for point in _points(quick):
                opening = Happening("open_feeder", 0.0, {"phases": phases})
                happenings = (*WAVES[wave], opening)
                yield Case(name, site, happenings, point, delivers, watch_s=watch_s, feeder_opens=True)


def _near_balance(three: SiteParameters, quick: bool) -> Iterator[Case]:
    """The site feeds a tuned R, L, C of quality 1 that takes what it gives, within 5 % of P and Q: little is seen."""
    given_kw = three.pv_kw * three.pv_now_ratio + discharge_headroom_kw(three) - three.load_kw
    mismatches = (-0.05, 0.0, 0.05)
    for share in mismatches:
        for reactive in (0.0,) if quick else mismatches:
            site = dataclasses.replace(
                three, switch_kind="sic", neighbor_load_pu=0.0, island_load_kw=given_kw * (1.0 + share),
                island_load_kvar=given_kw * reactive,
            )  # fmt: skip
            for point in _points(True):
                opening = Happening("open_feeder", 0.0, {"phases": ALL})
                yield Case("loss near balance", site, (opening,), point, True, watch_s=2.4, feeder_opens=True)


DIP_SHAPES: Final = (
    (0.0, 0.010, "IEC 61000-4-11: 0 %, half a cycle"),
    (0.0, 0.020, "IEC 61000-4-11: 0 %, one cycle"),
    (0.4, 0.200, "IEC 61000-4-11: 40 %, 10 cycles"),
    (0.5, 0.200, "SEMI F47: 50 %, 0.2 s"),
    (0.7, 0.500, "ITIC, SEMI F47, IEC 61000-4-11: 70 %, 0.5 s"),
    (0.8, 1.000, "SEMI F47: 80 %, 1 s"),
    (0.8, 5.000, "IEC 61000-4-11: 80 %, 250 cycles"),
)
"""(residual [pu], duration [s], source)."""


def dips(quick: bool) -> Iterator[Case]:
    """Dips of three phases and of one: the load must stay inside the ITIC curve, by riding or by leaving."""
    for nominal_hz in _hertz(quick):
        for base in (THREE_PHASES, ONE_PHASE):
            site = dataclasses.replace(at_frequency(base, nominal_hz), switch_kind="sic")
            for residual, lasts_s, _ in DIP_SHAPES:
                if quick and lasts_s > 0.5:
                    continue
                hits: list[tuple[float, ...]] = [(residual,) * 3]
                if base.phases == 3:
                    hits += [(residual, 1.0, 1.0), (residual, residual, 1.0)]
                for hit in hits:
                    for point in _points(True):
                        dip = Happening("sag", 0.0, {"residual_pu": hit}, lasts_s)
                        may_leave = profile_for(site.grid_code, nominal_hz).momentary_island.permitted
                        name = f"dips{'' if may_leave else ', code forbids to leave'}, "
                        name += "three-phase site" if base.phases == 3 else "one-phase site"
                        # To one cycle after its end, and to where the ITIC clocks have decided.
                        yield Case(name, site, (dip,), point, watch_s=min(lasts_s + 0.2, 5.2))


def nuisances(quick: bool) -> Iterator[Case]:
    """What a grid does without being lost; none may transfer."""
    for nominal_hz in _hertz(quick):
        for base in (THREE_PHASES, ONE_PHASE):
            site = dataclasses.replace(at_frequency(base, nominal_hz), switch_kind="sic")
            for delivers in (False, True):
                for point in _points(quick):
                    for happenings, ramp in nuisance_kinds():
                        yield Case("nuisance set", site, happenings, point, delivers, watch_s=0.8, ramp_hz_per_s=ramp)


def nuisance_kinds() -> Iterator[tuple[tuple[Happening, ...], float]]:
    """Return what happens in each of the nuisance set's runs, and the slope of the frequency [Hz/s]."""
    yield (Happening("harmonics", 0.0, EN_50160_MIX),), 0.0
    yield (Happening("sag", 0.0, {"residual_pu": (0.9,) * 3}, 0.7),), 0.0
    yield (Happening("start_motor", 0.0, {"residual_pu": 0.85, "recovery_s": 0.5}),), 0.0
    for slope in (-3.0, 3.0):
        yield (), slope
    yield (Happening("flicker", 0.0, {"depth_pu": 0.1}, 0.7),), 0.0
    for ring_hz, height in ((300.0, 0.5), (500.0, 0.5), (900.0, 0.4)):
        yield (Happening("switch_capacitor", 0.0, {"ring_hz": ring_hz, "height_pu": height}),), 0.0
    for height in (-1.0, 1.0):
        yield (Happening("impulse", 0.0, {"height_pu": height, "width_s": 100e-6}),), 0.0
    yield (Happening("notches", 0.0, {"depth_pu": 0.4, "width_s": 300e-6}, 0.3),), 0.0
    yield (Happening("sag", 0.0, {"residual_pu": (1.15,) * 3}, 0.4),), 0.0


def must_rides(quick: bool) -> Iterator[Case]:
    """What IEEE 1547-2018 asks to ride through: phase jumps (6.5.2.6) and rate of change of frequency (6.5.2.5)."""
    for nominal_hz in _hertz(quick):
        for base in (THREE_PHASES, ONE_PHASE):
            site = dataclasses.replace(at_frequency(base, nominal_hz), switch_kind="sic")
            jumps: tuple[tuple[str, float, tuple[int, ...]], ...] = (
                (("20 degrees, three phases", 20.0, ALL), ("59 degrees, one phase of three", 59.0, (0,)))
                if base.phases == 3
                else (("20 degrees, one-phase site", 20.0, (0,)), ("60 degrees, one-phase site", 60.0, (0,)))
            )
            for delivers in (False, True):
                for point in _points(quick):
                    for text, angle_deg, phases in jumps:
                        for sign in (-1.0, 1.0):
                            arguments = {"angle_rad": sign * math.radians(angle_deg), "phases": phases}
                            happening = Happening("jump_phase", 0.0, arguments)
                            name = f"must ride: phase jump of {text}"
                            yield Case(name, site, (happening,), point, delivers, watch_s=0.5)
                    for slope in (-3.0, 3.0):
                        yield Case("must ride: 3 Hz/s", site, (), point, delivers, 0.8, ramp_hz_per_s=slope)


def faults(quick: bool) -> Iterator[Case]:
    """Faults upstream, cleared by the network's protection after 80 ms: the load must stay inside the curve."""
    for nominal_hz in _hertz(quick):
        site = dataclasses.replace(at_frequency(THREE_PHASES, nominal_hz), switch_kind="sic")
        for phases, to_earth, text in (((0,), True, "1"), ((0, 1), False, "2"), (ALL, True, "3")):
            for resistance_pu in (0.005, 0.05):
                for point in _points(True):
                    arguments = {"phases": phases, "to_earth": to_earth, "resistance_pu": resistance_pu}
                    fault = Happening("fault", 0.0, arguments, 0.08, "cleared_at_sample")
                    name = f"fault on the feeder, {text} phases"
                    yield Case(name, site, (fault,), point, watch_s=0.4)
