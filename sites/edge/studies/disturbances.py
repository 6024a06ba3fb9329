"""What a study may let happen to the grid and the switch of each site of a closed loop, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.edge.plant import events
from sites.edge.plant.parameters import SiteParameters
from sites.edge.plant.records import EVENT

StructuredArray = npt.NDArray[np.void]

ALL_PHASES: Final = (0, 1, 2)
EN_50160_MIX: Final = {"h5": 0.0529, "h7": 0.0441, "h11": 0.0309, "h13": 0.0265}
"""The limits of EN 50160 for single harmonics (6, 5, 3.5, 3 %) in proportion, scaled to its 8 % THD [pu]."""
PLACES: Final = {"feeder": events.ON_FEEDER, "bus": events.ON_BUS}


def no_events(sites: int) -> StructuredArray:
    """Return empty schedules, one row a site."""
    schedules = np.zeros((sites, 4), EVENT)
    schedules["at"] = events.NEVER
    return schedules


class Disturbances:
    """Schedules of a closed loop's sites. An event at a sample that is past begins with the next sample.

    Phases are 0, 1, 2 for a, b, c; a single-phase site has phase 0 only and leaves the others aside.
    Voltages in per unit of the nominal phase voltage, as seen at the source behind the grid's impedance.
    """

    sites: tuple[SiteParameters, ...]
    _p: StructuredArray
    _phases: StructuredArray
    _events: StructuredArray

    def open_feeder(self, index: int, at_sample: int, phases: Sequence[int] = ALL_PHASES) -> None:
        """Open poles of the breaker upstream of a site; each goes out at its next current zero."""
        self._schedule(index, at_sample, events.OPEN_FEEDER, phases)

    def close_feeder(self, index: int, at_sample: int, phases: Sequence[int] = ALL_PHASES) -> None:
        """Close poles of the breaker upstream of a site."""
        self._schedule(index, at_sample, events.CLOSE_FEEDER, phases)

    def jump_phase(self, index: int, angle_rad: float, at_sample: int, phases: Sequence[int] = ALL_PHASES) -> None:
        """Let the phase of the grid behind a site jump, of all or of some phases; positive: ahead [rad]."""
        self._schedule(index, at_sample, events.JUMP, phases, angle_rad)

    def sag(self, index: int, at_sample: int, *, residual_pu: Sequence[float], until_sample: int) -> None:
        """Set the source's level of each phase for the samples [at, until); above 1 it is a swell."""
        levels = [_within("residual_pu", value, 0.0, 2.0) for value in residual_pu]
        if len(levels) != 3:
            raise ValueError(f"residual_pu has {len(levels)} values, accepted: 3, of phases a, b, c")
        _span(at_sample, until_sample)
        self._schedule(index, at_sample, events.LEVEL, ALL_PHASES, *levels)
        self._schedule(index, until_sample, events.LEVEL, ALL_PHASES, 1.0, 1.0, 1.0)

    def fault(
        self,
        index: int,
        at_sample: int,
        *,
        phases: Sequence[int],
        to_earth: bool,
        resistance_pu: float,
        cleared_at_sample: int | None = None,
        where: str = "feeder",
    ) -> None:
        """Join phases through a resistance each, with earth or only with each other, one fault a site at a time.

        ``where``: ``feeder`` between the grid's impedance and the static switch, where a sag has the weak source
        behind it and the feeder's breaker may clear it; ``bus`` on the site's own side, which only the site
        can clear. Once cleared, each phase goes out at the zero of its fault current.
        """
        if where not in PLACES:
            raise ValueError(f"where is {where!r}, accepted: {', '.join(PLACES)}")
        present = [k for k in phases if k < self.sites[index].phases]
        if not present or (not to_earth and len(present) < 2):
            raise ValueError(
                f"phases is {tuple(phases)!r} with to_earth {to_earth} on a site of {self.sites[index].phases} phases, "
                "accepted: one or more to earth, two or more without"
            )
        ohms_pu = _within("resistance_pu", resistance_pu, 1e-4, 1e4)
        self._schedule(index, at_sample, events.FAULT, phases, PLACES[where], float(to_earth), ohms_pu)
        if cleared_at_sample is not None:
            _span(at_sample, cleared_at_sample)
            self._schedule(index, cleared_at_sample, events.CLEAR_FAULT, phases)

    def harmonics(
        self, index: int, at_sample: int, *, h5: float = 0.0, h7: float = 0.0, h11: float = 0.0, h13: float = 0.0
    ) -> None:
        """Set the source's harmonics [pu]; ``**EN_50160_MIX`` gives 8 % THD."""
        figures = [_within(n, v, 0.0, 0.2) for n, v in (("h5", h5), ("h7", h7), ("h11", h11), ("h13", h13))]
        self._schedule(index, at_sample, events.HARMONICS, ALL_PHASES, *figures)

    def voltage_noise(self, index: int, at_sample: int, *, half_width_pu: float) -> None:
        """Set the half width of the uniform noise on each sampled voltage [pu]."""
        self._schedule(index, at_sample, events.NOISE, ALL_PHASES, _within("half_width_pu", half_width_pu, 0.0, 0.5))

    def switch_capacitor(
        self, index: int, at_sample: int, *, ring_hz: float, height_pu: float, decay_s: float = 0.004
    ) -> None:
        """Switch a capacitor bank in at the source: each phase falls towards zero and rings."""
        self._schedule(
            index, at_sample, events.CAPACITOR, ALL_PHASES, _within("ring_hz", ring_hz, 50.0, 2000.0),
            _within("height_pu", height_pu, 0.0, 1.0), _within("decay_s", decay_s, 1e-4, 1.0),
        )  # fmt: skip

    def start_motor(self, index: int, at_sample: int, *, residual_pu: float = 0.85, recovery_s: float = 0.5) -> None:
        """Let the source sag at once, as when a large motor starts, and recover with a time constant."""
        depth = 1.0 - _within("residual_pu", residual_pu, 0.5, 1.0)
        self._schedule(index, at_sample, events.DIP, ALL_PHASES, depth, _within("recovery_s", recovery_s, 1e-3, 60.0))

    def flicker(
        self, index: int, at_sample: int, *, depth_pu: float, modulation_hz: float = 8.8, until_sample: int
    ) -> None:
        """Modulate the source's level, ``depth_pu`` from peak to peak, for the samples [at, until)."""
        _span(at_sample, until_sample)
        depth = _within("depth_pu", depth_pu, 0.0, 0.5)
        rate = _within("modulation_hz", modulation_hz, 0.1, 40.0)
        self._schedule(index, at_sample, events.FLICKER, ALL_PHASES, depth, rate)
        self._schedule(index, until_sample, events.FLICKER, ALL_PHASES, 0.0, rate)

    def notches(
        self, index: int, at_sample: int, *, depth_pu: float, width_s: float = 300e-6, until_sample: int
    ) -> None:
        """Cut two commutation notches a cycle into each phase of the source for the samples [at, until)."""
        _span(at_sample, until_sample)
        depth = _within("depth_pu", depth_pu, 0.0, 1.0)
        width = _within("width_s", width_s, 1e-5, 2e-3)
        self._schedule(index, at_sample, events.NOTCHES, ALL_PHASES, depth, width)
        self._schedule(index, until_sample, events.NOTCHES, ALL_PHASES, 0.0, width)

    def impulse(
        self,
        index: int,
        at_sample: int,
        *,
        height_pu: float,
        width_s: float = 100e-6,
        phases: Sequence[int] = ALL_PHASES,
    ) -> None:
        """Add an impulse to the source."""
        height = _within("height_pu", height_pu, -3.0, 3.0)
        self._schedule(index, at_sample, events.IMPULSE, phases, height, _within("width_s", width_s, 1e-6, 5e-3))

    def stick_pole(self, index: int, at_sample: int, phases: Sequence[int]) -> None:
        """Let poles of the static switch fail to open from a sample on."""
        self._schedule(index, at_sample, events.STICK_POLE, phases)

    def open_pole(self, index: int, at_sample: int, phases: Sequence[int]) -> None:
        """Let poles of the static switch open by themselves; frees stuck ones."""
        self._schedule(index, at_sample, events.OPEN_POLE, phases)

    def phase_values(self, index: int) -> StructuredArray:
        """Return a copy of what a site's three phases truly carry now, for a study to judge; no controller sees it."""
        return np.asarray(self._phases[index].copy())

    def _schedule(self, index: int, at_sample: int, kind: int, phases: Sequence[int], *figures: float) -> None:
        if not 0 <= index < len(self.sites):
            raise ValueError(f"site index is {index}, accepted: 0 to {len(self.sites) - 1}")
        if not phases or any(k not in ALL_PHASES for k in phases):
            raise ValueError(f"phases is {tuple(phases)!r}, accepted: one or more of {ALL_PHASES}")
        event = np.zeros(1, EVENT)
        event["at"] = max(0, at_sample)
        event["kind"] = kind
        event["mask"] = sum(1 << k for k in set(phases))
        event["value"][0, : len(figures)] = figures
        schedule = self._events[index]
        pending = np.concatenate([schedule[schedule["at"] < events.NEVER], event])
        # Stable: what was asked for first at a sample begins first.
        pending = pending[np.argsort(pending["at"], kind="stable")]
        while len(pending) > self._events.shape[1]:
            self._events = np.concatenate([self._events, no_events(len(self.sites))], axis=1)
        self._events[index]["at"] = events.NEVER
        self._events[index, : len(pending)] = pending
        state: Any = self._p[index]
        state["event_place"] = 0
        state["event_at"] = pending["at"][0]


def _within(name: str, value: float, low: float, high: float) -> float:
    if not (math.isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} is {value!r}, accepted: {low:g} to {high:g}")
    return float(value)


def _span(at_sample: int, until_sample: int) -> None:
    if until_sample <= at_sample:
        raise ValueError(f"ends at sample {until_sample}, accepted: after its start at {at_sample}")
