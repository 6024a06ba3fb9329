"""What is told back to a grid operator: numbers of a resource with their quality, in OpenADR's sign.

Inside, power into a site's bus is positive. At the connection that is import, which OpenADR counts positive as
consumption; service that is delivered takes import away. What is not known is told as not known, never as 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sites.core.envelope import OperatingEnvelope
from sites.core.units import kwh_from_uwh

RUNNING_FROM_KW: Final = 0.05
"""A service smaller than this is none: meters and converters are never quite at 0 [kW]."""


class Quantity(StrEnum):
    """What can be reported of a resource."""

    POWER = "power"
    """At the connection, consumption positive [kW]."""
    ENERGY = "energy"
    """Over an interval at the connection, consumption positive [kWh]; from the meter book."""
    MEAN_POWER = "mean_power"
    """That energy over the interval's time [kW]."""
    BASELINE = "baseline"
    """Power that the connection would have without the service [kW], consumption positive."""
    SERVICE = "service"
    """What the service changes at the connection [kW], more consumption positive."""
    UP_AVAILABLE = "up_available"
    """Power that can be given into the grid for the product's whole duration [kW, >= 0], less the drop-out margin."""
    DOWN_AVAILABLE = "down_available"
    """Power that can be taken out of it likewise [kW, >= 0]."""
    STORED_ENERGY = "stored_energy"
    """What the batteries hold above the sites' reserves, at the terminals [kWh]."""
    CHARGE_LEVEL = "charge_level"
    """Energy held over the batteries' capacity [%]."""
    STORAGE_CAPACITY = "storage_capacity"
    """What the batteries hold when full [kWh], as enrolled."""
    DISCHARGE_POWER = "discharge_power"
    """Power that can be given at this instant [kW, >= 0]."""
    CHARGE_POWER = "charge_power"
    """Power that can be taken at this instant [kW, >= 0]."""
    STATUS = "status"
    """Online and overridden; an operating state."""


METERED: Final = frozenset({Quantity.ENERGY, Quantity.MEAN_POWER})
"""Quantities over an interval, from the meter book; all others are of an instant."""


class Trust(StrEnum):
    """How far a figure may be trusted."""

    GOOD = "good"
    PART = "part"
    """Some of the sites are missing: the figure is theirs who are there."""
    MISSING = "missing"
    """Nothing is known; there is no figure."""


class OperatingState(StrEnum):
    """OpenADR 3's words for how a resource runs."""

    NORMAL = "NORMAL"
    ERROR = "ERROR"
    RUNNING_CURTAILED = "RUNNING_CURTAILED"
    """Consumes less than without the service, or gives power."""
    RUNNING_HEIGHTENED = "RUNNING_HEIGHTENED"
    """Consumes more than without it."""
    RUNNING_OPTED_OUT = "RUNNING_OPTED_OUT"
    """Runs its own load and serves no one: an island, or blocked by its people."""


@dataclass(frozen=True, slots=True)
class SiteValues:
    """What is known of one site at an instant; None where it is not."""

    site_id: str
    is_fresh: bool = False
    """Heard of lately. The values of a site that is not are unknown, whatever stands in them."""
    mode: str = ""
    pcc_kw: float | None = None
    """At the connection, positive into the site's bus (import) [kW]."""
    service_kw: float | None = None
    """Delivered on top of the declared baseline, positive into the bus [kW]."""
    soc_ratio: float | None = None
    capacity_kwh: float = 0.0
    """Of the enrolled batteries [kWh]."""
    envelope: OperatingEnvelope | None = None
    """What it may do now; None for a site that cannot be counted on."""

    @property
    def is_tied(self) -> bool:
        """Tell whether the site is fresh and on the grid."""
        return self.is_fresh and self.mode == "grid_tied"


@dataclass(frozen=True, slots=True)
class SiteEnergy:
    """What the meter book holds of one site's connection over an interval."""

    site_id: str
    into_uwh: int
    """Import [uWh]."""
    out_uwh: int
    """Export [uWh]."""
    covered_s: float
    """Time of the interval that numbered, proven intervals cover [s]."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How availability is judged: as an event would be that asks for it."""

    sustain_s: float
    """Duration for which the product's full power is held [s]."""
    dropout_margin: float
    """Share of the power that is kept back for sites that drop out."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number told to the operator."""

    value: float | None
    """In the quantity's unit and OpenADR's sign; None: missing."""
    trust: Trust
    sites: int
    """Sites that are in it."""
    sites_total: int
    """Sites of the resource."""

    @property
    def coverage_percent(self) -> int:
        """Share of the resource's sites that are in the figure [%], rounded down: 99.9 is not all."""
        return int(100 * self.sites / self.sites_total) if self.sites_total else 0


@dataclass(frozen=True, slots=True)
class Status:
    """How a resource stands."""

    is_online: bool | None
    """None: not one of its sites is heard."""
    is_overridden: bool
    """People at one of its sites have taken it over."""
    state: OperatingState | None
    sites: int
    sites_total: int


def live_figure(quantity: Quantity, sites: Sequence[SiteValues], terms: Terms) -> Figure:
    """Return a quantity of an instant over a resource's sites; raises ValueError for one that is none of an instant.

    Power adds up what is known. Availability takes a silent site as nothing that can be counted on, and says so.
    """
    if quantity is Quantity.CHARGE_LEVEL:
        return _charge_level(sites)
    if quantity not in _LIVE:
        raise ValueError(f"{quantity} is no figure of an instant, accepted: {', '.join(sorted(_LIVE))}")
    value_of = _LIVE[quantity]
    known = [value for value in (value_of(site, terms) for site in sites) if value is not None]
    return _sum(known, len(sites))


def status_of(sites: Sequence[SiteValues]) -> Status:
    """Return how a resource stands: online when one of its sites is heard, worst state first."""
    fresh = [site for site in sites if site.is_fresh]
    if not fresh:
        return Status(None, False, None, 0, len(sites))
    service_kw = sum(site.service_kw or 0.0 for site in fresh)
    modes = {site.mode for site in fresh}
    if modes <= {"lockout"}:
        state = OperatingState.ERROR
    elif "grid_tied" not in modes:
        state = OperatingState.RUNNING_OPTED_OUT
    elif abs(service_kw) < RUNNING_FROM_KW:
        state = OperatingState.NORMAL
    else:
        state = OperatingState.RUNNING_CURTAILED if service_kw > 0.0 else OperatingState.RUNNING_HEIGHTENED
    return Status(bool(modes - {"lockout"}), "maintenance" in modes, state, len(fresh), len(sites))


def metered_figure(
    quantity: Quantity, energies: Sequence[SiteEnergy], *, sites_total: int, interval_s: float, whole_from: float = 0.99
) -> Figure:
    """Return energy [kWh] or mean power [kW] of an interval over a resource's sites, import positive.

    A site whose book covers less than ``whole_from`` of the interval is missing: part of an energy is a wrong one.
    """
    if quantity not in METERED:
        raise ValueError(f"{quantity} is not metered over an interval, accepted: {', '.join(sorted(METERED))}")
    whole = [energy for energy in energies if energy.covered_s >= whole_from * interval_s]
    # Integers first: the sum of a fleet is exact, and rounded once.
    total_kwh = kwh_from_uwh(sum(energy.into_uwh - energy.out_uwh for energy in whole))
    figure = _judged(total_kwh, len(whole), sites_total)
    if quantity is Quantity.ENERGY or figure.value is None:
        return figure
    return Figure(figure.value * 3600.0 / interval_s, figure.trust, figure.sites, figure.sites_total)


def _sum(known: Sequence[float], total: int) -> Figure:
    return _judged(math.fsum(known), len(known), total)


def _judged(value: float, known: int, total: int) -> Figure:
    if known == 0:
        return Figure(None, Trust.MISSING, 0, total)
    # -0.0 is a number that puzzles people.
    return Figure(value + 0.0, Trust.GOOD if known == total else Trust.PART, known, total)


def _charge_level(sites: Sequence[SiteValues]) -> Figure:
    known = [site for site in sites if site.is_fresh and site.soc_ratio is not None and site.capacity_kwh > 0.0]
    capacity_kwh = math.fsum(site.capacity_kwh for site in known)
    held_kwh = math.fsum((site.soc_ratio or 0.0) * site.capacity_kwh for site in known)
    return _judged(100.0 * held_kwh / capacity_kwh if known else 0.0, len(known), len(sites))


def _power(site: SiteValues, terms: Terms) -> float | None:
    return site.pcc_kw if site.is_fresh else None


def _baseline(site: SiteValues, terms: Terms) -> float | None:
    # Service into the bus took this much import away.
    if not site.is_fresh or site.pcc_kw is None or site.service_kw is None:
        return None
    return site.pcc_kw + site.service_kw


def _service(site: SiteValues, terms: Terms) -> float | None:
    return -site.service_kw if site.is_fresh and site.service_kw is not None else None


def _available(sign: int) -> Callable[[SiteValues, Terms], float | None]:
    def available(site: SiteValues, terms: Terms) -> float | None:
        if not site.is_fresh:
            return None
        if not site.is_tied:
            # Known, and nothing: an island gives nothing to the grid.
            return 0.0
        if site.envelope is None:
            return None
        return site.envelope.sustainable_kw(terms.sustain_s, sign) * (1.0 - terms.dropout_margin)

    return available


def _of_envelope(name: str, *, needs_grid: bool) -> Callable[[SiteValues, Terms], float | None]:
    def value(site: SiteValues, terms: Terms) -> float | None:
        if not site.is_fresh:
            return None
        if needs_grid and not site.is_tied:
            return 0.0
        return None if site.envelope is None else float(getattr(site.envelope, name))

    return value


def _capacity(site: SiteValues, terms: Terms) -> float | None:
    # Enrolled and not measured: known of a silent site too.
    return site.capacity_kwh


_LIVE: Final[dict[Quantity, Callable[[SiteValues, Terms], float | None]]] = {
    Quantity.POWER: _power,
    Quantity.BASELINE: _baseline,
    Quantity.SERVICE: _service,
    Quantity.UP_AVAILABLE: _available(1),
    Quantity.DOWN_AVAILABLE: _available(-1),
    Quantity.STORED_ENERGY: _of_envelope("usable_energy_kwh", needs_grid=False),
    Quantity.STORAGE_CAPACITY: _capacity,
    Quantity.DISCHARGE_POWER: _of_envelope("discharge_kw", needs_grid=True),
    Quantity.CHARGE_POWER: _of_envelope("charge_kw", needs_grid=True),
}
