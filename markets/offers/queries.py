"""Reads of what may be sold: the fleet's room in a window, what is promised in it already, units, offers, awards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from django.conf import settings
from django.db.models import Q, QuerySet

from markets.core.eligibility import counted_kinds, eligibility
from markets.core.headroom import BoolArray, Commitment, Demand, Room, Stood, behind_connection, sellable, stand
from markets.core.limits import Flow, capped
from markets.core.offering import require_window
from markets.core.product import Product
from markets.limiting import bounds_in, flows_of
from markets.models import Obligation
from markets.offers.forecast import Forecast, Told, told_by_roll_ups, told_live
from markets.offers.models import AggregationUnit, BaselineSubmission, Offer, Redeclaration
from markets.offers.units import site_ids_of
from sites.core.allocation import FloatArray
from sites.core.envelope import OperatingEnvelope
from sites.core.intervals import Interval
from sites.registry.models import Asset, Site
from sites.registry.queries import feeders_of
from sites.registry.windows import closed_sites

LIVE_AHEAD: Final = timedelta(minutes=30)
"""A window that begins later is forecast by the same hours of the last days."""


@dataclass(frozen=True, slots=True)
class ZoneRoom:
    """What the sites of a zone have left for service in a window, before anything is promised."""

    site_ids: tuple[str, ...]
    room: Room
    forecast: Forecast
    causes: dict[str, str]
    """Site -> why nothing of it counts."""
    kinds: dict[str, frozenset[str]]
    """Site -> the kinds of assets that stand on its bus."""
    genset_runs: BoolArray

    def members(self, site_ids: set[str], product: Product) -> BoolArray:
        """Return which sites of a unit may serve a product: those with an eligible asset and no other one running."""
        counted = counted_kinds(product.name)
        let_in = np.array(
            [name in site_ids and bool(counted & self.kinds.get(name, frozenset())) for name in self.site_ids], np.bool_
        )
        if not eligibility("genset", product.name).is_let_in:
            let_in &= ~self.genset_runs
        return let_in


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a unit may offer for a window."""

    gross_kw: float
    """sum(min(headroom, usable energy / duration)), without the margin [kW]."""
    net_kw: float
    """The same less the margin: the most that may be sold [kW]."""
    margin: float
    forecast: Forecast
    shares: dict[str, float]
    """Site -> its part of gross_kw [kW]."""
    causes: dict[str, str]
    """Site of the unit -> why nothing of it counts."""


def room_in(*, zone: str, window: Interval, at: datetime, forecast: Forecast | None = None) -> ZoneRoom:
    """Return the room of a zone's sites in a window, under connection, owner's windows and feeders.

    Without ``forecast`` what sites told last counts for a window that is near, the same hours of the last days else.
    """
    sites = Site.objects.filter(grid_zone=zone, loss_of_link=Site.LossOfLink.HOLD).order_by("site_id")
    site_ids = tuple(sites.values_list("site_id", flat=True))
    chosen = forecast or (Forecast.LIVE if window.starts_at <= at + LIVE_AHEAD else Forecast.ROLL_UPS)
    told = told_live(site_ids, window, at) if chosen is Forecast.LIVE else told_by_roll_ups(site_ids, window)
    return _room(site_ids, told, window, chosen, at)


def _room(site_ids: tuple[str, ...], told: Told, window: Interval, forecast: Forecast, at: datetime) -> ZoneRoom:
    import_limit_kw, export_limit_kw = _connections(site_ids)
    limits: dict[str, FloatArray] = {"import_limit_kw": import_limit_kw, "export_limit_kw": export_limit_kw}
    up_kw, _ = behind_connection(told.discharge_kw, told.charge_kw, net_import_kw=told.least_import_kw, **limits)
    _, down_kw = behind_connection(told.discharge_kw, told.charge_kw, net_import_kw=told.most_import_kw, **limits)
    closed, causes = closed_sites(period=window), dict(told.causes)
    for number, name in enumerate(site_ids):
        if name in closed:
            causes[name] = closed[name]
            up_kw[number] = down_kw[number] = 0.0
    up_kw, down_kw = _under_capacity_limits(
        site_ids, up_kw, down_kw, told, (import_limit_kw, export_limit_kw), window, at
    )
    room = Room(up_kw, down_kw, told.usable_kwh, told.absorbable_kwh, feeders_of(site_ids=site_ids))
    return ZoneRoom(site_ids, room, forecast, causes, _kinds(site_ids), told.genset_runs)


def _under_capacity_limits(
    site_ids: tuple[str, ...],
    up_kw: FloatArray,
    down_kw: FloatArray,
    told: Told,
    agreed_kw: tuple[FloatArray, FloatArray],
    window: Interval,
    at: datetime,
) -> tuple[FloatArray, FloatArray]:
    """Return the headroom each way that operators' capacity limits leave at any time of the window [kW]."""
    bounds = bounds_in(window=window)
    if not bounds:
        return up_kw, down_kw
    members = set().union(*(bound.members for bound in bounds))
    elsewhere = flows_of(
        site_ids=sorted(members - set(site_ids)), oldest=at - timedelta(seconds=settings.FRESH_WITHIN_S)
    )
    envelopes = [
        OperatingEnvelope(name, window.starts_at, up, down, 0.0)
        for name, up, down in zip(site_ids, up_kw.tolist(), down_kw.tolist(), strict=True)
    ]
    for is_import, net_kw in ((False, told.least_import_kw), (True, told.most_import_kw)):
        here = {
            name: Flow(net if math.isfinite(net) else None, import_kw, export_kw)
            for name, net, import_kw, export_kw in zip(
                site_ids, net_kw.tolist(), *(limits.tolist() for limits in agreed_kw), strict=True
            )
        }
        binding = [bound for bound in bounds if bound.is_import is is_import]
        envelopes = capped(envelopes, binding, elsewhere | here)
    return np.array([row.discharge_kw for row in envelopes]), np.array([row.charge_kw for row in envelopes])


def _connections(site_ids: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    rows = Asset.objects.filter(kind=Asset.Kind.PCC, site__site_id__in=site_ids) if len(site_ids) <= 500 else (
        Asset.objects.filter(kind=Asset.Kind.PCC)
    )  # fmt: skip
    found = {name: limits for name, *limits in rows.values_list("site__site_id", "rated_kw", "export_limit_kw")}
    both = np.array([found.get(name, [0.0, 0.0]) for name in site_ids], dtype=np.float64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


def _kinds(site_ids: Sequence[str]) -> dict[str, frozenset[str]]:
    wanted, found = set(site_ids), dict[str, set[str]]()
    for name, kind in Asset.objects.order_by().values_list("site__site_id", "kind"):
        if name in wanted:
            found.setdefault(name, set()).add(kind)
    return {name: frozenset(kinds) for name, kinds in found.items()}


@dataclass(frozen=True, slots=True)
class Promise:
    """Something promised in a window, and whose it is."""

    power_kw: float
    product: Product
    site_ids: set[str]
    offer: Offer | None
    """None: an operator's event."""

    def commitment(self, zone: ZoneRoom, *, window: Interval, at: datetime) -> Commitment:
        """Return it for the arithmetic; in a window that runs, the energy for what is left of it."""
        left_s = (window.ends_at - max(at, window.starts_at)).total_seconds()
        sustain_s = min(self.product.sustain_s, left_s) if window.starts_at < at else self.product.sustain_s
        demand = Demand(self.product, max(sustain_s, 1.0), zone.members(self.site_ids, self.product))
        return Commitment(self.power_kw, demand)


def promises_in(*, zone: str, window: Interval, with_open_offers: bool, but_for: Offer | None = None) -> list[Promise]:
    """Return what is promised in a window, first promised first; open offers last.

    What overlaps the window at any time counts in full. An operator's event is owed by all the sites enrolled for its
    product, whatever their zone: its zone is not told.
    """
    owed = Obligation.objects.filter(
        status=Obligation.Status.OPEN, starts_at__lt=window.ends_at, ends_at__gt=window.starts_at
    ).select_related("program", "offer__unit__program")
    found = []
    for row in owed.filter(Q(offer=None) | Q(offer__unit__grid_zone=zone)).order_by("created_at", "pk"):
        offer = getattr(row, "offer", None)
        if but_for is not None and offer is not None and offer.pk == but_for.pk:
            continue
        found.append(Promise(row.power_kw, row.program.catalogue_row, _sites_of(row, offer), offer))
    if with_open_offers:
        offers = Offer.objects.filter(
            status=Offer.Status.OPEN, unit__grid_zone=zone,
            starts_at__lt=window.ends_at, ends_at__gt=window.starts_at,
        ).select_related("unit__program").order_by("submitted_at", "pk")  # fmt: skip
        if but_for is not None:
            offers = offers.exclude(pk=but_for.pk)
        found += [Promise(row.quantity_kw, row.unit.product, site_ids_of(row.unit), row) for row in offers]
    return found


def _sites_of(row: Obligation, offer: Offer | None) -> set[str]:
    if offer is not None:
        return site_ids_of(offer.unit)
    enrolled = Site.objects.filter(enrollments__program=row.program.product)
    return set(enrolled.order_by().values_list("site_id", flat=True))


def sold_sites(*, obligation: Obligation) -> set[str] | None:
    """Return the sites of the unit that an award's obligation was sold from; None for an operator's event."""
    unit = AggregationUnit.objects.filter(offers__obligation=obligation).first()
    return None if unit is None else site_ids_of(unit)


def headroom(
    *, unit: AggregationUnit, window: Interval, at: datetime, forecast: Forecast | None = None,
    but_for: Offer | None = None,
) -> Headroom:  # fmt: skip
    """Return what a unit may still offer for a window beside awards, events and open offers.

    Raises OfferRefused for a window that nothing may be offered for.
    """
    require_window(window, at)
    zone = room_in(zone=unit.grid_zone, window=window, at=at, forecast=forecast)
    promises = promises_in(zone=unit.grid_zone, window=window, with_open_offers=True, but_for=but_for)
    margin = float(settings.DROPOUT_MARGIN)
    beside = stand(zone.room, [row.commitment(zone, window=window, at=at) for row in promises], margin=margin)
    return headroom_beside(unit, zone, beside)


def headroom_beside(unit: AggregationUnit, zone: ZoneRoom, beside: Sequence[Stood]) -> Headroom:
    """Return what a unit may offer in a room beside what stands in it."""
    own, product = site_ids_of(unit), unit.product
    demand = Demand(product, product.sustain_s, zone.members(own, product))
    found = sellable(zone.room, demand, margin=float(settings.DROPOUT_MARGIN), beside=beside)
    shares = {name: kw for name, kw in zip(zone.site_ids, found.power_kw.tolist(), strict=True) if kw > 0.0}
    causes = {name: zone.causes.get(name) or _cause(zone, name, product) for name in sorted(own - shares.keys())}
    return Headroom(found.gross_kw, found.net_kw, found.margin, zone.forecast, shares, causes)


def _cause(zone: ZoneRoom, name: str, product: Product) -> str:
    if name not in zone.site_ids:
        return "not in the unit's zone, or releases at a lost link"
    if not counted_kinds(product.name) & zone.kinds.get(name, frozenset()):
        return "no eligible asset"
    if zone.genset_runs[zone.site_ids.index(name)]:
        return "its generator runs, which is not eligible"
    return "serves something else, or has no headroom or energy left under its limits"


def owed_offers(*, at: datetime) -> QuerySet[Offer]:
    """Return the awarded offers whose window is not over and of which something is owed, first promised first."""
    rows = Offer.objects.filter(obligation__status=Obligation.Status.OPEN, obligation__ends_at__gt=at)
    return rows.select_related("unit__program", "obligation__program").order_by("obligation__created_at", "pk")


def locked_baseline(*, unit: AggregationUnit, window: Interval, at: datetime) -> BaselineSubmission | None:
    """Return the baseline that the gate locked for a window; None before the gate, or when none was submitted."""
    row = held_baseline(unit=unit, window=window)
    return row if row is not None and row.gate_closes_at <= at else None


def held_baseline(*, unit: AggregationUnit, window: Interval) -> BaselineSubmission | None:
    """Return the last version of a window's baseline."""
    rows = BaselineSubmission.objects.filter(unit=unit, starts_at=window.starts_at, ends_at=window.ends_at)
    return rows.order_by("version").last()


def redeclarations_since(*, after_pk: int = 0) -> QuerySet[Redeclaration]:
    """Return what was declared anew after a row, in order: what an operator's desk or door has still to pass on."""
    rows = Redeclaration.objects.select_related("offer__unit__program", "offer__obligation")
    return rows.filter(pk__gt=after_pk).order_by("pk")


def connection_limit_kw(unit: AggregationUnit) -> float:
    """Return the most that a unit's connections carry, the larger way [kW]."""
    import_kw, export_kw = _connections(sorted(site_ids_of(unit)))
    return float(max(import_kw.sum(), export_kw.sum()))
