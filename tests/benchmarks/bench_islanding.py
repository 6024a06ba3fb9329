"""A feeder that opens under a site, over the point on wave; phase jumps; the frequency estimate. In sample time."""

import dataclasses

import numpy as np

from sites.core.curves import curve_named
from sites.core.ridethrough import islanding_figures
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.frequency import load_gb_trace
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop, discharge_headroom_kw

POINTS = 40
"""Points on the wave, 0.5 ms apart: one cycle of 50 Hz."""
FLEET = synthetic_fleet(200, 1)
CABINET = next(site for site in FLEET if site.kind == "cabinet" and site.switch_kind == "forced")
TELECOM = next(site for site in FLEET if site.phases == 1)


def loop_at(sites: list[SiteParameters], frequency_hz: float) -> ClosedLoop:
    """Return sites that have settled at a frequency; below nominal all of them deliver all they can."""
    loop = ClosedLoop(sites, seed=1)
    for index, site in enumerate(sites):
        loop.arm(index, curve_named("neso-dc-low"), discharge_headroom_kw(site), 0.0, 0, 10**9)
    loop.advance(np.full(10_000, 50.0))
    loop.advance(np.linspace(50.0, frequency_hz, 8_000))
    loop.advance(np.full(4_000, frequency_hz))
    return loop


def islandings() -> None:
    """Print decision, transfer and voltage for switch kinds, neighbors' loads, at rest and in full delivery."""
    print("feeder opens: worst over 40 points on the wave, from the first pole's opening (decision also p50)")
    print(
        "phases switch      neighbors  delivery  decision p50/max ms   transfer ms   least pu after 2 ms   outside ITIC"
    )
    cases = [(CABINET, kind, load) for kind in ("sic", "forced") for load in (2.5, 4.0, 6.0)]
    cases += [(TELECOM, "sic", load) for load in (2.5, 4.0, 6.0)]
    cases += [(CABINET, "natural", 4.0), (CABINET, "contactor", 4.0)]
    for base, kind, load in cases:
        site = dataclasses.replace(base, switch_kind=kind, neighbor_load_pu=load)
        for delivery, frequency_hz in (("none", 50.0), ("full", 49.4)):
            loop = loop_at([site] * POINTS, frequency_hz)
            for index in range(POINTS):
                loop.open_feeder(index, loop.sample + 5 * index)
            loop.advance(np.full(8_000, frequency_hz))
            figures = [islanding_figures(w.columns, w.samples, w.rate_hz) for w in loop.drain_waveforms()]
            decisions = [figure.decision_ms for figure in figures]
            print(
                f"{site.phases:6d} {kind:10s} {load:6.1f} pu   {delivery:8s} "
                f"{np.median(decisions):9.1f} /{max(decisions):5.1f} {max(f.transfer_ms for f in figures):15.1f}"
                f" {min(f.min_pu_after_2ms for f in figures):18.2f} "
                f"{sum(f.load_outside_itic for f in figures):15d} of {len(figures)}"
            )


def phase_jumps() -> None:
    """Print how many sites take a jump of the grid's phase for its loss, in full delivery."""
    print("\nphase jumps in full delivery, 200 sites x 4 points on the wave: sites that islanded")
    for jump_deg in (8.0, 10.0, 15.0):
        left = {1: 0, 3: 0}
        for point in range(4):
            loop = loop_at(FLEET, 49.4)
            for index in range(len(FLEET)):
                angle = np.radians(jump_deg) * (1 if (index // 2) % 2 else -1)
                loop.jump_phase(index, float(angle), loop.sample + 50 * point)
            loop.advance(np.full(2_000, 49.4))
            for site, mode in zip(FLEET, loop.measured()["mode"], strict=True):
                left[site.phases] += int(mode != 0)
        total = {phases: 4 * sum(site.phases == phases for site in FLEET) for phases in (1, 3)}
        print(f"{jump_deg:5.0f} degrees: one phase {left[1]} of {total[1]}, three phases {left[3]} of {total[3]}")


def frequency_estimate() -> None:
    """Print noise and lag of the sites' own frequency estimate, from the 100 Hz record."""
    sites = [dataclasses.replace(site, meter_bias_hz=0.0) for site in FLEET[:40]]
    loop = ClosedLoop(sites, seed=1)
    loop.advance(np.full(20_000, 50.0))
    loop.drain_records()
    loop.advance(np.full(20_000, 50.0))
    noise_mhz = loop.drain_records()[1][:, :, 0].astype(float).std(axis=0) * 1000.0
    slope_hz_s = -0.2
    seconds = 3.0
    loop.advance(50.0 + slope_hz_s * np.arange(0.0, seconds, 1e-4))
    rows = loop.drain_records()[1][-100:, :, 0].astype(float)
    middle_s = seconds - 1.0 + 0.005 + 0.01 * np.arange(100)
    lag_ms = ((rows - (50.0 + slope_hz_s * middle_s)[:, None]) / -slope_hz_s).mean(axis=0) * 1000.0
    print(f"\nfrequency estimate, 40 sites: noise {noise_mhz.min():.1f} to {noise_mhz.max():.1f} mHz r.m.s. at 50 Hz,")
    print(f"lag {lag_ms.min():.0f} to {lag_ms.max():.0f} ms on a ramp of {-slope_hz_s} Hz/s")


def replay() -> None:
    """Print how many sites take the recorded day with its phase jumps for the loss of their grid."""
    trace = load_gb_trace()
    count, left = 0, 0
    for seed in (1, 2, 3, 4):
        fleet = synthetic_fleet(100, seed)
        loop = ClosedLoop(fleet, seed=seed)
        for index, site in enumerate(fleet):
            loop.arm(index, curve_named("neso-dc-low"), discharge_headroom_kw(site), 0.0, 0, 10**9)
        angles = np.random.default_rng(seed).uniform(-8.0, 8.0, len(fleet))
        for index, angle_deg in enumerate(angles):
            loop.jump_phase(index, float(np.radians(angle_deg)), round(6.5 * 10_000))
        for start_s in range(-3, 34):
            loop.advance(trace.at(start_s + np.arange(0.0, 1.0, 1e-4)))
            loop.drain_records()
        left += int((loop.measured()["mode"] != 0).sum())
        count += len(fleet)
    print(f"\n9 August 2019, -3 to 34 s, jumps up to 8 degrees at 3.5 s: {left} of {count} sites islanded falsely")


def steps() -> None:
    """Print how long a step of the frequency takes to 90 % of contract, all sites at all they can."""
    for to_hz in (49.5, 49.48, 49.4):
        loop = loop_at(FLEET[:60], 50.0)
        loop.drain_records()
        loop.advance(np.full(10_000, to_hz))
        contract_kw = np.array([discharge_headroom_kw(site) for site in FLEET[:60]])
        given = loop.drain_records()[1][:, :, 1] >= 0.9 * contract_kw
        reached_ms = np.where(given.any(axis=0), (given.argmax(axis=0) + 1) * 10.0, np.inf)
        print(
            f"step from 50 to {to_hz} Hz: 90 % of contract after {np.median(reached_ms):.0f} ms (median), "
            f"{reached_ms.max():.0f} ms (worst of 60)"
        )


if __name__ == "__main__":
    islandings()
    phase_jumps()
    frequency_estimate()
    steps()
    replay()
