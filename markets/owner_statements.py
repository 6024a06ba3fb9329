"""An asset's money in a month, for its owners: each booked entry, who got what of it, and what it was for.

An entry belongs to the month in which its delivery began, in UTC, whenever it was booked: a later run's correction
stands beside what it corrects. Money of a demonstration is never added to real money.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from django.db.models import QuerySet

from markets import evidence
from markets.core.asset_lines import asset_lines
from markets.core.lines import Line
from markets.core.products import Basis
from markets.core.settlement import ASSET_KIND, FLEET_KIND, REVERSAL_KIND, kind_of, run_of
from markets.models import GridSupportEntry
from markets.owners import AGGREGATOR_ACCOUNT, OwnerShare, owner_account
from sites.core.intervals import Interval
from sites.registry.models import Site

_MONTH: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])\Z")
SPLIT_RULE: Final = (
    "Each asset is paid by its weight in the fleet's delivery: contracted power × availability × its own score K;"
    " where a product pays by several prices, by its own part of what each line counts. What it is paid is split "
    "by the shares that were agreed when the delivery began; what they leave over is the aggregator's fee. Parts "
    "are rounded to 0.000001 by largest remainder, so that they add up exactly. Without an agreement all of it "
    "stands on the asset's own account."
)


class MonthInvalid(ValueError):
    """A text that names no month; says what is accepted."""


class Holder(StrEnum):
    """Who has a part of an asset's money, as the one who asks is told."""

    YOU = "you"
    OTHER_OWNERS = "other_owners"
    AGGREGATOR = "aggregator"
    NOT_AGREED = "not_agreed"
    """Nothing was agreed when the delivery began: it stands on the asset's own account."""


@dataclass(frozen=True, slots=True)
class AssetEntry:
    """One entry of the grid-support book about an asset's money; a reversal has the other sign throughout."""

    site_id: str
    asset: str
    position: int
    entry_hash: str
    dispatch_id: str
    is_reversal: bool
    run: int
    starts_at: datetime
    ends_at: datetime
    booked_at: datetime
    basis: str
    """Of what it was settled for; empty where an entry does not tell it, which is no real money either."""
    product: str
    currency: str
    amount: Decimal
    parts: dict[Holder, Decimal]
    """They add up to the amount."""
    contracted_kw: str
    available_ratio: str
    k_factor: str

    @property
    def is_real_money(self) -> bool:
        """Tell whether somebody owes it."""
        return self.basis == Basis.LIVE


@dataclass(frozen=True, slots=True)
class AssetTotal:
    """What the entries of one asset came to in one currency on one basis."""

    site_id: str
    asset: str
    basis: str
    currency: str
    entries: int
    amount: Decimal
    parts: dict[Holder, Decimal]

    @property
    def is_real_money(self) -> bool:
        """Tell whether somebody owes it."""
        return self.basis == Basis.LIVE


def month_of(text: str) -> Interval:
    """Return a month of the calendar in UTC; raise MonthInvalid for another text than ``2026-06``."""
    found = _MONTH.match(text)
    if found is None:
        raise MonthInvalid(f"month is {text!r:.20}, accepted: YYYY-MM, 2000-01 to 2099-12")
    year, month = int(found[1]), int(found[2])
    starts_at = datetime(year, month, 1, tzinfo=UTC)
    return Interval(starts_at, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC))


def months_of(*, sites: QuerySet[Site]) -> list[str]:
    """Return the months in which deliveries of these sites' assets were booked, the newest first."""
    found = _entries(sites).datetimes("starts_at", "month", order="DESC", tzinfo=UTC)
    return [f"{at:%Y-%m}" for at in found]


def entries_of(
    *, sites: QuerySet[Site], month: Interval | None = None, owner_pk: int | None = None
) -> Iterator[AssetEntry]:
    """Yield the entries about these sites' assets, by asset and then as they were booked; all of them without a month.

    ``owner_pk`` is who asks: that one's part is told apart from other owners'.
    """
    rows = _entries(sites)
    if month is not None:
        rows = rows.filter(starts_at__gte=month.starts_at, starts_at__lt=month.ends_at)
    # A reversal says only what it takes back: its terms are those of that entry, which is before it in the chain.
    told: dict[tuple[str, str, int], Mapping[str, Any]] = {}
    for row in rows.order_by("chain", "position").iterator(chunk_size=500):
        base, run = run_of(row.kind)
        body = json.loads(row.body)
        if base == ASSET_KIND:
            told[row.chain, row.dispatch_id, run] = body["facts"]
        yield _entry(row, body, told.get((row.chain, row.dispatch_id, run), {}), owner_pk)


def totals_of(entries: Iterable[AssetEntry]) -> list[AssetTotal]:
    """Return what entries came to by asset, basis and currency; real money first."""
    grouped: dict[tuple[str, str, str, str], list[AssetEntry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.site_id, entry.asset, entry.basis, entry.currency].append(entry)
    totals = [
        AssetTotal(
            site_id, asset, basis, currency, len(rows), sum((row.amount for row in rows), Decimal(0)), _sum_parts(rows)
        )
        for (site_id, asset, basis, currency), rows in grouped.items()
    ]
    return sorted(totals, key=lambda row: (row.site_id, row.asset, not row.is_real_money, row.basis, row.currency))


def lines_of_entries(entries: Sequence[AssetEntry]) -> list[list[Line]]:
    """Return for each entry its asset's part of the run's lines, negated for a reversal; they add up to its amount.

    Reads the fleet's entry of each run once, which holds all assets' shares: ask for a page, not for a year.
    """
    wanted = {(entry.dispatch_id, entry.run) for entry in entries}
    rows = GridSupportEntry.objects.filter(
        dispatch_id__in={name for name, _ in wanted}, kind__in={kind_of(FLEET_KIND, run) for _, run in wanted}
    )
    found: dict[tuple[str, int], dict[str, list[Line]]] = {}
    for dispatch_id, kind, body in rows.values_list("dispatch_id", "kind", "body").iterator(chunk_size=20):
        key = (dispatch_id, run_of(kind)[1])
        if key in wanted:
            found[key] = asset_lines(json.loads(body)["facts"])
    return [_signed(found.get((entry.dispatch_id, entry.run), {}).get(entry.site_id, []), entry) for entry in entries]


def agreements_of(*, sites: QuerySet[Site]) -> list[OwnerShare]:
    """Return every agreement on these sites' money, by site and then the newest first."""
    return list(OwnerShare.objects.filter(site__in=sites).select_related("site").order_by("site", "-starts_at", "pk"))


def _entries(sites: QuerySet[Site]) -> QuerySet[GridSupportEntry]:
    chains = [f"{site_id}/{evidence.BATTERY}" for site_id in sites.values_list("site_id", flat=True)]
    return GridSupportEntry.objects.filter(chain__in=chains)


def _entry(
    row: GridSupportEntry, body: Mapping[str, Any], facts: Mapping[str, Any], owner_pk: int | None
) -> AssetEntry:
    site_id, _, asset = row.chain.partition("/")
    terms, share = facts.get("terms", {}), facts.get("share", {})
    own = [posting for posting in body["postings"] if not posting["account"].startswith("fleet/")]
    parts: dict[Holder, Decimal] = dict.fromkeys(Holder, Decimal(0))
    for posting in own:
        parts[_holder(posting["account"], site_id, owner_pk)] += Decimal(posting["amount"])
    base, run = run_of(row.kind)
    return AssetEntry(
        site_id=site_id,
        asset=asset,
        position=row.position,
        entry_hash=row.entry_hash,
        dispatch_id=row.dispatch_id,
        is_reversal=base == REVERSAL_KIND,
        run=run,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        booked_at=row.booked_at,
        basis=terms.get("basis", ""),
        product=terms.get("product", ""),
        currency=own[0]["unit"] if own else terms.get("currency", ""),
        amount=sum(parts.values(), Decimal(0)),
        parts=parts,
        contracted_kw=share.get("contracted_kw", ""),
        available_ratio=share.get("available_ratio", ""),
        k_factor=share.get("k_factor", ""),
    )


def _holder(account: str, site_id: str, owner_pk: int | None) -> Holder:
    if account == AGGREGATOR_ACCOUNT:
        return Holder.AGGREGATOR
    if owner_pk is not None and account == owner_account(site_id, owner_pk):
        return Holder.YOU
    return Holder.OTHER_OWNERS if account.startswith(f"asset/{site_id}/owner/") else Holder.NOT_AGREED


def _sum_parts(entries: Iterable[AssetEntry]) -> dict[Holder, Decimal]:
    parts: dict[Holder, Decimal] = dict.fromkeys(Holder, Decimal(0))
    for entry in entries:
        for holder, amount in entry.parts.items():
            parts[holder] += amount
    return parts


def _signed(lines: Sequence[Line], entry: AssetEntry) -> list[Line]:
    return [_negated(line) for line in lines] if entry.is_reversal else list(lines)


def _negated(line: Line) -> Line:
    return replace(line, amount=-line.amount)
