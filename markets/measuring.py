"""What the meter book proves of one dispatch: deliveries, figures for the book, and entries computed again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from markets.core import course, settlement
from markets.core.baselines.schedule import constant_schedule
from markets.core.course import Course
from markets.core.delivery import (
    Delivery,
    FleetSum,
    FollowedSum,
    energy_uwh,
    followed_delivery,
    measured_delivery,
    response_time_s,
    site_delivery,
    worst_window,
)
from markets.core.lines import amounts_by_site, lines_of
from markets.core.payments import CATALOGUE_PRICE
from markets.core.prices import PriceTable, table_of_facts
from markets.core.product import Kind, Product
from markets.core.products import product_named
from markets.core.scores.neso import k_factor, worst_error_ratio
from markets.core.scores.score import Score
from markets.core.settled_periods import PeriodFigures, exact, settled_periods, settlement_grid
from markets.core.settlement import ContractedShare, FleetFigures, SiteFigures, ratio
from markets.core.signal_course import SignalCourse
from markets.evidence import RATE_HZ, EvidenceError, SiteEvidence, Spans, site_evidence
from markets.settled_baselines import SiteBaseline, site_baseline
from markets.signals import OperatorSignal
from sites.core.curves import FloatArray
from sites.core.intervals import Interval
from sites.registry.models import Site

_ONE: Final = Decimal("1.000000")


@dataclass(frozen=True, slots=True)
class Question:
    """What a settlement is computed for, as its terms say it."""

    product: Product
    obligation_kw: float
    """What is paid for [kW]: of steps the mean size where a curve is followed, else the largest."""
    window: Interval
    dispatch_id: str
    prices: PriceTable = field(default_factory=lambda: PriceTable(()))
    """From outside; none where the price stands in the catalogue."""
    signal: SignalCourse | None = None
    """What the operator asked for; None: the contract all the time, or a curve."""
    steps: Course = ()
    """What was owed where it changed in the window; none: the same power all the time."""
    baseline_method: str = ""
    """Of the program; none: the declared power of each share."""
    event_days: tuple[str, ...] = ()
    """Days of the program's other events, which no baseline of days may read."""

    @property
    def is_on_catalogue_price(self) -> bool:
        """Whether the form is NESO's, which needs no price from outside."""
        return self.product.price.form == CATALOGUE_PRICE

    @property
    def rate_hz(self) -> float:
        """Sample grid of the proof [Hz]: that of the records, or of the readings that a baseline method compares."""
        return self.product.data.rate_hz if self.baseline_method else RATE_HZ

    @property
    def samples(self) -> int:
        """Length of the window on that grid."""
        return round(self.window.duration_s * self.rate_hz)

    @property
    def asked(self) -> FloatArray | None:
        """What was asked for at each sample, in shares of contract; None for what follows a curve."""
        if self.product.kind is Kind.CURVE:
            return None
        if self.signal is None:
            return self._steps_kw() / self.obligation_kw if self.steps else np.ones(self.samples)
        return self.signal.samples(self.window, self.rate_hz, self.samples)

    @property
    def contracted_kw(self) -> float | FloatArray:
        """What the fleet owed at each sample [kW]; one figure where it never changed."""
        is_moving = bool(self.steps) and self.product.kind is Kind.CURVE
        return self._steps_kw() if is_moving else self.obligation_kw

    def _steps_kw(self) -> FloatArray:
        rows = [(step.starts_at, step.power_kw) for step in self.steps]
        return steps_kw(rows, self.window, self.rate_hz, self.samples)

    @property
    def grid(self) -> list[Interval]:
        """The settlement periods."""
        return settlement_grid(self.window, self.product.price.settlement_period_s, self.prices.edges)

    @property
    def way(self) -> int:
        """Sign, positive into the site's bus, in which the product's powers count positive."""
        return -1 if self.product.direction.value == "high" else 1


def question_of(facts: Mapping[str, Any]) -> Question:
    """Return what a fleet's entry was computed for; raise EvidenceError for a signal that is not held any more."""
    terms = facts["terms"]
    window = Interval(datetime.fromisoformat(terms["starts_at"]), datetime.fromisoformat(terms["ends_at"]))
    signal = None
    if "signal_sha256" in terms:
        held = OperatorSignal.objects.filter(digest=terms["signal_sha256"]).first()
        if held is None:
            raise EvidenceError(f"signal {terms['signal_sha256'][:12]} of dispatch {terms['dispatch_id']} is not held")
        signal = held.course
    return Question(
        product=row_of(terms["product"], window),
        obligation_kw=float(terms["obligation_kw"]),
        window=window,
        dispatch_id=terms["dispatch_id"],
        prices=table_of_facts(facts.get("prices", ())),
        signal=signal,
        steps=course.read(terms.get("steps", ())),
        baseline_method=terms.get("baseline_method", ""),
    )


def row_of(name: str, window: Interval) -> Product:
    """Return the row that a window is settled by: the one in force at its start; on a catalogue price the newest."""
    newest = product_named(name)
    return newest if newest.price.form == CATALOGUE_PRICE else product_named(name, at=window.starts_at.date())


def measured_site(
    share: ContractedShare,
    evidence: SiteEvidence,
    *,
    question: Question,
    nominal_hz: float,
    booked: Mapping[str, Any] | None = None,
) -> tuple[Delivery, SiteFigures]:
    """Return one asset's delivery and its figures for the book; ``booked`` are the facts of an entry computed again."""
    told = None
    if question.baseline_method:
        told = site_baseline(
            share,
            method_name=question.baseline_method,
            resolution_s=round(1.0 / question.rate_hz),
            window=question.window,
            event_days=question.event_days,
            booked=None if booked is None else booked["baseline"],
        )
    delivery = _site_delivery(share, evidence, question, nominal_hz, told)
    error, score, quantities = _judged(delivery, question)
    lag_s = _lag_s(delivery, question)
    return delivery, SiteFigures(
        available_ratio=ratio(delivery.available_ratio),
        worst_error_ratio=_ratio_or_none(error),
        k_factor=score,
        response_ms=_response_ms(lag_s),
        response_missed=_is_missed(lag_s),
        required_uwh=energy_uwh(delivery.required_kw, question.rate_hz),
        delivered_uwh=energy_uwh(delivery.delivered_kw, question.rate_hz),
        service_into_uwh=evidence.service_into_uwh,
        service_from_uwh=evidence.service_from_uwh,
        records=evidence.records,
        intervals=evidence.intervals,
        quantities=quantities,
        baseline={} if told is None else told.facts,
    )


def measured_fleet(
    shares: Sequence[ContractedShare],
    *,
    question: Question,
    used: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[FleetFigures, dict[str, SiteFigures]]:
    """Return the fleet's figures and each site's, read one site at a time.

    ``used`` are the booked facts per site for a settlement computed again. Raises EvidenceError for a
    site that is not enrolled or for sites of different nominal frequency.
    """
    nominal_hz = dict(
        Site.objects.filter(site_id__in=[share.site_id for share in shares]).values_list("site_id", "nominal_hz")
    )
    unknown = sorted({share.site_id for share in shares} - set(nominal_hz))
    if unknown:
        raise EvidenceError(f"site {', '.join(unknown[:5])} is not enrolled; a share needs an enrolled site")
    if len(set(nominal_hz.values())) != 1:
        raise EvidenceError(f"sites have the nominal frequencies {sorted(set(nominal_hz.values()))} Hz, accepted: one")
    asked = question.asked
    on_curve, following = FleetSum(question.samples), FollowedSum(question.samples)
    figures: dict[str, SiteFigures] = {}
    for share in shares:
        booked = None if used is None else used[share.site_id]
        evidence = evidence_of(share.site_id, question, booked)
        delivery, figures[share.site_id] = measured_site(
            share, evidence, question=question, nominal_hz=nominal_hz[share.site_id], booked=booked
        )
        if asked is None:
            on_curve.add(evidence.record, delivery)
        else:
            following.add(delivery)
    if asked is not None:
        fleet = following.delivery(asked=asked, rate_hz=question.rate_hz, contracted_kw=question.obligation_kw)
    else:
        fleet = on_curve.delivery(
            curve=question.product.curve,
            nominal_hz=next(iter(nominal_hz.values())),
            rate_hz=RATE_HZ,
            contracted_kw=question.contracted_kw,
        )
    return _fleet_figures(fleet, question), figures


def evidence_of(site_id: str, question: Question, booked: Mapping[str, Any] | None = None) -> SiteEvidence:
    """Return a site's rows of the meter book for a settlement; ``booked`` names those of an entry."""
    return site_evidence(
        site_id=site_id,
        window=question.window,
        dispatch_id=question.dispatch_id,
        records=None if booked is None else _booked(booked["records"]),
        intervals=None if booked is None else _booked(booked["intervals"]),
    )


def recalculated_body(
    *, kind: str, chain: str, fleet_body: Mapping[str, Any] | None, merkle_root: str
) -> dict[str, Any] | None:
    """Return an entry's body computed again from the meter book.

    Terms (prices, contracted shares, declared baselines, signal) are taken as booked; every metered figure,
    weight and amount is computed anew. Without the fleet's entry nothing can be: an empty body.
    """
    base = settlement.run_of(kind)[0]
    if base not in (settlement.ASSET_KIND, settlement.FLEET_KIND):
        return None
    if fleet_body is None:
        return {"facts": {}, "postings": []}
    booked = fleet_body["facts"]
    terms, shares = booked["terms"], booked["shares"]
    question = question_of(booked)
    if base == settlement.FLEET_KIND:
        contracted = [settlement.share_from_facts(s) for s in shares]
        fleet, figures = measured_fleet(contracted, question=question, used={s["site_id"]: s for s in shares})
        facts = [
            settlement.in_form_of(old, settlement.share_facts(share, figures[share.site_id]))
            for share, old in zip(contracted, shares, strict=True)
        ]
        prices = booked.get("prices", ())
        total = total_of(terms, fleet, prices)
        return settlement.fleet_body(terms, fleet, facts, amount=total, merkle_root=merkle_root, prices=prices)
    site_id = chain.partition("/")[0]
    own = next((s for s in shares if s["site_id"] == site_id), None)
    if own is None:
        return {"facts": {}, "postings": []}
    again = share_now(own, question, booked=own)
    others = [again if s["site_id"] == site_id else s for s in shares]
    amounts = amounts_by_site({**booked, "shares": others})
    return settlement.asset_body(terms, again, amounts[site_id])


def share_now(
    facts: Mapping[str, Any], question: Question, *, booked: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return an asset's facts from the meter book, its terms as booked: of the rows it named, or of what is there."""
    share = settlement.share_from_facts(facts)
    nominal_hz = Site.objects.values_list("nominal_hz", flat=True).get(site_id=share.site_id)
    found = evidence_of(share.site_id, question, booked)
    _, site = measured_site(share, found, question=question, nominal_hz=nominal_hz, booked=booked)
    return settlement.in_form_of(facts, settlement.share_facts(share, site))


def total_of(terms: Mapping[str, Any], fleet: FleetFigures, prices: Sequence[Mapping[str, str]] = ()) -> Decimal:
    """Return what the operator owes for the dispatch [currency]."""
    if "payment" in terms:
        facts = {"terms": terms, "fleet": settlement.fleet_facts(fleet), "prices": prices}
        return sum((line.amount for line in lines_of(facts)), Decimal(0))
    return settlement.payment(
        price_per_mw_h=Decimal(terms["price_per_mw_h"]),
        power_kw=Decimal(terms["obligation_kw"]),
        duration_s=Decimal(terms["duration_s"]),
        available_ratio=fleet.available_ratio,
        k_factor=fleet.k_factor,
    )


def _site_delivery(
    share: ContractedShare,
    evidence: SiteEvidence,
    question: Question,
    nominal_hz: float,
    told: SiteBaseline | None,
) -> Delivery:
    contracted_kw = _contracted_kw(share, question)
    asked = question.asked
    if asked is not None and told is not None:
        return measured_delivery(
            told.saving_kw * question.way, asked=asked, rate_hz=question.rate_hz, contracted_kw=contracted_kw
        )
    if asked is not None and question.product.kind is Kind.LIMIT:
        # An import is power into the bus, and is what a limit in the high direction bounds.
        return measured_delivery(
            -question.way * evidence.connection_kw, asked=asked, rate_hz=RATE_HZ, contracted_kw=contracted_kw
        )
    # The site owns the split of its battery's power, inside what it was granted of streams.
    granted_kw = share.stream_kw if asked is None else max(share.stream_kw, float(np.max(contracted_kw)))
    record = replace(evidence.record, stream_kw=np.clip(evidence.record.stream_kw, -granted_kw, granted_kw))
    schedule = constant_schedule(question.window.starts_at, share.baseline_kw)
    baseline_kw = schedule.samples_kw(question.window.starts_at, RATE_HZ, question.samples)
    if asked is not None:
        return followed_delivery(
            record, asked=asked, rate_hz=RATE_HZ, contracted_kw=contracted_kw, baseline_kw=baseline_kw,
            way=question.way,
        )  # fmt: skip
    return site_delivery(
        record,
        curve=question.product.curve,
        nominal_hz=nominal_hz,
        rate_hz=RATE_HZ,
        contracted_kw=contracted_kw,
        baseline_kw=baseline_kw,
    )


def _contracted_kw(share: ContractedShare, question: Question) -> float | FloatArray:
    """Return what a share owed at each sample [kW]; one figure where it never moved."""
    if not share.moves:
        return share.contracted_kw
    return steps_kw(share.moves, question.window, question.rate_hz, question.samples)


def steps_kw(steps: Sequence[tuple[datetime, float]], window: Interval, rate_hz: float, samples: int) -> FloatArray:
    """Return a power that changes in steps at each sample of a window [kW]; before the first one 0."""
    course_kw = np.zeros(samples)
    for at, power_kw in steps:
        course_kw[max(0, math.ceil((at - window.starts_at).total_seconds() * rate_hz)) :] = power_kw
    return course_kw


def _judged(delivery: Delivery, question: Question) -> tuple[float, Decimal, dict[str, Decimal]]:
    """Return an asset's worst error, its own score, and what its form of payment counts over the window."""
    if question.is_on_catalogue_price:
        error = worst_error_ratio(delivery, within_s=question.product.curve.full_within_s)
        return error, ratio(k_factor(error)), {}
    (whole,), score = settled_periods(
        delivery, question.product, window=question.window, grid=[question.window], signal=question.asked
    )
    quantities = {name: value for name, value in whole.quantities.items() if name != "k"}
    return math.nan, _paid_score(score), quantities


def _paid_score(score: Score) -> Decimal:
    """Return the share that a score leaves; nothing due takes nothing off."""
    return _ONE if score.value is None else exact(score.value)


def _fleet_figures(fleet: Delivery, question: Question) -> FleetFigures:
    product = question.product
    periods: tuple[PeriodFigures, ...] = ()
    told: dict[str, Any] = {}
    if question.is_on_catalogue_price:
        error = worst_error_ratio(fleet, within_s=product.curve.full_within_s)
        k = ratio(k_factor(error))
    else:
        error = math.nan
        figures, score = settled_periods(
            fleet, product, window=question.window, grid=question.grid, signal=question.asked
        )
        periods, k = tuple(figures), _paid_score(score)
        told = {name: _book_text(value) for name, value in score.components.items()}
    worst = worst_window(fleet, within_s=product.curve.full_within_s) if product.kind is Kind.CURVE else None
    lag_s = _lag_s(fleet, question)
    return FleetFigures(
        available_ratio=ratio(fleet.available_ratio),
        worst_error_ratio=_ratio_or_none(error),
        k_factor=k,
        worst_10s_due_kw=_kw(worst.due_kw) if worst else None,
        worst_10s_delivered_kw=_kw(worst.delivered_kw) if worst else None,
        delivered_ratio=ratio(worst.ratio) if worst else None,
        response_ms=_response_ms(lag_s),
        response_missed=_is_missed(lag_s),
        required_uwh=energy_uwh(fleet.required_kw, question.rate_hz),
        delivered_uwh=energy_uwh(fleet.delivered_kw, question.rate_hz),
        periods=periods,
        score=told,
    )


def _book_text(value: Any) -> Any:
    """Return a score's component as the book has it: no floats, and no array's own numbers."""
    plain = value.item() if isinstance(value, np.generic) else value
    return str(exact(plain)) if isinstance(plain, float) else plain


def _lag_s(delivery: Delivery, question: Question) -> float | None:
    if question.product.kind is not Kind.CURVE:
        return None
    return response_time_s(delivery, within_s=question.product.curve.full_within_s)


def _booked(spans: Sequence[Sequence[int]]) -> Spans:
    return tuple((first, last, revision) for first, last, revision in spans)


def _response_ms(lag_s: float | None) -> int | None:
    return None if lag_s is None or _is_missed(lag_s) else round(lag_s * 1000)


def _is_missed(lag_s: float | None) -> bool:
    return lag_s is not None and math.isinf(lag_s)


def _ratio_or_none(value: float) -> Decimal | None:
    return ratio(value) if np.isfinite(value) else None


def _kw(value: float) -> Decimal:
    return Decimal(settlement.kw_text(value))
