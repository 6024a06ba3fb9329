"""The storage inventory: the worked day's figures, and asset-steps a second in whole numbers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from benchmarks.fleet_rows import Benchmark, Options, Row

from carbon.core.fleet_inventory import FACTOR_UNIT, FLOWS, fleet_inventory
from carbon.core.flows import StepEnergy
from carbon.core.inventory import METHOD_EFFICIENCY, Pool
from carbon.core.inventory_day import Parameters, day_inventory
from carbon.core.totals import site_totals
from carbon.inventory_files import read_steps

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "data" / "carbon" / "golden_day"
ASSETS, STEPS = 10_000, 35_040
AT_ONCE = 200
"""Assets whose year is in memory at a time: 560 MB of flows."""
LEAST_PER_S = 2e6
PLAIN_STEPS = 5_000


def run_worked_day(_options: Options) -> list[Row]:
    """Compare every published total; none without the measured data beside the checkout."""
    if not GOLDEN.is_dir():
        print("  skipped: the worked day is not beside the checkout")
        return []
    steps, step_h = read_steps(GOLDEN / "golden_inputs_96.csv")
    inventory = day_inventory(steps, Parameters(), step_h=step_h)
    ours, published = inventory.figures(), json.loads((GOLDEN / "golden_totals.json").read_text())
    agree = sum(ours[name] is not None and float(ours[name] or 0) == float(published[name]) for name in published)
    off = abs(inventory.totals.carbon_residual_ug) + abs(inventory.totals.swap_residual_ug)
    return [
        Row(
            "worked_day_totals_agree",
            f"published totals that agree at six decimals, of {len(published)}",
            agree, len(published),
        ),
        Row("worked_day_identities_ug", "both identities of the worked day [ug]", off, 0, is_most=True),
    ]  # fmt: skip


def a_year(chance: np.random.Generator, assets: int) -> np.ndarray:
    """Return a year of quarter-hours of sites with PV and two pools, some charging, some discharging [uWh]."""
    flows = np.zeros((len(FLOWS), assets, STEPS), np.int64)
    shape = (assets, STEPS)
    flows[5] = chance.integers(1_000_000_000, 25_000_000_000, shape)
    flows[2] = chance.integers(0, 20_000_000_000, shape)
    doing = chance.integers(0, 5, shape)
    energy = chance.integers(1_000_000_000, 8_000_000_000, shape)
    for place in range(4):
        flows[6 + place] = energy * (doing == place)
    net = flows[5] + flows[6] + flows[7] - flows[2] - flows[8] - flows[9]
    flows[0], flows[1] = np.maximum(net, 0), np.maximum(-net, 0)
    return flows


def run_fleet_year(options: Options) -> list[Row]:
    """Run the recursion over 10,000 assets' years, in parts that fit the memory; the drawing of flows is not timed."""
    chance = np.random.default_rng(6)
    grid = chance.integers(100_000_000, 600_000_000, (3, STEPS))
    green = chance.integers(0, FACTOR_UNIT, (3, STEPS))
    pools = np.zeros((AT_ONCE, 2, 3), np.int64)
    pools[:, :, 0] = 40_000_000_000

    def run(flows: np.ndarray) -> float:
        began = time.process_time()
        zone = np.arange(flows.shape[1]) % 3
        found = fleet_inventory(
            flows, grid=grid, green=green, zone=zone, pools=pools[: flows.shape[1]], efficiency=METHOD_EFFICIENCY,
            cover_shortfall=True,
        )  # fmt: skip
        took = time.process_time() - began
        assert all(found.site(place).carbon_residual_ug == 0 for place in range(0, flows.shape[1], 50))
        return took

    run(a_year(chance, 1))  # compiles
    flows = a_year(chance, AT_ONCE)
    # Ten minutes run the whole fleet; fewer a part of it, and the row says how many.
    parts = max(1, min(ASSETS // AT_ONCE, round(ASSETS / AT_ONCE * options.minutes / 10.0)))
    spent = 0.0
    for _ in range(parts):
        # Other flows each time, without drawing them anew.
        flows = np.roll(flows, 7, axis=2)
        spent += run(flows)
    done = parts * AT_ONCE * STEPS
    steps = [StepEnergy(**{n: int(flows[i, 0, k]) for i, n in enumerate(FLOWS)}) for k in range(PLAIN_STEPS)]
    began = time.process_time()
    site_totals(
        steps, grid=METHOD_EFFICIENCY.charge, own=Pool(), service=Pool(), efficiency=METHOD_EFFICIENCY,
        cover_shortfall=True,
    )  # fmt: skip
    plain = PLAIN_STEPS / (time.process_time() - began)
    rate = done / spent
    return [
        Row("inventory_steps_per_s", f"asset-steps a second on one core, {parts * AT_ONCE} assets x {STEPS}", rate,
            LEAST_PER_S),
        Row("inventory_plain_steps_per_s", "the same one by one in Python's whole numbers", plain),
        Row("inventory_ratio", "compiled over plain, in one run", rate / plain),
    ]  # fmt: skip


BENCHMARKS = (
    Benchmark("worked_day", "the worked day, every published total", run_worked_day),
    Benchmark("inventory", "a fleet's year of quarter-hours in whole numbers", run_fleet_year),
)
