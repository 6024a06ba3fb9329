"""The carbon book: whole micrograms and micro-watt-hours, no money."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from carbon import accounts
from carbon.core import bodies as core
from carbon.core.inventory import Pool
from sites.core.intervals import Interval
from sites.ledger.chain import merkle_root_of_hashes
from sites.ledger.models import Entry

_NAMES_PER_QUERY = 500


class CarbonEntry(Entry):
    """One asset's carbon in one period, or the fleet's statement over the entries of a period."""

    class Meta(Entry.Meta):
        verbose_name_plural = "carbon entries"

    def content(self) -> dict[str, Any]:
        """Return the body as values: postings and facts."""
        content: dict[str, Any] = json.loads(self.body)
        return content

    def facts(self) -> dict[str, Any]:
        """Return what the entry was computed from."""
        facts: dict[str, Any] = self.content()["facts"]
        return facts

    def closing_pools(self) -> tuple[Pool, Pool]:
        """Return the pools (own use, service) after an ``opening`` or ``inventory`` entry."""
        facts = self.facts()
        return Pool(**facts["closing_own"]), Pool(**facts["closing_service"])

    def recalculated_body(self) -> dict[str, Any] | None:
        """Return the body computed again from the meter book, or a statement from its entries."""
        return self.recalculated_bodies([self])[0]

    @classmethod
    def recalculated_bodies(cls, entries: Sequence[CarbonEntry]) -> list[dict[str, Any] | None]:
        """Return every body computed again; the meter book is read once per period."""
        periods: dict[tuple[datetime, datetime, str], set[str]] = defaultdict(set)
        for entry in entries:
            if entry.chain != core.STATEMENT_CHAIN:
                periods[entry.starts_at, entry.ends_at, entry.dispatch_id].add(entry.chain.partition("/")[0])
        computed = {
            key: accounts.recalculated_bodies(
                period=Interval(key[0], key[1]),
                openings={
                    chain: row.closing_pools()
                    for chain, row in cls.before_inventory(
                        starts_at=key[0], ends_at=key[1], dispatch_id=key[2], site_ids=site_ids
                    ).items()
                },
                site_ids=site_ids,
            )
            for key, site_ids in periods.items()
        }
        result: list[dict[str, Any] | None] = []
        for entry in entries:
            if entry.kind == core.STATEMENT:
                result.append(entry._recalculated_statement())
            elif entry.kind == core.OPENING:
                result.append(accounts.recalculated_opening(entry.chain, entry.starts_at, entry.facts()))
            else:
                found = computed[entry.starts_at, entry.ends_at, entry.dispatch_id]
                # A row that the meters no longer give is different from what is booked, not unknown.
                result.append(found.get((entry.chain, entry.kind), {"postings": [], "facts": {}}))
        return result

    @classmethod
    def before_inventory(
        cls, *, starts_at: datetime, ends_at: datetime, dispatch_id: str, site_ids: Collection[str] | None = None
    ) -> dict[str, CarbonEntry]:
        """Return, by battery chain, the entry just before the chain's inventory entry of a closing."""
        inventory = cls.objects.filter(
            kind=core.INVENTORY, starts_at=starts_at, ends_at=ends_at, dispatch_id=dispatch_id
        ).values_list("chain", "position")
        return cls.at_positions(
            {
                chain: position - 1
                for chain, position in inventory
                if site_ids is None or chain.partition("/")[0] in site_ids
            }
        )

    @classmethod
    def at_positions(cls, positions: Mapping[str, int]) -> dict[str, CarbonEntry]:
        """Return one entry of each chain, by its position there."""
        found: dict[str, CarbonEntry] = {}
        chains = sorted(positions)
        for start in range(0, len(chains), _NAMES_PER_QUERY):
            names = chains[start : start + _NAMES_PER_QUERY]
            rows = cls.objects.filter(chain__in=names, position__in={positions[name] for name in names})
            found |= {row.chain: row for row in rows if positions[row.chain] == row.position}
        return found

    def _recalculated_statement(self) -> dict[str, Any]:
        rows = list(
            CarbonEntry.objects.filter(starts_at=self.starts_at, ends_at=self.ends_at, dispatch_id=self.dispatch_id)
            .exclude(chain=core.STATEMENT_CHAIN)
            .order_by("chain", "position")
        )
        # Declared, not computable from the period's entries.
        held = self.facts()
        return core.statement_body(
            (json.loads(row.body) for row in rows),
            entries=len(rows),
            sites=len({row.chain.partition("/")[0] for row in rows}),
            merkle_root=merkle_root_of_hashes([row.entry_hash for row in rows]),
            gaps=held.get("gaps_allowed", False),
            unbooked_s=held.get("unbooked_before_s", 0),
            left_out=held.get("left_out", ()),
        )
