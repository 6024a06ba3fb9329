"""Closes one site's metering intervals from its cumulative registers, in exact integers.

An interval's energy is the difference of two rounded registers, so intervals add up to the register
however many there are: rounding never drifts. Registers go on over a restart of the controller.

Instants go forward only: an interval never starts before the end of the one before it, whatever the clock did.
A controller keeps the pace of a clock that does not step; where a later one starts before the end of the last
interval, its clock was set back, and which of the two was right is not known at first:

- Up to MERGED_US the interval goes on until the clock has caught up.
- Beyond it the intervals go on behind the last one, at the new controller's pace (``ahead_us``): a clock that fell back
  (a dead battery of the machine's clock) makes no hole and tells the same time twice nowhere.
- When the clock that was set back is disciplined, it was the earlier one that ran ahead: the difference is worked off,
  each interval holding up to MERGED_US of metering, until both agree.

All of these are marked ``stepped``, and those that hold more than their own time questionable; no energy is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from sites.core.readings import Quality, TimeQuality
from sites.core.units import uwh_from_joule
from sites.edge.control.exchange import CURVE, SERVICES, ServiceBegin

MERGED_US: Final = 600_000_000
"""Most metering that one interval holds while a clock that was set back catches up."""
MAX_FORMER: Final = 64
MAX_SERVED: Final = 16
"""Dispatches told of one interval; what is served beyond them is told in the sum only."""
_FORMER_SERVED: Final = {"dispatch_id": "served", "began_at_us": "began_at_us", "attributed": "attributed"}
"""Fields of Served by their names in the state of earlier versions."""


@dataclass(frozen=True, slots=True)
class ClosedInterval:
    """Energy of one asset in one interval; see sites.metering's MeterInterval for the signs."""

    asset: str
    starts_at_ms: int
    ends_at_ms: int
    into_bus_uwh: int
    from_bus_uwh: int
    service_into_uwh: int
    service_from_uwh: int
    services: tuple[tuple[str, int, int], ...]
    """(dispatch id, into, from) [uWh] of those that were served, in the order in which they began."""
    fuel_ul: int
    register_into_uwh: int
    register_from_uwh: int
    quality: Quality
    time_quality: TimeQuality = TimeQuality.UNKNOWN


@dataclass(slots=True)
class Served:
    """For whom one of the site's services is."""

    dispatch_id: str = ""
    """Since ``began_at_us``; "" when nothing was served yet."""
    began_at_us: int = 0
    attributed: list[int] = field(default_factory=lambda: [0, 0])
    """The service's registers (into, from) [uWh] up to which it is known whose they were."""


@dataclass(slots=True)
class Meter:
    """What one site's intervals were closed with; kept across restarts by ``to_bytes``."""

    assets: Sequence[str]
    interval_s: int
    epoch_us: int = 0
    """When the controller whose registers are read started."""
    closed_at_us: int = 0
    """End of the last interval."""
    raw: dict[str, int] = field(default_factory=dict)
    """The controller's registers at that instant, whole uWh (fuel: ul), by register name."""
    seen: dict[str, int] = field(default_factory=dict)
    """The same at the last boundary that closed nothing because the clock was set back."""
    carried: dict[str, int] = field(default_factory=dict)
    """What controllers counted that ended before their clock had caught up; it belongs to the next interval."""
    register: dict[str, int] = field(default_factory=dict)
    """The site's own registers [uWh], over all controllers that ever ran here."""
    former: list[int] = field(default_factory=list)
    """Starts of earlier controllers; a clock that is set back gives a later one an earlier start."""
    ahead_us: int = 0
    """How far the intervals' instants are ahead of the controller's clock, in whole intervals."""
    is_disturbed: bool = False
    """The controller's clock starts before the end of the last interval: it was set back."""
    served: dict[str, Served] = field(default_factory=lambda: {service: Served() for service in SERVICES})
    """Curve and stream side by side, each with registers of its own."""
    share: dict[str, list[int]] = field(default_factory=dict)
    """Dispatch -> (into, from) [uWh] since the last interval's end, up to what is attributed."""

    def begin_service(self, begin: ServiceBegin) -> None:
        """Count service for another dispatch from an instant on; nothing when it was taken before."""
        served = self.served[begin.service]
        if begin.epoch_us in self.former or (begin.epoch_us == self.epoch_us and begin.at_us <= served.began_at_us):
            return
        self._enter(begin.epoch_us)
        self._attribute(served, [uwh_from_joule(begin.into_j), uwh_from_joule(begin.from_j)])
        served.dispatch_id, served.began_at_us = begin.dispatch_id, begin.at_us

    def _enter(self, epoch_us: int) -> None:
        """Go over to another controller's registers, which begin at zero."""
        if epoch_us == self.epoch_us:
            return
        if self.epoch_us:
            self.former = [*self.former, self.epoch_us][-MAX_FORMER:]
        self.epoch_us = epoch_us
        for name, value in self.seen.items():
            self.carried[name] = self.carried.get(name, 0) + value - self.raw.get(name, 0)
        self.seen = {}
        back_us = self.closed_at_us - epoch_us
        self.is_disturbed = back_us > 0
        # In whole intervals: the ends stay on the grid, where those of other meters are.
        self.ahead_us = -(-back_us // self._grid_us) * self._grid_us if back_us > MERGED_US else 0
        if not self.carried:
            self.closed_at_us = max(epoch_us, self.closed_at_us)
        self.raw = {}
        for served in self.served.values():
            served.attributed = [0, 0]

    def _attribute(self, served: Served, now: list[int]) -> None:
        spent = [value - before for value, before in zip(now, served.attributed, strict=True)]
        served.attributed = now
        name = served.dispatch_id
        if name and any(spent) and (name in self.share or len(self.share) < MAX_SERVED):
            share = self.share.setdefault(name, [0, 0])
            share[0] += spent[0]
            share[1] += spent[1]

    def _attribute_all(self, now: Mapping[str, int]) -> None:
        for service, served in self.served.items():
            self._attribute(served, [now[f"{service}_into_j"], now[f"{service}_from_j"]])

    def close(
        self,
        *,
        epoch_us: int,
        at_us: int,
        registers: np.void,
        time_quality: TimeQuality = TimeQuality.UNKNOWN,
    ) -> list[ClosedInterval]:
        """Close the interval that ends at an instant; nothing when it was closed before.

        ``registers`` is one REGISTER_DTYPE row [J, ul], ``time_quality`` what the controller's instants are worth now.
        The first interval after a controller's start is short; one that spans a lost boundary is long and marked
        questionable.
        """
        if epoch_us in self.former:
            # A boundary of an earlier controller, read again after a restart of the uplink.
            return []
        self._enter(epoch_us)
        last_us = self.closed_at_us - self.ahead_us
        ends_us = self._end(at_us, last_us, is_right=time_quality is TimeQuality.SYNCHRONIZED)
        values = {str(name): float(registers[name]) for name in registers.dtype.names or ()}
        if not np.isfinite(list(values.values())).all():
            # No integer stands for it; the next boundary closes over both periods.
            return []
        now = {name: round(v) if name == "fuel_ul" else uwh_from_joule(v) for name, v in values.items()}
        if ends_us <= self.closed_at_us:
            if self.is_disturbed or at_us > last_us:
                # The clock was set back, and the interval goes on until it has caught up.
                self.seen = now
                self._attribute_all(now)
            return []
        spent = {name: value - self.raw.get(name, 0) + self.carried.get(name, 0) for name, value in now.items()}
        is_long = self.is_disturbed or bool(self.carried) or at_us - last_us > self._grid_us
        self.seen, self.carried = {}, {}
        self._attribute_all(now)
        # Each service counts by its own sign: what one gives while the other takes shows in both.
        service_into_uwh, service_from_uwh = (sum(spent[f"{s}_{way}_j"] for s in SERVICES) for way in ("into", "from"))
        services = tuple((dispatch_id, into, out) for dispatch_id, (into, out) in self.share.items())
        self.share = {}
        if self.is_disturbed or self.ahead_us:
            time_quality = TimeQuality.STEPPED
        self.is_disturbed = False
        intervals = []
        for asset in self.assets:
            into, out = f"{asset}_into_j", f"{asset}_from_j"
            for name in (into, out):
                self.register[name] = self.register.get(name, 0) + spent[name]
            intervals.append(
                ClosedInterval(
                    asset=asset,
                    starts_at_ms=self.closed_at_us // 1000,
                    ends_at_ms=ends_us // 1000,
                    into_bus_uwh=spent[into],
                    from_bus_uwh=spent[out],
                    service_into_uwh=service_into_uwh if asset == "battery" else 0,
                    service_from_uwh=service_from_uwh if asset == "battery" else 0,
                    services=services if asset == "battery" else (),
                    fuel_ul=spent["fuel_ul"] if asset == "genset" else 0,
                    register_into_uwh=self.register[into],
                    register_from_uwh=self.register[out],
                    quality=Quality.QUESTIONABLE if is_long else Quality.GOOD,
                    time_quality=time_quality,
                )
            )
        self.raw = now
        self.closed_at_us, self.ahead_us = ends_us, ends_us - at_us
        return intervals

    def _end(self, at_us: int, last_us: int, *, is_right: bool) -> int:
        """Return where the interval ends that a boundary closes; nowhere behind the last one: it goes on.

        ``last_us`` is when the last one was closed, by the same clock; ``is_right``: that clock is disciplined.
        """
        if not self.ahead_us or at_us <= last_us or not is_right:
            return at_us + self.ahead_us
        ends_us = (self.closed_at_us // self._grid_us + 1) * self._grid_us
        if at_us >= ends_us:
            return at_us
        return ends_us if at_us - last_us >= max(MERGED_US, 2 * self._grid_us) else self.closed_at_us

    @property
    def _grid_us(self) -> int:
        return self.interval_s * 1_000_000

    def to_bytes(self) -> bytes:
        """Return what must survive a restart."""
        state: dict[str, Any] = {"epoch_us": self.epoch_us, "closed_at_us": self.closed_at_us, "raw": self.raw}
        state |= {"register": self.register, "former": self.former}
        state |= {"is_disturbed": self.is_disturbed, "ahead_us": self.ahead_us}
        state |= {"seen": self.seen, "carried": self.carried}
        state |= {"share": self.share, "services": {service: asdict(served) for service, served in self.served.items()}}
        return json.dumps(state).encode()

    def restore(self, data: bytes) -> None:
        """Go on from what ``to_bytes`` gave."""
        state: dict[str, Any] = json.loads(data)
        self.epoch_us = state["epoch_us"]
        self.closed_at_us = state["closed_at_us"]
        self.raw = state["raw"]
        self.register = state["register"]
        self.former = state.get("former", [])
        self.is_disturbed = state.get("is_disturbed", False)
        self.ahead_us = state.get("ahead_us", 0)
        self.seen, self.carried = state.get("seen", {}), state.get("carried", {})
        self.share = state.get("share", {})
        # Earlier versions knew the curve's service alone.
        former = {CURVE: {name: state[own] for name, own in _FORMER_SERVED.items() if own in state}}
        for service, kept in state.get("services", former).items():
            self.served[service] = Served(**kept)
