"""Reads of the carbon book: a period's totals, a chain's pools, what is already closed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from carbon.core import bodies
from carbon.core.inventory import Pool
from carbon.models import CarbonEntry
from sites.core.intervals import Interval
from sites.core.units import UG_PER_KG
from sites.ledger.models import ChainHead


@dataclass(frozen=True, slots=True)
class PeriodTotals:
    """What the fleet's statements of a period add up to; whole ug CO2e, uWh and ul."""

    statements: int
    """How many statements lie wholly in the period; 0 means that nothing is closed, not that nothing was emitted."""
    scope1_ug: int
    scope2_location_ug: int
    load_ug: int
    export_ug: int
    service_out_ug: int
    service_out_uwh: int
    import_uwh: int
    export_uwh: int
    fuel_ul: int
    entries: int
    sites: int
    entry_hash: str
    """Hash of the last statement; empty without one."""
    merkle_root: str
    """Root over the entries of the last statement; empty without one."""

    @property
    def scope1_kg(self) -> float:
        """Scope 1 for people [kg CO2e]."""
        return self.scope1_ug / UG_PER_KG

    @property
    def scope2_location_kg(self) -> float:
        """Scope 2, location-based, for people [kg CO2e]."""
        return self.scope2_location_ug / UG_PER_KG


def period_totals(period: Interval, *, dispatch_id: str | None = None) -> PeriodTotals:
    """Return the sums of all statements whose period lies wholly in this one; of one dispatch if named."""
    statements = CarbonEntry.objects.filter(
        chain=bodies.STATEMENT_CHAIN,
        kind=bodies.STATEMENT,
        starts_at__gte=period.starts_at,
        ends_at__lte=period.ends_at,
    )
    if dispatch_id is not None:
        statements = statements.filter(dispatch_id=dispatch_id)
    rows = list(statements.order_by("position"))
    facts = [row.facts() for row in rows]

    def total(name: str) -> int:
        return sum(int(fact[name]) for fact in facts)

    return PeriodTotals(
        statements=len(rows),
        scope1_ug=total("scope1_ug"),
        scope2_location_ug=total("scope2_location_ug"),
        load_ug=total("load_ug"),
        export_ug=total("export_ug"),
        service_out_ug=total("service_out_ug"),
        service_out_uwh=total("service_out_uwh"),
        import_uwh=total("import_uwh"),
        export_uwh=total("export_uwh"),
        fuel_ul=total("fuel_ul"),
        entries=total("entries"),
        sites=max((int(fact["sites"]) for fact in facts), default=0),
        entry_hash=rows[-1].entry_hash if rows else "",
        merkle_root=str(facts[-1]["merkle_root"]) if rows else "",
    )


def last_statement() -> CarbonEntry | None:
    """Return the newest statement of the fleet, or None before the first closing."""
    return CarbonEntry.objects.filter(chain=bodies.STATEMENT_CHAIN).order_by("-position").first()


def overlapping_statement(*, period: Interval, dispatch_id: str) -> CarbonEntry | None:
    """Return a statement that shares time with a period without being the very same closing."""
    return (
        CarbonEntry.objects.filter(
            chain=bodies.STATEMENT_CHAIN, starts_at__lt=period.ends_at, ends_at__gt=period.starts_at
        )
        .exclude(starts_at=period.starts_at, ends_at=period.ends_at, dispatch_id=dispatch_id)
        .first()
    )


def held_statement(*, period: Interval, dispatch_id: str) -> CarbonEntry | None:
    """Return the statement of exactly this closing, or None."""
    return CarbonEntry.objects.filter(
        chain=bodies.STATEMENT_CHAIN, starts_at=period.starts_at, ends_at=period.ends_at, dispatch_id=dispatch_id
    ).first()


def opening_entries(*, chains: Collection[str], period: Interval, dispatch_id: str) -> dict[str, CarbonEntry]:
    """Return, by battery chain, the entry that holds its stock at a period's start, for those with one.

    That is the end of the chain, or what stood before it when this closing is booked already.
    """
    again = CarbonEntry.before_inventory(starts_at=period.starts_at, ends_at=period.ends_at, dispatch_id=dispatch_id)
    heads = ChainHead.objects.filter(book=CarbonEntry.book_name(), position__gt=0).values_list("chain", "position")
    wanted = set(chains)
    rows = CarbonEntry.at_positions(
        {chain: position for chain, position in heads if chain in wanted and chain not in again}
    )
    return rows | {chain: row for chain, row in again.items() if chain in wanted}


def opening_pools(*, chains: Collection[str], period: Interval, dispatch_id: str) -> dict[str, tuple[Pool, Pool]]:
    """Return each battery chain's pools (own use, service) at a period's start, for those with a history."""
    rows = opening_entries(chains=chains, period=period, dispatch_id=dispatch_id)
    return {chain: row.closing_pools() for chain, row in rows.items()}
