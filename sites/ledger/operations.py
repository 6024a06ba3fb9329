"""Append entries to a book: positions without a hole under concurrency, the same entry only once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import transaction

from sites.core.intervals import Interval, require_aware
from sites.ledger.chain import FIRST_PREVIOUS_HASH, canonical_json, differing_paths
from sites.ledger.models import ChainHead, Entry
from sites.ledger.postings import require_balanced

E = TypeVar("E", bound=Entry)

# SQLite accepts 32,766 parameters in a statement; a few hundred names in one IN are quick on both.
_NAMES_PER_QUERY = 500

_Key = tuple[str, str, datetime, datetime, str]


class EntryConflict(ValueError):
    """The same (chain, kind, period, dispatch id) is already booked with another body."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to append; its position and hashes are given when it is booked."""

    chain: str
    kind: str
    period: Interval
    dispatch_id: str
    body: Mapping[str, Any]
    """``{"postings": [{"account", "unit", "amount"}], "facts": {…}}``, without floats."""

    @property
    def name(self) -> str:
        """What errors call the entry, such as ``settlement DC-1 site-0001/battery``."""
        return " ".join(part for part in (self.kind, self.dispatch_id, self.chain) if part)

    @property
    def key(self) -> _Key:
        """What may be booked only once."""
        starts_at = self.period.starts_at.astimezone(UTC)
        return (self.chain, self.kind, starts_at, self.period.ends_at.astimezone(UTC), self.dispatch_id)


def append_entry(
    model: type[E],
    *,
    chain: str,
    kind: str,
    period: Interval,
    dispatch_id: str = "",
    body: Mapping[str, Any],
    at: datetime,
) -> E:
    """Append one entry to its chain and return it, inside the caller's transaction.

    The same body again returns the held entry. Raises EntryConflict for another body under the same
    (chain, kind, period, dispatch id), EntryUnbalanced, PostingInvalid or BodyInvalid for a bad body.
    """
    return append_entries(model, [Draft(chain, kind, period, dispatch_id, body)], at=at)[0]


def append_entries(model: type[E], drafts: Sequence[Draft], *, at: datetime) -> list[E]:
    """Append entries, all or none, and return them in the drafts' order; idempotent per draft.

    Entries of one chain get their positions in the drafts' order. Writers of the same chain wait for
    each other: the chain's head row is locked (PostgreSQL) or the database has one writer (SQLite).
    """
    require_aware(at)
    for draft in drafts:
        require_balanced(draft.body, draft.name)
    bodies = [canonical_json(draft.body) for draft in drafts]
    book = model.book_name()
    with transaction.atomic():
        heads = _locked_heads(book, sorted({draft.chain for draft in drafts}))
        held = _held_entries(model, drafts)
        new: list[E] = []
        result: list[E] = []
        for draft, body in zip(drafts, bodies, strict=True):
            entry = held.get(draft.key)
            if entry is None:
                entry = _linked(model, heads[draft.chain], draft, body, at)
                held[draft.key] = entry
                new.append(entry)
            elif entry.body != body:
                raise EntryConflict(_conflict(draft, entry, body))
            result.append(entry)
        if new:
            model._default_manager.bulk_create(new, batch_size=1000)
            moved = [heads[chain] for chain in sorted({entry.chain for entry in new})]
            ChainHead.objects.bulk_create(
                moved,
                batch_size=1000,
                update_conflicts=True,
                unique_fields=["book", "chain"],
                update_fields=["position", "entry_hash"],
            )
    return result


def _locked_heads(book: str, chains: Sequence[str]) -> dict[str, ChainHead]:
    # Insert first, then lock in one order: a first writer's insert makes a second one wait, and two
    # writers of the same chains cannot lock them crosswise.
    heads: dict[str, ChainHead] = {}
    for names in _chunks(chains):
        known = set(ChainHead.objects.filter(book=book, chain__in=names).values_list("chain", flat=True))
        missing = [
            ChainHead(book=book, chain=name, entry_hash=FIRST_PREVIOUS_HASH) for name in names if name not in known
        ]
        if missing:
            ChainHead.objects.bulk_create(missing, ignore_conflicts=True)
        locked = ChainHead.objects.select_for_update().filter(book=book, chain__in=names).order_by("chain")
        heads.update({head.chain: head for head in locked})
    return heads


def _held_entries(model: type[E], drafts: Sequence[Draft]) -> dict[_Key, E]:
    wanted = {draft.key for draft in drafts}
    starts = sorted({key[2] for key in wanted})
    held: dict[_Key, E] = {}
    for names in _chunks(sorted({draft.chain for draft in drafts})):
        rows = model._default_manager.filter(chain__in=names, starts_at__gte=starts[0], starts_at__lte=starts[-1])
        for row in rows.iterator(chunk_size=2000):
            key = (row.chain, row.kind, row.starts_at, row.ends_at, row.dispatch_id)
            if key in wanted:
                held[key] = row
    return held


def _linked(model: type[E], head: ChainHead, draft: Draft, body: str, at: datetime) -> E:
    entry = model(
        chain=draft.chain,
        position=head.position + 1,
        kind=draft.kind,
        starts_at=draft.period.starts_at,
        ends_at=draft.period.ends_at,
        dispatch_id=draft.dispatch_id,
        booked_at=at,
        body=body,
        previous_hash=head.entry_hash,
    )
    entry.full_clean(exclude=["entry_hash"], validate_unique=False, validate_constraints=False)
    entry.entry_hash = entry.computed_hash()
    head.position, head.entry_hash = entry.position, entry.entry_hash
    return entry


def _conflict(draft: Draft, held: Entry, body: str) -> str:
    places = differing_paths(json.loads(held.body), json.loads(body))
    return (
        f"Entry {draft.name!r} from {draft.period.starts_at.isoformat()} is already booked at position "
        f"{held.position} with another body; it differs at {', '.join(places[:5])}"
    )


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _NAMES_PER_QUERY):
        yield names[start : start + _NAMES_PER_QUERY]
