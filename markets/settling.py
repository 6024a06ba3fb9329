"""Compute one settlement run from metered data, and book it: asset entries, fleet entry, statement.

A later run takes back each entry of the one before by a reversing entry, and books anew: nothing is changed in place.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from markets import queries
from markets.core import course, settlement
from markets.core.baselines.meter import BaselineError
from markets.core.lines import amounts_by_site
from markets.core.payments import CATALOGUE_PRICE
from markets.core.prices import PriceInvalid, PriceTable, table_of_facts
from markets.core.product import Certainty, Kind, Product
from markets.core.products import Basis, LiveSettlementRefused, price_at, require_live
from markets.core.scores.registry import needs_signal
from markets.core.scores.score import ScoreError
from markets.core.settled_against import require_baseline_method
from markets.core.settlement import ContractedShare, FleetFigures
from markets.evidence import BATTERY, EvidenceError
from markets.measuring import Question, measured_fleet, row_of, total_of
from markets.models import GridSupportEntry, Obligation, Program, Statement
from markets.owners import with_parties
from markets.signals import OperatorSignal
from sites.core import observe
from sites.core.intervals import Interval
from sites.ledger.chain import instant_text
from sites.ledger.operations import Draft, append_entries, append_entry

log = logging.getLogger(__name__)

PINS: Final = ("records", "intervals")
"""Which rows a share was computed from; no figures."""


class NotSettleable(ValueError):
    """An obligation that cannot be settled now; the message says what it waits for."""


class NotMetered(NotSettleable):
    """Sites whose records or intervals are missing, each with what is."""

    def __init__(self, obligation: Obligation, gaps: Mapping[str, str]) -> None:
        """Name the first ones in the message, all in ``gaps``."""
        named = "; ".join(f"{site_id}: {gap}" for site_id, gap in list(gaps.items())[:5])
        more = f"; and {len(gaps) - 5} more" if len(gaps) > 5 else ""
        super().__init__(f"obligation {obligation}: {len(gaps)} sites are not metered in full: {named}{more}")
        self.gaps = dict(gaps)


@dataclass(frozen=True, slots=True)
class Given:
    """What a settlement is given from outside the meter book and the catalogue."""

    prices: PriceTable = field(default_factory=lambda: PriceTable(()))
    """None: those of the run before, or the catalogue's."""
    signal: OperatorSignal | None = None
    """What the operator asked for; None: that of the run before."""


NOTHING_GIVEN: Final = Given()


@dataclass(frozen=True, slots=True)
class Computed:
    """A settlement ready to be booked."""

    terms: dict[str, Any]
    fleet: FleetFigures
    facts: list[dict[str, Any]]
    total: Decimal
    run: int
    prices: list[dict[str, str]] = field(default_factory=list)
    """From outside, as book text."""

    @property
    def fleet_facts(self) -> dict[str, Any]:
        """The facts of the fleet's entry, but for its Merkle root."""
        return {
            "terms": self.terms,
            "fleet": settlement.fleet_facts(self.fleet),
            "shares": self.facts,
            "amount": str(self.total),
            "prices": self.prices,
        }


def require_settleable(obligation: Obligation, at: datetime, run: int = 1) -> None:
    """Raise NotSettleable unless the obligation has ended and is open, or settled for a run after the first."""
    wanted = Obligation.Status.OPEN if run == 1 else Obligation.Status.SETTLED
    if obligation.status != wanted:
        raise NotSettleable(f"obligation {obligation} is {obligation.status}, accepted for run {run}: {wanted}")
    if obligation.ends_at > at:
        raise NotSettleable(f"obligation {obligation} ends at {obligation.ends_at.isoformat()}, it is {at.isoformat()}")


def require_run(obligation: Obligation, run: int) -> tuple[Statement | None, Statement | None]:
    """Return the statement of a run where it is booked, and that of the run before it.

    Raises NotSettleable for a run that is neither booked nor the next.
    """
    statements = list(Statement.objects.select_related("obligation").filter(obligation=obligation).order_by("run"))
    if not 1 <= run <= len(statements) + 1:
        accepted = "1" if not statements else f"1 to {len(statements) + 1}"
        raise NotSettleable(
            f"obligation {obligation} has {len(statements)} runs, run {run} asked, accepted: {accepted}"
        )
    held = statements[run - 1] if run <= len(statements) else None
    return held, statements[run - 2] if run > 1 else None


def computed_run(
    obligation: Obligation,
    shares: Sequence[ContractedShare],
    basis: Basis,
    *,
    at: datetime,
    accept_gaps: bool = False,
    run: int = 1,
    given: Given = NOTHING_GIVEN,
) -> Computed:
    """Return a run as it would be booked now; writes nothing. Raises as ``operations.settle_obligation``."""
    require_settleable(obligation, at, run)
    if not shares:
        raise NotSettleable(f"obligation {obligation} has no acknowledged share; nobody to settle with")
    if not accept_gaps:
        gaps = queries.metering_gaps(window=obligation.window, site_ids=[share.site_id for share in shares])
        if gaps:
            raise NotMetered(obligation, gaps)
    return computed_settlement(obligation, with_parties(shares, obligation.starts_at), basis, run, given)


def is_changed(computed: Computed, last: Statement) -> bool:
    """Tell whether a computed run would say something else than a booked one."""
    booked = queries.fleet_entry_facts(dispatch_id=last.obligation.dispatch_id, run=last.run)
    return booked is None or not says_the_same(computed, booked)


def computed_settlement(
    obligation: Obligation,
    shares: Sequence[ContractedShare],
    basis: Basis,
    run: int = 1,
    given: Given = NOTHING_GIVEN,
) -> Computed:
    """Return a settlement computed from the meter book as it is now; takes seconds, writes nothing."""
    program, event, window = obligation.program, obligation.event, obligation.window
    product = row_of(program.product, window)
    terms: dict[str, Any] = {
        "dispatch_id": obligation.dispatch_id,
        "program": program.name,
        "product": product.name,
        "product_certainty": product.certainty.value,
        "product_source": product.source,
        "score_certainty": product.score_certainty.value,
        "basis": basis.value,
        "vtn_id": event.vtn_id,
        "event_id": event.event_id,
        "modification_number": event.modification_number,
        "obligation_kw": settlement.kw_text(_paid_kw(obligation, product)),
        "starts_at": instant_text(window.starts_at),
        "ends_at": instant_text(window.ends_at),
        "duration_s": f"{window.duration_s:.6f}",
        "currency": program.currency,
    }
    if run > 1:
        terms["run"] = run
    if obligation.steps:
        terms["steps"] = [
            [instant_text(step.starts_at), settlement.kw_text(step.power_kw)] for step in obligation.course
        ]
    prices = PriceTable(())
    signal: OperatorSignal | None = None
    if product.price.form == CATALOGUE_PRICE:
        if given.prices.prices:
            raise PriceInvalid(f"product {product.name!r} has its prices in the catalogue, accepted: none from outside")
        price = price_at(product, obligation.starts_at, basis)
        terms |= {
            "price_per_mw_h": str(price.price_per_mw_h),
            "price_month": price.month.isoformat(),
            "price_certainty": price.certainty.value,
            "price_source": price.source,
        }
    else:
        prices, signal = _given(obligation, product, basis, run, given)
        terms |= {"payment": product.price.form, "payment_certainty": product.price.rule.certainty.value}
        if signal is not None:
            terms |= {"signal_sha256": signal.digest, "signal_source": signal.source}
        if program.baseline_method:
            terms["baseline_method"] = _baseline_method(program, product)
    question = Question(
        product=product,
        obligation_kw=float(terms["obligation_kw"]),
        window=window,
        dispatch_id=obligation.dispatch_id,
        prices=prices,
        signal=None if signal is None else signal.course,
        steps=course.read(terms.get("steps", ())),
        baseline_method=terms.get("baseline_method", ""),
        event_days=queries.event_days(obligation=obligation) if program.baseline_method else (),
    )
    rounded = [settlement.as_booked(share) for share in sorted(shares, key=lambda share: share.site_id)]
    try:
        fleet, figures = measured_fleet(rounded, question=question)
    except (ScoreError, BaselineError, EvidenceError) as error:
        raise NotSettleable(f"obligation {obligation}: {error}") from None
    facts = [settlement.share_facts(share, figures[share.site_id]) for share in rounded]
    told = prices.facts()
    return Computed(terms, fleet, facts, total_of(terms, fleet, told), run, told)


def _paid_kw(obligation: Obligation, product: Product) -> float:
    """Return what is paid for [kW]: on a curve by time, else what the steps are shares of."""
    if not obligation.steps or product.kind is Kind.CURVE:
        return obligation.settled_kw
    return course.largest_kw(obligation.course, obligation.window)


def _given(
    obligation: Obligation, product: Product, basis: Basis, run: int, given: Given
) -> tuple[PriceTable, OperatorSignal | None]:
    """Return prices and signal of a run; what is not given again is that of the run before.

    Raises LiveSettlementRefused where the row or a price was not read in a primary document, NotSettleable where the
    operator's signal is missing.
    """
    before = queries.fleet_entry_facts(dispatch_id=obligation.dispatch_id, run=run - 1) if run > 1 else None
    prices = given.prices.within(obligation.window)
    if not given.prices.prices and before is not None:
        prices = table_of_facts(before.get("prices", ()))
    if basis is Basis.LIVE:
        require_live(product)
        doubtful = sorted({price.name for price in prices.prices if price.certainty is not Certainty.VERIFIED})
        if doubtful:
            raise LiveSettlementRefused(
                f"price {', '.join(doubtful)} of product {product.name!r} was not read in a primary document; "
                f"accepted: basis {Basis.DEMONSTRATION.value!r}"
            )
    signal = given.signal
    if signal is None and before is not None and "signal_sha256" in before["terms"]:
        signal = OperatorSignal.objects.get(digest=before["terms"]["signal_sha256"])
    if signal is None and needs_signal(product) and product.kind is Kind.SIGNAL:
        raise NotSettleable(
            f"obligation {obligation}: product {product.name!r} is scored against the operator's signal, accepted: "
            "its instants and values with their source"
        )
    return prices, signal


def _baseline_method(program: Program, product: Product) -> str:
    """Return the name of a program's baseline method; raise NotSettleable where the product is not paid against one."""
    try:
        return require_baseline_method(program.baseline_method, product)
    except BaselineError as error:
        raise NotSettleable(f"program {program.name}: {error}") from None


def says_the_same(computed: Computed, booked: Mapping[str, Any]) -> bool:
    """Tell whether a computed run says what a fleet entry's facts say, but for the run and which rows it used."""

    def told(terms: Mapping[str, Any], shares: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
        return (
            {name: value for name, value in terms.items() if name != "run"},
            [{name: value for name, value in share.items() if name not in PINS} for share in shares],
        )

    before = {share["site_id"]: share for share in booked["shares"]}
    facts = [settlement.in_form_of(before.get(share["site_id"], {}), share) for share in computed.facts]
    return (
        told(computed.terms, facts) == told(booked["terms"], booked["shares"])
        and settlement.fleet_facts(computed.fleet) == booked["fleet"]
        and str(computed.total) == booked["amount"]
        and computed.prices == booked.get("prices", [])
    )


def book_settlement(obligation: Obligation, computed: Computed, at: datetime) -> Statement:
    """Book a computed run inside the caller's transaction; a run that is booked comes back as it is.

    Raises NotSettleable when the obligation changed since it was read for the computation.
    """
    # Writers of one obligation wait for each other here, and the second finds what the first booked.
    now = Obligation.objects.select_for_update().get(pk=obligation.pk)
    run = computed.run
    held = Statement.objects.filter(obligation=now, run=run).first()
    if held is not None:
        return held
    require_settleable(now, at, run)
    if now.revision != obligation.revision:
        raise NotSettleable(f"obligation {obligation} changed while it was computed; settle it again")
    window, program = obligation.window, obligation.program
    previous = None
    if run > 1:
        previous = Statement.objects.get(obligation=now, run=run - 1)
        _reverse(previous, at)
    amounts = amounts_by_site(computed.fleet_facts)
    drafts = [
        Draft(
            chain=f"{share['site_id']}/{BATTERY}",
            kind=settlement.kind_of(settlement.ASSET_KIND, run),
            period=window,
            dispatch_id=obligation.dispatch_id,
            body=settlement.asset_body(computed.terms, share, amounts[share["site_id"]]),
        )
        for share in computed.facts
    ]
    entries = append_entries(GridSupportEntry, drafts, at=at)
    merkle_root = GridSupportEntry.merkle_root(obligation.dispatch_id, run)
    fleet_entry = append_entry(
        GridSupportEntry,
        chain=f"fleet/{program.name}",
        kind=settlement.kind_of(settlement.FLEET_KIND, run),
        period=window,
        dispatch_id=obligation.dispatch_id,
        body=settlement.fleet_body(
            computed.terms,
            computed.fleet,
            computed.facts,
            amount=computed.total,
            merkle_root=merkle_root,
            prices=computed.prices,
        ),
        at=at,
    )
    statement = Statement.objects.create(
        obligation=now,
        run=run,
        basis=computed.terms["basis"],
        amount=computed.total,
        difference=computed.total - (previous.amount if previous else 0),
        currency=program.currency,
        k_factor=computed.fleet.k_factor,
        entries=len(entries),
        entry_hash=fleet_entry.entry_hash,
        merkle_root=merkle_root,
        settled_at=at,
    )
    if run == 1:
        now.status = Obligation.Status.SETTLED
        now.changed_at = at
        now.save(update_fields=["status", "changed_at"])
    log.info(
        "%s dispatch_id=%s run=%d amount=%s currency=%s k=%s basis=%s",
        observe.SETTLED,
        obligation.dispatch_id,
        run,
        computed.total,
        program.currency,
        computed.fleet.k_factor,
        computed.terms["basis"],
    )
    return statement


def _reverse(statement: Statement, at: datetime) -> None:
    """Book the reversal of each entry of a run, assets first."""
    kinds = [settlement.kind_of(base, statement.run) for base in (settlement.ASSET_KIND, settlement.FLEET_KIND)]
    entries = GridSupportEntry.objects.filter(dispatch_id=statement.obligation.dispatch_id, kind__in=kinds)
    drafts = [
        Draft(
            chain=entry.chain,
            kind=settlement.kind_of(settlement.REVERSAL_KIND, statement.run),
            period=Interval(entry.starts_at, entry.ends_at),
            dispatch_id=entry.dispatch_id,
            body=settlement.reversal_body(body=json.loads(entry.body), entry_hash=entry.entry_hash, run=statement.run),
        )
        for entry in entries.order_by("kind", "chain")
    ]
    append_entries(GridSupportEntry, drafts, at=at)
