"""DC sites: loss and return of the mains, response to frequency, disconnects on a long outage, cost of a step."""

import dataclasses
import itertools
import math
import time

import numpy as np

from sites.core.curves import curve_named
from sites.core.ridethrough import islanding_figures
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.frequency import load_gb_trace
from sites.edge.studies.closed_loop import ClosedLoop, discharge_headroom_kw
from sites.edge.studies.suite_cases import ALL, Happening, nuisance_kinds

FLEET = [site for site in synthetic_fleet(200, 1) if site.is_dc]
SITE = dataclasses.replace(FLEET[0], auxiliary_kw=0.2, load_profile="flat", genset_kw=0.0)
POINTS = 40
"""Points on the wave, 0.5 ms apart."""


def mains_losses() -> None:
    """Print what loads and auxiliaries see of an opened feeder over the point on wave, at rest and in delivery."""
    print("feeder opens: 40 points on the wave")
    print("phases bus    delivery  decision p50/max ms   bus V low..high   auxiliaries dark max ms   outside window")
    for phases, bus in ((1, "dc48"), (3, "dc48"), (3, "dc400")):
        site = dataclasses.replace(SITE, phases=phases, bus=bus)
        for delivery, grid_hz in (("none", 50.0), ("full", 49.4)):
            loop = ClosedLoop([site] * POINTS, seed=1)
            for index in range(POINTS):
                loop.arm(index, curve_named("neso-dc-low"), discharge_headroom_kw(site), 0.0, 0, 10**9)
            loop.advance(np.full(10_000, 50.0))
            loop.advance(np.linspace(50.0, grid_hz, 8_000))
            loop.advance(np.full(4_000, grid_hz))
            loop.dc.measured()
            for index in range(POINTS):
                loop.open_feeder(index, loop.sample + 5 * index)
            loop.advance(np.full(8_000, grid_hz))
            behind = loop.dc.measured()
            figures = [islanding_figures(w.columns, w.samples, w.rate_hz) for w in loop.drain_waveforms()]
            decisions = [figure.decision_ms for figure in figures]
            print(
                f"{phases:6d} {bus:6s} {delivery:8s} {np.median(decisions):9.1f} /{max(decisions):5.1f} "
                f"{behind['low_v'].min():12.2f}..{behind['high_v'].max():6.2f} "
                f"{1000.0 * behind['auxiliary_dark_s'].max():15.1f}"
                f" {sum(f.load_outside_itic for f in figures):21d} of {len(figures)}"
            )


def nuisances() -> None:
    """Print how many sites go to their battery for what a grid does without being lost."""
    counts = {"nuisance set": [0, 0], "jumps of 20 degrees": [0, 0], "jumps of one phase by 60": [0, 0]}
    for nominal_hz, phases in itertools.product((50.0, 60.0), (1, 3)):
        site = dataclasses.replace(SITE, phases=phases, nominal_hz=nominal_hz, grid_code="")
        kinds = [("nuisance set", *kind) for kind in nuisance_kinds()]
        for sign in (-1.0, 1.0):
            for name, angle, struck in (("jumps of 20 degrees", 20.0, ALL), ("jumps of one phase by 60", 60.0, (0,))):
                arguments = {"angle_rad": sign * math.radians(angle), "phases": struck}
                kinds.append((name, (Happening("jump_phase", 0.0, arguments),), 0.0))
        for slope in (-3.0, 0.0, 3.0):
            runs = [(kind, point) for kind in kinds if kind[2] == slope for point in range(12)]
            loop = ClosedLoop([site] * len(runs), seed=1)
            loop.advance(np.full(6000, nominal_hz))
            for index, ((_, happenings, _), point) in enumerate(runs):
                at = loop.sample + 100 + round(point * 10_000 / nominal_hz / 12)
                for happening in happenings:
                    ends = {}
                    if happening.lasts_s is not None:
                        ends = {happening.ends_as: at + round(happening.lasts_s * 10_000)}
                    getattr(loop, happening.method)(index, at_sample=at, **happening.arguments, **ends)
            fall = slope * np.arange(4000) / 10_000
            loop.advance(nominal_hz + np.concatenate([fall, fall[-1] - fall, np.zeros(2000)]))
            for index, ((name, _, _), _) in enumerate(runs):
                counts[name][0] += min(loop.counters(index)["decisions"], 1)
                counts[name][1] += 1
    print("\ngone to battery, 1 and 3 phases, 50 and 60 Hz, 12 points on the wave")
    for name, (gone, among) in counts.items():
        print(f"  {name:26s} {gone} of {among}")


def response_times() -> None:
    """Print how long 20 sites take to 90 % of their power after a step of the grid's frequency."""
    loop = ClosedLoop(FLEET, seed=1)
    loop.advance(np.full(30_000, 50.0))
    power_kw = loop.measured()["discharge_kw"].copy()
    for index, kw in enumerate(power_kw):
        loop.arm(index, curve_named("neso-dc-low"), float(kw), 0.0, 0, 10**9)
    loop.advance(np.full(10_000, 50.0))
    before_kw = loop.measured()["pcc_kw"].copy()
    loop.drain_records()
    loop.advance(np.full(10_000, 49.4))
    _, rows = loop.drain_records()
    battery = rows[:, :, 1] / power_kw
    pcc = (before_kw - rows[:, :, 3]) / power_kw
    print("\nstep of 0.6 Hz, 20 sites: 90 % of the power after [ms], end of the 10 ms row")
    for name, share in (("battery's shunt", battery), ("grid's meter", pcc)):
        reached = 10 * (np.argmax(share > 0.9, axis=0) + 1)
        print(
            f"  {name:16s} p50 {np.median(reached):4.0f}  max {reached.max():4d}  most {share.max():.2f} of the power"
        )
    trace = load_gb_trace()
    drained = []
    for at_s in range(3, 203):
        loop.advance(trace.at(at_s + np.arange(10_000) / 10_000))
        drained.append(loop.drain_records()[1])
    rows = np.concatenate(drained)
    x, y = zip(*curve_named("neso-dc-low").points, strict=True)
    due = np.interp(50.0 - rows[:, :, 0], x, y, left=0.0) * power_kw
    ratios = []
    for i in range(0, len(rows) - 1000, 100):
        gave, owed = rows[i : i + 1000, :, 1].mean(axis=0), due[i : i + 1000].mean(axis=0)
        ratios += list((gave / owed)[owed > 0.2 * power_kw])
    print(f"9 August 2019, 200 s: 10 s means of given over due {min(ratios):.3f}..{max(ratios):.3f}")
    print(f"  least power at the grid's meters {rows[:, :, 3].min():.3f} kW (below 0 would be export)")


def long_outage() -> None:
    """Print when tiers go on an outage without end, at 2 kHz."""
    site = dataclasses.replace(SITE, soc_ratio=0.9, pv_kw=0.0, load_kw=3.0, battery_kwh=15.36, reserve_kwh=6.0)
    loop = ClosedLoop([site], seed=1, sample_rate_hz=2000)
    loop.open_feeder(0, 2000)
    last: tuple[int, ...] = ()
    print("\noutage without end, 3 kW on three strings from 90 %: tiers on, hours, charge, bus voltage")
    while loop.sample < 12 * 3600 * 2000:
        loop.advance(np.full(20_000, 50.0))
        behind, measured = loop.dc.measured()[0], loop.measured()[0]
        state = (*(int(on) for on in behind["tier_on"]), int(behind["battery_closed"]))
        if state != last:
            hours = loop.sample / 2000 / 3600
            print(f"  {state}  {hours:5.2f} h  {measured['soc_ratio']:6.1%}  {behind['low_v']:6.2f} V")
            last = state
        if not any(state[:3]):
            break


def cost() -> None:
    """Print the fused step's cost per site and sample, DC beside AC, best of five."""
    ac = [site for site in synthetic_fleet(200, 1) if not site.is_dc and site.phases == 1][:20]
    print("\ncost of the fused step [ns per site and sample], best of 5")
    for name, sites in (("DC, one phase", FLEET), ("AC, one phase", ac)):
        loop = ClosedLoop(sites, seed=1)
        grid_hz = np.full(10_000, 50.0)
        loop.advance(grid_hz)
        best = min(_seconds(loop, grid_hz) for _ in range(5))
        print(f"  {name}: {best / len(sites) / len(grid_hz) * 1e9:.0f}")


def _seconds(loop: ClosedLoop, grid_hz: np.ndarray) -> float:
    began = time.perf_counter()
    loop.advance(grid_hz)
    return time.perf_counter() - began


if __name__ == "__main__":
    mains_losses()
    nuisances()
    response_times()
    long_outage()
    cost()
