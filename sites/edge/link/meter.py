"""Closes one site's metering intervals from its cumulative registers, in exact integers.

An interval's energy is the difference of two rounded registers, so intervals add up to the register
however many there are: rounding never drifts. Registers go on over a restart of the controller.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sites.core.readings import Quality
from sites.core.units import uwh_from_joule


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
    fuel_ul: int
    register_into_uwh: int
    register_from_uwh: int
    quality: Quality


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
    register: dict[str, int] = field(default_factory=dict)
    """The site's own registers [uWh], over all controllers that ever ran here."""

    def close(self, *, epoch_us: int, at_us: int, registers: np.void) -> list[ClosedInterval]:
        """Close the interval that ends at an instant; nothing when it was closed before.

        ``registers`` is one REGISTER_DTYPE row [J, ul]. The first interval after a controller's start is
        short; one that spans a lost boundary is long and marked questionable.
        """
        if at_us <= self.closed_at_us:
            # Also a boundary of an earlier controller, read again after a restart of the uplink.
            return []
        if epoch_us != self.epoch_us:
            self.epoch_us = epoch_us
            self.closed_at_us = max(epoch_us, self.closed_at_us)
            self.raw = {}
        values = {str(name): float(registers[name]) for name in registers.dtype.names or ()}
        if not np.isfinite(list(values.values())).all():
            # No integer stands for it; the next boundary closes over both periods.
            return []
        now = {name: round(v) if name == "fuel_ul" else uwh_from_joule(v) for name, v in values.items()}
        spent = {name: value - self.raw.get(name, 0) for name, value in now.items()}
        is_long = at_us - self.closed_at_us > self.interval_s * 1_000_000
        intervals = []
        for asset in self.assets:
            into, out = f"{asset}_into_j", f"{asset}_from_j"
            for name in (into, out):
                self.register[name] = self.register.get(name, 0) + spent[name]
            intervals.append(
                ClosedInterval(
                    asset=asset,
                    starts_at_ms=self.closed_at_us // 1000,
                    ends_at_ms=at_us // 1000,
                    into_bus_uwh=spent[into],
                    from_bus_uwh=spent[out],
                    service_into_uwh=spent["service_into_j"] if asset == "battery" else 0,
                    service_from_uwh=spent["service_from_j"] if asset == "battery" else 0,
                    fuel_ul=spent["fuel_ul"] if asset == "genset" else 0,
                    register_into_uwh=self.register[into],
                    register_from_uwh=self.register[out],
                    quality=Quality.QUESTIONABLE if is_long else Quality.GOOD,
                )
            )
        self.raw = now
        self.closed_at_us = at_us
        return intervals

    def to_bytes(self) -> bytes:
        """Return what must survive a restart."""
        state = {"epoch_us": self.epoch_us, "closed_at_us": self.closed_at_us, "raw": self.raw}
        return json.dumps(state | {"register": self.register}).encode()

    def restore(self, data: bytes) -> None:
        """Go on from what ``to_bytes`` gave."""
        state: dict[str, Any] = json.loads(data)
        self.epoch_us = state["epoch_us"]
        self.closed_at_us = state["closed_at_us"]
        self.raw = state["raw"]
        self.register = state["register"]
