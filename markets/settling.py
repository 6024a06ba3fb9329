"""Compute one settlement from metered data, and book it: asset entries, fleet entry, statement."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from markets import evidence
from markets.core import settlement
from markets.core.products import Basis, price_at
from markets.core.settlement import ContractedShare, FleetFigures
from markets.models import GridSupportEntry, Obligation, Statement
from sites.core import observe
from sites.ledger.chain import instant_text
from sites.ledger.operations import Draft, append_entries, append_entry

log = logging.getLogger(__name__)


class NotSettleable(ValueError):
    """An obligation that cannot be settled now; the message says what it waits for."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A settlement ready to be booked."""

    terms: dict[str, Any]
    fleet: FleetFigures
    facts: list[dict[str, Any]]
    total: Decimal


def require_settleable(obligation: Obligation, at: datetime) -> None:
    """Raise NotSettleable unless the obligation is open and has ended."""
    if obligation.status != Obligation.Status.OPEN:
        raise NotSettleable(f"obligation {obligation} is {obligation.status}, accepted: open")
    if obligation.ends_at > at:
        raise NotSettleable(f"obligation {obligation} ends at {obligation.ends_at.isoformat()}, it is {at.isoformat()}")


def computed_settlement(obligation: Obligation, shares: Sequence[ContractedShare], basis: Basis) -> Computed:
    """Return a settlement computed from the meter book; takes seconds, writes nothing."""
    program, event = obligation.program, obligation.event
    product = program.catalogue_row
    price = price_at(product, obligation.starts_at, basis)
    window = obligation.window
    terms = {
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
        "obligation_kw": settlement.kw_text(obligation.power_kw),
        "starts_at": instant_text(window.starts_at),
        "ends_at": instant_text(window.ends_at),
        "duration_s": f"{window.duration_s:.6f}",
        "price_per_mw_h": str(price.price_per_mw_h),
        "price_month": price.month.isoformat(),
        "price_certainty": price.certainty.value,
        "price_source": price.source,
        "currency": program.currency,
    }
    rounded = [settlement.as_booked(share) for share in sorted(shares, key=lambda share: share.site_id)]
    fleet, figures = evidence.measured_fleet(
        rounded,
        product=product,
        obligation_kw=float(terms["obligation_kw"]),
        window=window,
        dispatch_id=obligation.dispatch_id,
    )
    facts = [settlement.share_facts(share, figures[share.site_id]) for share in rounded]
    return Computed(terms, fleet, facts, evidence.total_of(terms, fleet))


def book_settlement(obligation: Obligation, computed: Computed, at: datetime) -> Statement:
    """Book a computed settlement inside the caller's transaction.

    Raises NotSettleable when the obligation changed since it was read for the computation.
    """
    now = Obligation.objects.select_for_update().get(pk=obligation.pk)
    held = Statement.objects.filter(obligation=now).first()
    if held is not None:
        return held
    require_settleable(now, at)
    if now.revision != obligation.revision:
        raise NotSettleable(f"obligation {obligation} changed while it was computed; settle it again")
    window, program = obligation.window, obligation.program
    amounts = settlement.amounts_of(computed.total, computed.facts)
    drafts = [
        Draft(
            chain=f"{share['site_id']}/{evidence.BATTERY}",
            kind=settlement.ASSET_KIND,
            period=window,
            dispatch_id=obligation.dispatch_id,
            body=settlement.asset_body(computed.terms, share, amounts[share["site_id"]]),
        )
        for share in computed.facts
    ]
    entries = append_entries(GridSupportEntry, drafts, at=at)
    merkle_root = GridSupportEntry.merkle_root(obligation.dispatch_id)
    fleet_entry = append_entry(
        GridSupportEntry,
        chain=f"fleet/{program.name}",
        kind=settlement.FLEET_KIND,
        period=window,
        dispatch_id=obligation.dispatch_id,
        body=settlement.fleet_body(
            computed.terms, computed.fleet, computed.facts, amount=computed.total, merkle_root=merkle_root
        ),
        at=at,
    )
    statement = Statement.objects.create(
        obligation=now,
        basis=computed.terms["basis"],
        amount=computed.total,
        currency=program.currency,
        k_factor=computed.fleet.k_factor,
        entries=len(entries),
        entry_hash=fleet_entry.entry_hash,
        merkle_root=merkle_root,
        settled_at=at,
    )
    now.status = Obligation.Status.SETTLED
    now.changed_at = at
    now.save(update_fields=["status", "changed_at"])
    log.info(
        "%s dispatch_id=%s amount=%s currency=%s k=%s basis=%s",
        observe.SETTLED,
        obligation.dispatch_id,
        computed.total,
        program.currency,
        computed.fleet.k_factor,
        computed.terms["basis"],
    )
    return statement
