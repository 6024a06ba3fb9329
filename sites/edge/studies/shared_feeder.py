"""Several sites behind one feeder's breaker: whether their converters hide an island from each other.

The plant of the other studies gives each site a feeder of its own. Here the utility sides of the switches are one
node, with the tuned R, L, C and the grid; everything else of a site is its filter, its resistive load and a
switch that opens at once.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.core.curves import curve_named
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.controller import control_step
from sites.edge.plant.load_values import with_island_load
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop

RATE_HZ: Final = 10_000
SETTLE_S: Final = 6.0
HALF_SQRT3: Final = 0.8660254037844386
FEEDER: Final = np.dtype(
    [("u", np.float64, (3,)), ("i_grid", np.float64, (3,)), ("i_coil", np.float64, (3,)), ("closed", np.int64, (3,)),
     ("command", np.int64)],
    align=True,
)  # fmt: skip
BRANCH: Final = np.dtype(
    [("v", np.float64, (3,)), ("i_filter", np.float64, (3,)), ("i_switch", np.float64, (3,)), ("closed", np.int64)],
    align=True,
)
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeederRun:
    """What one island of several sites came to."""

    ceased_s: float
    """From the breaker's last pole to the last site's switch; inf when that never came."""
    first_s: float
    """To the first site's switch."""


@kernel
def advance_phase(g: Any, f: Record, b: Any, k: int, source: float, converter: Any) -> None:
    """Advance one phase of the common node and of all sites by one sample; ``converter``: their voltages."""
    count = b.shape[0]
    first = g[0]
    u_g = 0.0
    u_j = -f["i_coil"][k]
    for i in range(count):
        u_g += g[i]["tank_g"] + g[i]["tank_l_g"] + g[i]["tank_c"]
        u_j += g[i]["tank_c"] * f["u"][k]
    grid_g = 0.0
    grid_j = 0.0
    if f["closed"][k]:
        # The feeder is as strong for all together as each site's nameplate says for it alone.
        grid_g = count * first["grid_g"]
        grid_j = grid_g * (source + first["grid_l"] / count * f["i_grid"][k])
        u_g += grid_g
        u_j += grid_j
    for i in range(count):
        if b[i]["closed"]:
            v_g = g[i]["load_pu"] + g[i]["filter_c"] + g[i]["filter_g"]
            v_j = g[i]["filter_c"] * b[i]["v"][k]
            v_j += g[i]["filter_g"] * (converter[i, k] + g[i]["filter_l"] * b[i]["i_filter"][k])
            share = g[i]["switch_g"] / (g[i]["switch_g"] + v_g)
            u_g += share * v_g
            u_j += share * v_j
    u = u_j / u_g
    for i in range(count):
        v_g = g[i]["load_pu"] + g[i]["filter_c"] + g[i]["filter_g"]
        v_j = g[i]["filter_c"] * b[i]["v"][k]
        v_j += g[i]["filter_g"] * (converter[i, k] + g[i]["filter_l"] * b[i]["i_filter"][k])
        switch_g = g[i]["switch_g"] if b[i]["closed"] else 0.0
        v = (v_j + switch_g * u) / (v_g + switch_g)
        b[i]["i_filter"][k] = g[i]["filter_g"] * (converter[i, k] + g[i]["filter_l"] * b[i]["i_filter"][k] - v)
        b[i]["i_switch"][k] = switch_g * (u - v)
        b[i]["v"][k] = v
        f["i_coil"][k] += g[i]["tank_l_g"] * u
    i_grid = grid_j - grid_g * u
    if f["closed"][k] and f["command"] == 0 and i_grid * f["i_grid"][k] <= 0.0:
        f["closed"][k] = 0
        i_grid = 0.0
    f["i_grid"][k] = i_grid
    f["u"][k] = u


@kernel
def advance_feeder(
    g: Any, k: Any, c: Any, m: Any, table: Any, f: Record, b: Any, turn: float, noise: Any, start: int, seen: Any
) -> None:
    """Advance the feeder and all its controllers by ``len(noise)`` samples; write the closed switches per sample."""
    count = b.shape[0]
    converter = np.zeros((count, 3))
    for n in range(noise.shape[0]):
        angle = turn * (start + n + 1)
        cosine = math.cos(angle) * g[0]["grid_pu"]
        sine = math.sin(angle) * g[0]["grid_pu"]
        for i in range(count):
            converter[i, 0] = c[i]["ea"]
            converter[i, 1] = c[i]["eb"]
            converter[i, 2] = c[i]["ec"]
            if c[i]["switch_command"] == 0:
                b[i]["closed"] = 0
        advance_phase(g, f, b, 0, cosine, converter)
        advance_phase(g, f, b, 1, HALF_SQRT3 * sine - 0.5 * cosine, converter)
        advance_phase(g, f, b, 2, -HALF_SQRT3 * sine - 0.5 * cosine, converter)
        for i in range(count):
            s = m[i]
            x = noise[n, i]
            s["va"] = b[i]["v"][0] + x[0]
            s["vb"] = b[i]["v"][1] + x[1]
            s["vc"] = b[i]["v"][2] + x[2]
            s["ua"] = f["u"][0] - x[0]
            s["ub"] = f["u"][1] - x[1]
            s["uc"] = f["u"][2] - x[2]
            s["ia"] = b[i]["i_switch"][0]
            s["ib"] = b[i]["i_switch"][1]
            s["ic"] = b[i]["i_switch"][2]
            s["pa"] = b[i]["i_filter"][0]
            s["pb"] = b[i]["i_filter"][1]
            s["pc"] = b[i]["i_filter"][2]
            s["poles_closed"] = 3 * b[i]["closed"]
            control_step(k[i], c[i], s, table, start + n)
            seen[n, i] = b[i]["closed"]


def run_feeder(
    base: SiteParameters,
    count: int,
    *,
    battery_pu: float = 0.8,
    p_mismatch: float = 0.0,
    q_mismatch: float = 0.0,
    same_code: bool = True,
    skew_ms: float = 0.0,
    seed: int = 1,
    watch_s: float = 2.6,
) -> FeederRun:
    """Open the breaker above ``count`` three-phase sites that feed one tuned load, and watch them cease.

    ``same_code``: the sites carry the same feeder's name; ``skew_ms``: half width of their clocks' errors.
    """
    random = np.random.default_rng(seed)
    sites = [
        with_island_load(
            dataclasses.replace(base, site_id=f"site-{i}", feeder="" if same_code else f"feeder {i}"),
            battery_kw=battery_pu * base.pcs_kva, p_mismatch=p_mismatch, q_mismatch=q_mismatch,
        )
        for i in range(count)
    ]  # fmt: skip
    loop = ClosedLoop(sites, seed=seed)
    _, g, _, _, _, k, c, m, _, table, _ = loop.step_arrays()
    k["probe_offset_ms"] = np.rint(1000.0 + random.uniform(-skew_ms, skew_ms, count))
    for i in range(count):
        loop.arm(i, curve_named("neso-dc-low"), 0.0, battery_pu * base.pcs_kva, 0, 10**9)
    f, b = np.zeros(1, FEEDER), np.zeros(count, BRANCH)
    f["closed"] = f["command"] = b["closed"] = 1
    f["u"], b["v"] = (1.0, -0.5, -0.5), (1.0, -0.5, -0.5)
    turn = 2.0 * math.pi * base.nominal_hz / RATE_HZ

    def advance(samples: int, start: int) -> npt.NDArray[np.int64]:
        noise = random.uniform(-base.noise_pu, base.noise_pu, (samples, count, 3))
        seen = np.zeros((samples, count), np.int64)
        advance_feeder(g, k, c, m, table, f[0], b, turn, noise, start, seen)
        return seen

    settle = round((SETTLE_S + float(random.uniform(0.0, 0.2))) * RATE_HZ)
    if not advance(settle, 0).all():
        raise ValueError("a site left the grid before the breaker opened, accepted: sites that stay")
    f["command"] = 0
    seen = advance(round(watch_s * RATE_HZ), settle)
    opened = seen == 0
    # The last pole of the breaker goes out within half a cycle of the order.
    if not opened.any(axis=0).all():
        return FeederRun(float("inf"), float(opened.any(axis=1).argmax()) / RATE_HZ if opened.any() else float("inf"))
    at = opened.argmax(axis=0) / RATE_HZ
    return FeederRun(float(at.max()), float(at.min()))
