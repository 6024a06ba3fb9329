"""Writes from offer to award: units, evidence, offers, baselines, awards, and what has to be declared anew."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from markets import queries as market_queries
from markets.core.course import constant
from markets.core.events import EventStatus, OptType
from markets.core.headroom import stand
from markets.core.obligations import Reason
from markets.core.offering import (
    OfferRefused,
    award_terms,
    baseline_body,
    gate_closes_at,
    hash_of,
    require_offer,
    require_window,
    terms_of,
)
from markets.core.products import Basis
from markets.models import MarketEvent, Obligation, Program
from markets.offers import queries, units
from markets.offers.forecast import Forecast
from markets.offers.models import AggregationUnit, Award, BaselineSubmission, Offer, Qualification, Redeclaration
from markets.owing import change_obligation, release_obligation
from sites.core.intervals import Interval
from sites.ledger.chain import canonical_json
from sites.registry.models import Membership, Site
from sites.registry.windows import SiteWindow, add_window, withdraw_window

log = logging.getLogger(__name__)

REDECLARED: Final = "obligation.redeclared"
WORTH_DECLARING: Final = 0.01
"""A lack of less than this part of what is owed is within the margin's rounding and is not declared."""
WORTH_RAISING: Final = 0.05
"""What can be kept again is declared from this part of the awards on, and only before the window begins."""


@transaction.atomic
def create_unit(
    *, name: str, program: Program, grid_zone: str, site_ids: Collection[str], at: datetime
) -> AggregationUnit:
    """Make a unit of sites of one zone, enrolled for the program's product.

    Raises OfferRefused naming the sites that cannot belong to it, or a name that is taken.
    """
    if AggregationUnit.objects.filter(name=name).exists():
        raise OfferRefused(f"unit {name!r} is there already, accepted: another name")
    wanted = set(site_ids)
    if not wanted:
        raise OfferRefused("the unit has no site, accepted: at least one")
    able = Site.objects.filter(grid_zone=grid_zone, enrollments__program=program.product, site_id__in=wanted)
    sites = {site.site_id: site for site in able}
    if strangers := sorted(wanted - sites.keys()):
        raise OfferRefused(
            f"{', '.join(strangers[:5])}{' …' if len(strangers) > 5 else ''}: not in zone {grid_zone} or not enrolled "
            f"for {program.product}, accepted: sites that are both"
        )
    unit = AggregationUnit.objects.create(name=name, program=program, grid_zone=grid_zone, created_at=at)
    unit.sites.set(sites.values())
    return unit


def qualify_by_dispatch(*, unit: AggregationUnit, dispatch_id: str, by: Any, at: datetime) -> Qualification:
    """Keep a settled dispatch of the unit as evidence: its score as it was settled, valid as the market says.

    Raises OfferRefused for one that is not settled, of another product, or that other sites took part in.
    """
    statement = market_queries.statement_of(dispatch_id=dispatch_id)
    if statement is None:
        raise OfferRefused(f"dispatch {dispatch_id!r} is not settled, accepted: a settled one")
    obligation = statement.obligation
    if obligation.program.product != unit.program.product:
        raise OfferRefused(
            f"dispatch {dispatch_id} served {obligation.program.product}, accepted: {unit.program.product}"
        )
    facts = market_queries.fleet_entry_facts(dispatch_id=dispatch_id) or {}
    strangers = sorted({share["site_id"] for share in facts.get("shares", [])} - units.site_ids_of(unit))
    if strangers or not facts.get("shares"):
        raise OfferRefused(
            f"dispatch {dispatch_id} was served by {strangers[:5]} too, accepted: by the unit's sites alone"
        )
    return _qualify(
        unit, Qualification.Kind.DISPATCH, dispatch_id, Decimal(statement.k_factor), obligation.power_kw,
        obligation.ends_at, by, at,
    )  # fmt: skip


def qualify_by_record(
    *,
    unit: AggregationUnit,
    record: bytes,
    score: Decimal,
    contract_kw: float,
    tested_at: datetime,
    by: Any,
    at: datetime,
) -> Qualification:
    """Keep a recorded test as evidence: the hash of its bytes, and the score that the product's rule gave it."""
    if tested_at > at:
        raise OfferRefused(f"the test is of {tested_at.isoformat()}, accepted: up to {at.isoformat()}")
    reference = hashlib.sha256(record).hexdigest()
    return _qualify(unit, Qualification.Kind.RECORD, reference, score, contract_kw, tested_at, by, at)


def _qualify(
    unit: AggregationUnit, kind: str, reference: str, score: Decimal, contract_kw: float, tested_at: datetime,
    by: Any, at: datetime,
) -> Qualification:  # fmt: skip
    held = Qualification.objects.filter(unit=unit, kind=kind, reference=reference).first()
    return held or Qualification.objects.create(
        unit=unit, kind=kind, reference=reference, product=unit.program.product, contract_kw=contract_kw,
        score=score.quantize(Decimal("0.000001")), tested_at=tested_at,
        expires_at=tested_at + terms_of(unit.program.product).valid_for, added_at=at, added_by=by,
    )  # fmt: skip


@transaction.atomic
def submit_offer(
    *, unit: AggregationUnit, window: Interval, quantity_kw: float | None, price: Decimal, basis: Basis, by: Any,
    at: datetime, forecast: Forecast | None = None,
) -> Offer:  # fmt: skip
    """Offer a power of a unit for a window; without a quantity as many whole kilowatts as can be sold.

    What awards, events and open offers take in the window is not offered again. Raises OfferRefused or
    LiveSettlementRefused saying what is accepted.
    """
    require_window(window, at)
    market_queries.lock_promises()
    found = queries.headroom(unit=unit, window=window, at=at, forecast=forecast)
    offered_kw = float(math.floor(found.net_kw)) if quantity_kw is None else quantity_kw
    evidence = [row.evidence for row in unit.qualifications.filter(product=unit.program.product)]
    require_offer(
        unit.product, basis=basis, window=window, quantity_kw=offered_kw, net_kw=found.net_kw, evidence=evidence, at=at
    )
    return Offer.objects.create(
        unit=unit, basis=basis, forecast=found.forecast, starts_at=window.starts_at, ends_at=window.ends_at,
        quantity_kw=offered_kw, gross_kw=found.gross_kw, net_kw=found.net_kw, margin=found.margin, shares=found.shares,
        price=price, currency=unit.program.currency, submitted_at=at, submitted_by=by,
    )  # fmt: skip


@transaction.atomic
def close_offer(*, offer: Offer, status: str, at: datetime) -> Offer:
    """Take an open offer back, or note that it was not taken; raises OfferRefused for one that is answered."""
    row = Offer.objects.select_for_update().get(pk=offer.pk)
    if status not in (Offer.Status.WITHDRAWN, Offer.Status.REJECTED):
        raise OfferRefused(f"status is {status!r}, accepted: {Offer.Status.WITHDRAWN}, {Offer.Status.REJECTED}")
    if row.status not in (Offer.Status.OPEN, status):
        raise OfferRefused(f"the offer is {row.status}, accepted: one that is {Offer.Status.OPEN}")
    row.status = status
    row.save(update_fields=["status"])
    return row


@transaction.atomic
def submit_baseline(
    *, unit: AggregationUnit, window: Interval, points: Sequence[tuple[datetime, float]], by: Any, at: datetime
) -> BaselineSubmission:
    """Keep the next version of a unit's baseline for a window; the gate locks the last one.

    The same content again is the version that is held. Raises OfferRefused after the gate.
    """
    require_window(window, at)
    closes_at = gate_closes_at(unit.program.product, window)
    if at >= closes_at:
        raise OfferRefused(
            f"the gate closed at {closes_at.isoformat()}, accepted: before it "
            f"({terms_of(unit.program.product).gate.certainty.in_words})"
        )
    AggregationUnit.objects.select_for_update().get(pk=unit.pk)
    body = baseline_body(points, window, limit_kw=queries.connection_limit_kw(unit))
    held = queries.held_baseline(unit=unit, window=window)
    if held is not None and held.body == body:
        return held
    return BaselineSubmission.objects.create(
        unit=unit, starts_at=window.starts_at, ends_at=window.ends_at, version=held.version + 1 if held else 1,
        body=body, content_hash=hash_of(body), gate_closes_at=closes_at, submitted_at=at, submitted_by=by,
    )  # fmt: skip


@transaction.atomic
def record_award(*, offer: Offer, award_id: str, quantity_kw: float, price: Decimal, by: Any, at: datetime) -> Award:
    """Note what the operator took of an offer, whole or in part, and owe it from then on.

    A further award of an offer adds to what it owes. The same award again is the one that is held. Raises
    OfferRefused for more than was offered, and for more than can be kept beside what is owed by now: two awards at
    once never sell the same power.
    """
    market_queries.lock_promises()
    row = Offer.objects.select_for_update().get(pk=offer.pk)
    held = Award.objects.filter(award_id=award_id).first()
    if held is not None:
        if (held.offer_id, held.quantity_kw, held.price) == (row.pk, quantity_kw, price):
            return held
        raise OfferRefused(f"award {award_id} was {held.quantity_kw:g} kW of offer {held.offer_id}, accepted: the same")
    total_kw = quantity_kw + (row.awards.aggregate(sum=Sum("quantity_kw"))["sum"] or 0.0)
    _require_award(row, quantity_kw, total_kw, at)
    row.obligation = _owe(row, award_id, price, _owed_kw(row, quantity_kw, at), at)
    row.status = Offer.Status.AWARDED
    row.save(update_fields=["obligation", "status"])
    baseline = queries.held_baseline(unit=row.unit, window=row.window)
    return Award.objects.create(
        offer=row, award_id=award_id, quantity_kw=quantity_kw, price=price,
        terms=award_terms(row.unit.product, quantity_kw), baseline_hash=baseline.content_hash if baseline else "",
        awarded_at=at, recorded_by=by,
    )  # fmt: skip


def _require_award(row: Offer, quantity_kw: float, total_kw: float, at: datetime) -> None:
    if row.status not in (Offer.Status.OPEN, Offer.Status.AWARDED):
        raise OfferRefused(f"the offer is {row.status}, accepted: one that is open or awarded")
    if row.ends_at <= at:
        raise OfferRefused(f"the window ended at {row.ends_at.isoformat()}, accepted: an award before that")
    if row.obligation is not None and row.obligation.status != Obligation.Status.OPEN:
        raise OfferRefused(f"obligation {row.obligation} is {row.obligation.status}, accepted: one that is open")
    if not (math.isfinite(quantity_kw) and quantity_kw > 0.0):
        raise OfferRefused(f"{quantity_kw} kW awarded, accepted: more than 0")
    if total_kw > row.quantity_kw:
        raise OfferRefused(f"{total_kw:g} kW awarded in all, accepted: up to the {row.quantity_kw:g} kW offered")


def _owed_kw(row: Offer, quantity_kw: float, at: datetime) -> float:
    """Return what is owed with an award more; raises OfferRefused when that cannot be kept beside the rest."""
    owed_kw = quantity_kw + (row.obligation.power_kw if row.obligation else 0.0)
    kept_kw = kept(offer=row, power_kw=owed_kw, at=at)
    if kept_kw < owed_kw:
        raise OfferRefused(f"{owed_kw:g} kW would be owed, accepted: up to the {kept_kw:.3f} kW that can be kept now")
    return owed_kw


def kept(*, offer: Offer, power_kw: float, at: datetime) -> float:
    """Return how much of a power an offer's unit can keep beside everything that was owed before it [kW]."""
    window = Interval(max(offer.starts_at, min(at, offer.ends_at - timedelta(seconds=1))), offer.ends_at)
    zone = queries.room_in(zone=offer.unit.grid_zone, window=window, at=at, forecast=_forecast_for(offer, at))
    promises = queries.promises_in(zone=offer.unit.grid_zone, window=window, with_open_offers=False, but_for=offer)
    if offer.obligation is not None:
        promises = [row for row in promises if _is_before(row.offer, offer)]
    own = queries.Promise(power_kw, offer.unit.product, units.site_ids_of(offer.unit), offer)
    whole = Interval(offer.starts_at, offer.ends_at)
    commitments = [row.commitment(zone, window=whole, at=at) for row in [*promises, own]]
    return stand(zone.room, commitments, margin=float(settings.DROPOUT_MARGIN))[-1].kept_kw


def _is_before(other: Offer | None, offer: Offer) -> bool:
    """Return whether something else was owed before an offer; an operator's event counts as such."""
    if other is None or other.obligation is None or offer.obligation is None:
        return True
    return (other.obligation.created_at, other.obligation.pk) < (offer.obligation.created_at, offer.obligation.pk)


def _forecast_for(offer: Offer, at: datetime) -> Forecast:
    return Forecast.LIVE if offer.starts_at <= at + queries.LIVE_AHEAD else Forecast(offer.forecast)


def _owe(row: Offer, award_id: str, price: Decimal, owed_kw: float, at: datetime) -> Obligation:
    """Return the offer's obligation with an award in it; the award stands in the trail of events as it came."""
    program = row.unit.program
    raw = canonical_json({"award_id": award_id, "offer": row.pk, "owed_kw": repr(owed_kw), "price": str(price)})
    held = row.obligation
    event = MarketEvent.objects.create(
        vtn_id=f"award/{row.unit.name}", event_id=f"offer-{row.pk}", modification_number=row.awards.count(),
        program=program, market_context=program.market_context, raw=raw.encode(), content_hash=hash_of(raw),
        operator_status=EventStatus.FAR, received_at=at, decided_at=at, opt_type=OptType.OPT_IN,
        reason=Reason.ACCEPTED, reason_text=f"award {award_id}: {owed_kw:g} kW owed", requested_kw=owed_kw,
        available_kw=row.net_kw,
    )  # fmt: skip
    if held is not None:
        MarketEvent.objects.filter(pk=held.event_id).update(status=MarketEvent.Status.SUPERSEDED)
        change_obligation(held, held.window, constant(held.window, owed_kw), at, event=event)
        return held
    dispatch_id = f"{row.unit.product.dispatch_prefix}-{award_id}"
    if Obligation.objects.filter(dispatch_id=dispatch_id).exists():
        raise OfferRefused(f"dispatch id {dispatch_id} is taken, accepted: an award id that no event has")
    return Obligation.objects.create(
        dispatch_id=dispatch_id, program=program, event=event, power_kw=owed_kw, starts_at=row.starts_at,
        ends_at=row.ends_at, created_at=at, changed_at=at,
    )  # fmt: skip


def redeclare(*, at: datetime) -> list[Redeclaration]:
    """Compare every sold window with what its unit can keep now, and declare anew what differs.

    Less as soon as more than WORTH_DECLARING of it is missing; more only before the window begins, and never more
    than was awarded. Each in a transaction of its own.
    """
    rows = []
    for pk in list(queries.owed_offers(at=at).values_list("pk", flat=True)):
        with transaction.atomic():
            market_queries.lock_promises()
            offer = queries.owed_offers(at=at).filter(pk=pk).first()
            if offer is not None and (row := _redeclared(offer, at)) is not None:
                rows.append(row)
    return rows


def _redeclared(offer: Offer, at: datetime) -> Redeclaration | None:
    obligation = offer.obligation
    if obligation is None:
        return None
    awarded_kw = float(offer.awards.aggregate(sum=Sum("quantity_kw"))["sum"])
    # Whole watts downwards: what is declared can be kept.
    kept_kw = math.floor(kept(offer=offer, power_kw=awarded_kw, at=at) * 1e3) / 1e3
    owed_kw = obligation.power_kw
    is_less = kept_kw < owed_kw * (1.0 - WORTH_DECLARING)
    is_more = kept_kw > owed_kw + WORTH_RAISING * awarded_kw and at < offer.starts_at
    if not (is_less or is_more):
        return None
    causes = _causes(offer, at) if is_less else {}
    reason = (
        f"{kept_kw:g} kW can be kept of {owed_kw:g} kW owed: {_summary(causes)}"
        if is_less
        else f"{kept_kw:g} kW can be kept again of {awarded_kw:g} kW awarded"
    )
    if kept_kw > 0.0:
        # In its window from now on alone: what was held up to now is still to be paid.
        change_obligation(obligation, obligation.window, constant(obligation.window, kept_kw), at)
    else:
        release_obligation(obligation, at)
    told = _concerned(offer, causes)
    log.warning(
        "%s dispatch_id=%s unit=%s from_kw=%g to_kw=%g told=%s",
        REDECLARED, obligation.dispatch_id, offer.unit.name, owed_kw, kept_kw, ",".join(told),
    )  # fmt: skip
    return Redeclaration.objects.create(
        offer=offer, number=offer.redeclarations.count() + 1, previous_kw=owed_kw, quantity_kw=kept_kw,
        reason=reason[:400], causes=causes, told=told, declared_at=at,
    )  # fmt: skip


def _causes(offer: Offer, at: datetime) -> dict[str, str]:
    """Return the sites that can give less than when it was offered, and why."""
    window = Interval(max(offer.starts_at, min(at, offer.ends_at - timedelta(seconds=1))), offer.ends_at)
    zone = queries.room_in(zone=offer.unit.grid_zone, window=window, at=at, forecast=_forecast_for(offer, at))
    now = queries.headroom_beside(offer.unit, zone, ())
    reserved = set(
        SiteWindow.objects.filter(
            kind=SiteWindow.Kind.RESERVE, withdrawn_at=None, starts_at__lt=window.ends_at, ends_at__gt=window.starts_at
        ).values_list("site__site_id", flat=True)
    )
    causes = {}
    for name, offered_kw in sorted(offer.shares.items()):
        if now.shares.get(name, 0.0) >= offered_kw * (1.0 - WORTH_DECLARING):
            continue
        closed = zone.causes.get(name) or (now.causes.get(name) if name not in now.shares else None)
        kept_back = SiteWindow.Kind.RESERVE.value if name in reserved else "less headroom or energy than when offered"
        causes[name] = zone.causes.get(name) or (kept_back if name in reserved or not closed else closed)
    return causes


def _summary(causes: Mapping[str, str]) -> str:
    told = [f"{name} {cause}" for name, cause in list(causes.items())[:3]]
    rest = f" and {len(causes) - 3} more" if len(causes) > 3 else ""
    return ("; ".join(told) + rest) or "what was promised before takes more"


def _concerned(offer: Offer, causes: Mapping[str, str]) -> list[str]:
    owners = Membership.objects.filter(site__site_id__in=list(causes)).order_by("user__username")
    names = owners.values_list("user__username", flat=True).distinct()
    return ["dispatcher", f"operator {offer.unit.program.market_context}", *(f"owner {name}" for name in names)]


def keep_site_out(
    *, site: Site, kind: str, window: Interval, by: Any, at: datetime, reserve_kwh: float | None = None, note: str = ""
) -> tuple[SiteWindow, list[Redeclaration]]:
    """Add an owner's window and declare anew at once what was sold of the site."""
    row = add_window(site=site, kind=kind, window=window, by=by, at=at, reserve_kwh=reserve_kwh, note=note)
    return row, redeclare(at=at)


def let_site_back(*, pk: int, by: Any, at: datetime) -> tuple[SiteWindow, list[Redeclaration]]:
    """Take an owner's window back and declare anew at once what can be kept again."""
    row = withdraw_window(pk=pk, by=by, at=at)
    return row, redeclare(at=at)
