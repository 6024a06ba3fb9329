"""Close a period of the carbon book: every site's entries and the fleet's statement, once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction

from carbon import accounts, meters, queries
from carbon.core import bodies
from carbon.core.inventory import Pool
from carbon.models import CarbonEntry
from sites.core import observe
from sites.core.intervals import Interval, require_aware
from sites.ledger.chain import merkle_root_of_hashes
from sites.ledger.operations import Draft, append_entries, append_entry

logger = logging.getLogger(__name__)

_HOLES_NAMED = 20


class PeriodNotOver(ValueError):
    """The period ends after the instant it would be closed at, or crosses into another year."""


class PeriodOverlaps(ValueError):
    """Part of the period is closed already, by another closing."""


class MeteringGaps(ValueError):
    """The meter book has holes in the period; ``holes`` lists them all."""

    def __init__(self, holes: list[meters.Hole], unbooked: Interval | None) -> None:
        self.holes = holes
        self.unbooked = unbooked
        """Time since the statement before, when that is not closed either."""
        named = [str(hole) for hole in holes[:_HOLES_NAMED]]
        if unbooked is not None:
            named.insert(0, f"not closed before: {unbooked.starts_at.isoformat()} to {unbooked.ends_at.isoformat()}")
        more = f" and {len(holes) - _HOLES_NAMED} more" if len(holes) > _HOLES_NAMED else ""
        super().__init__(f"the period has {len(holes)} metering holes: {'; '.join(named)}{more}; accepted: none")


@dataclass(frozen=True, slots=True)
class ClosedPeriod:
    """What a closing booked, or found booked."""

    statement: CarbonEntry
    entries: tuple[CarbonEntry, ...]
    """The sites' entries under the statement's Merkle root, by chain and position."""


def close_period(
    *,
    period: Interval,
    dispatch_id: str = "",
    at: datetime,
    allow_gaps: bool = False,
    allow_older_vintage: bool = False,
) -> ClosedPeriod:
    """Book the carbon of a period for every site, from the meter book, and the fleet's statement over it.

    Idempotent: closed again over the same meters it returns what is held; over other meters it raises
    EntryConflict. Holes in the metering, or in time since the last closing, raise MeteringGaps unless
    they are allowed; then the entries say how long they are. A factor older than the activity's year
    needs ``allow_older_vintage`` and is noted in every entry it was used for. A site whose meters are unclear is
    left out and named in the statement, with its reason; MetersUnclear is raised when that leaves nobody. Raises
    PeriodNotOver, PeriodOverlaps, FactorMissing, FactorVintageOlder, too.
    """
    require_aware(at)
    _require_closable(period, dispatch_id, at)
    with transaction.atomic():
        unbooked = _unbooked(period, dispatch_id)
        metered = meters.fleet_meters(period=period)
        sites = metered.sites
        if metered.unclear and not sites:
            raise meters.MetersUnclear("; ".join(map(str, metered.unclear[:_HOLES_NAMED])))
        holes = [hole for site in sites for hole in site.holes]
        if (holes or unbooked) and not allow_gaps:
            raise MeteringGaps(holes, unbooked)
        factors = {
            zone: accounts.zone_factors(
                zone, period.starts_at.astimezone(UTC).year, allow_older_vintage=allow_older_vintage
            )
            for zone in sorted({site.zone for site in sites})
        }
        opened = _open_pools(sites, factors, period, dispatch_id, at)
        chains = {site.site_id: f"{site.site_id}/{site.names.get('battery')}" for site in sites}
        pools = queries.opening_pools(chains=chains.values(), period=period, dispatch_id=dispatch_id)
        drafts = [
            Draft(chain, kind, period, dispatch_id, body)
            for site in sites
            for (chain, kind), body in accounts.site_bodies(
                site, factors[site.zone], *pools.get(chains[site.site_id], (Pool(), Pool()))
            ).items()
        ]
        booked = append_entries(CarbonEntry, drafts, at=at)
        entries = sorted([*opened, *booked], key=lambda entry: (entry.chain, entry.position))
        bodies_of = [draft.body for draft in drafts] + [entry.content() for entry in opened]
        body = bodies.statement_body(
            bodies_of,
            entries=len(entries),
            sites=len(sites),
            merkle_root=merkle_root_of_hashes([entry.entry_hash for entry in entries]),
            gaps=allow_gaps,
            unbooked_s=round(unbooked.duration_s) if unbooked else 0,
            left_out=[str(site) for site in metered.unclear],
        )
        statement = append_entry(
            CarbonEntry,
            chain=bodies.STATEMENT_CHAIN,
            kind=bodies.STATEMENT,
            period=period,
            dispatch_id=dispatch_id,
            body=body,
            at=at,
        )
    for unclear in metered.unclear:
        logger.error("%s site_id=%s reason=%s", observe.CARBON_LEFT_OUT, unclear.site_id, unclear.reason)
    for site in sites:
        for asset, overlap_s in site.overlaps_s.items():
            where = (site.site_id, asset, overlap_s)
            logger.warning("%s site_id=%s asset=%s overlap_s=%d", observe.CARBON_OVERLAP, *where)
    logger.info(
        "%s entries=%d sites=%d scope1_ug=%d scope2_location_ug=%d",
        observe.CARBON_BOOKED,
        len(entries),
        len(sites),
        body["facts"]["scope1_ug"],
        body["facts"]["scope2_location_ug"],
    )
    return ClosedPeriod(statement, tuple(entries))


def _require_closable(period: Interval, dispatch_id: str, at: datetime) -> None:
    if period.ends_at > at:
        raise PeriodNotOver(f"period ends at {period.ends_at.isoformat()}, accepted: not after {at.isoformat()}")
    # Factors are chosen by year of activity, and stock must be carried over a year's end by a closing.
    last_instant = period.ends_at - timedelta(microseconds=1)
    if period.starts_at.astimezone(UTC).year != last_instant.astimezone(UTC).year:
        raise PeriodNotOver(f"period from {period.starts_at.isoformat()} crosses a year's end, accepted: one UTC year")
    other = queries.overlapping_statement(period=period, dispatch_id=dispatch_id)
    if other is not None:
        raise PeriodOverlaps(
            f"{other.starts_at.isoformat()} to {other.ends_at.isoformat()} is closed already as "
            f"statement {other.position} {other.dispatch_id!r}, accepted: periods apart from it"
        )


def _unbooked(period: Interval, dispatch_id: str) -> Interval | None:
    held = queries.held_statement(period=period, dispatch_id=dispatch_id)
    if held is not None:
        since = held.facts()["unbooked_before_s"]
        return None if not since else Interval(period.starts_at - timedelta(seconds=since), period.starts_at)
    last = queries.last_statement()
    if last is None or last.ends_at == period.starts_at:
        return None
    if last.ends_at > period.starts_at:
        raise PeriodOverlaps(
            f"the book is closed up to {last.ends_at.isoformat()}, accepted: periods from then on; stock has moved on"
        )
    return Interval(last.ends_at, period.starts_at)


def _open_pools(
    sites: list[meters.SiteMeters],
    factors: dict[str, accounts.ZoneFactors],
    period: Interval,
    dispatch_id: str,
    at: datetime,
) -> list[CarbonEntry]:
    """Book the first stock of batteries without a history; return the openings that belong to this closing."""
    batteries = {f"{site.site_id}/{site.names['battery']}": site for site in sites if "battery" in site.names}
    held = queries.opening_entries(chains=batteries, period=period, dispatch_id=dispatch_id)
    drafts = []
    for chain, site in batteries.items():
        if chain in held:
            continue
        soc_ratio = meters.first_state_of_charge(
            site_id=site.site_id, battery=site.names["battery"], at=period.starts_at, ends_at=period.ends_at
        )
        # Full is the assumption that leaves most carbon to account for.
        energy = site.capacity_uwh if soc_ratio is None else round(site.capacity_uwh * soc_ratio)
        basis = "assumed full" if soc_ratio is None else f"read state of charge {soc_ratio}"
        body = bodies.opening_body(energy, basis, factors[site.zone].electricity)
        drafts.append(Draft(chain, bodies.OPENING, period, dispatch_id, body))
    again = [
        entry
        for entry in held.values()
        if entry.kind == bodies.OPENING and entry.period == period and entry.dispatch_id == dispatch_id
    ]
    return [*append_entries(CarbonEntry, drafts, at=at), *again]
