"""Sites to operate on, and what a test sees of a switch at the instant at which it closes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.edge.control.recorder import unroll
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop

RATE_HZ: Final = 10_000
_FLEET: Final = synthetic_fleet(12, 4)
CABINET: Final = next(site for site in _FLEET if site.switch_kind == "forced")
TELECOM: Final = next(site for site in _FLEET if site.phases == 1)


def a_site(base: SiteParameters = CABINET, **changes: Any) -> SiteParameters:
    """A site that returns to the grid after one healthy second unless the test says otherwise."""
    return dataclasses.replace(base, **({"enter_service_delay_s": 1.0, "momentary_s": 0.0} | changes))


def run(loop: ClosedLoop, seconds: float, grid_hz: float = 50.0) -> None:
    """Advance all sites."""
    loop.advance(np.full(round(seconds * RATE_HZ), grid_hz))


def an_island(*sites: SiteParameters, seed: int = 1) -> ClosedLoop:
    """Sites whose feeder opened half a second ago."""
    loop = ClosedLoop(sites, seed=seed)
    run(loop, 0.5)
    for index in range(len(sites)):
        loop.open_feeder(index, loop.sample)
    run(loop, 0.5)
    assert [loop.mode(index) for index in range(len(sites))] == ["islanded"] * len(sites)
    return loop


@dataclass(frozen=True, slots=True)
class Closing:
    """Both sides of a switch over the cycle before its poles touched."""

    angle_deg: float
    slip_hz: float
    voltage_pu: float


def watch_closings(loop: ClosedLoop, seconds: float, grid_hz: float) -> dict[int, Closing]:
    """Advance and measure every site's first closing from the sampled waves on both sides of its switch.

    Not from what its controller believes: phasors of phase a over whole cycles of 50 Hz up to the sample at
    which the poles touch.
    """
    found: dict[int, Closing] = {}
    piece = np.full(50, grid_hz)
    open_before = loop._m["poles_closed"] == 0
    for _ in range(round(seconds * RATE_HZ / len(piece))):
        loop.advance(piece)
        closed = loop._m["poles_closed"] > 0
        for index in np.flatnonzero(open_before & closed):
            w = loop._w[index]
            rows = unroll(loop._rings[index], int(w["ring_at"]), int(w["samples"]))
            # The last column tells that no pole conducts.
            touch = len(rows) - int(np.argmax(rows[::-1, 14] > 0.5))
            found.setdefault(int(index), _closing(rows[:touch, [0, 3]].astype(float), RATE_HZ // 50))
        open_before = ~closed
    return found


def _closing(waves: npt.NDArray[np.float64], cycle: int) -> Closing:
    turn = np.exp(-2j * np.pi * np.arange(cycle) / cycle)
    last = 2.0 / cycle * (waves[-cycle:].T @ turn)
    first = 2.0 / cycle * (waves[-3 * cycle : -2 * cycle].T @ turn)
    angle = np.angle(last[0] / last[1])
    moved = np.angle(last[0] / last[1] / (first[0] / first[1]))
    return Closing(float(np.degrees(angle)), float(moved / (2 * np.pi * 0.04)), float(abs(last[0]) - abs(last[1])))
