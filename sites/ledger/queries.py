"""Reads of the books: one chain, the entries of a period, their Merkle root, a book's root."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TypeVar

from django.apps import apps
from django.db.models import QuerySet

from sites.core.intervals import Interval
from sites.ledger.chain import merkle_root_of_hashes
from sites.ledger.models import ChainHead, Entry

E = TypeVar("E", bound=Entry)


def books() -> list[type[Entry]]:
    """Return every concrete book that is installed, by name."""
    found = [model for model in apps.get_models() if issubclass(model, Entry)]
    return sorted(found, key=lambda model: model.book_name())


def chain_entries(model: type[E], *, chain: str) -> QuerySet[E]:
    """Return one chain in its order."""
    return model._default_manager.filter(chain=chain).order_by("position")


def period_entries(model: type[E], *, period: Interval, kind: str = "", dispatch_id: str | None = None) -> QuerySet[E]:
    """Return the entries whose period lies wholly inside this one, by chain and position."""
    entries = model._default_manager.filter(starts_at__gte=period.starts_at, ends_at__lte=period.ends_at)
    if kind:
        entries = entries.filter(kind=kind)
    if dispatch_id is not None:
        entries = entries.filter(dispatch_id=dispatch_id)
    return entries.order_by("chain", "position")


def merkle_root_of(entries: QuerySet[E]) -> str:
    """Return the RFC 6962 root [64 hex] over the entries' hashes in the query's order."""
    return merkle_root_of_hashes(list(entries.values_list("entry_hash", flat=True)))


def book_root(model: type[Entry]) -> str:
    """Return the RFC 6962 root [64 hex] over the heads of all chains of a book, by chain.

    It fixes the whole book: printed, signed or mailed to a verifier it is the anchor outside the
    operator's control. Raises ValueError when a head is no hash.
    """
    heads = ChainHead.objects.filter(book=model.book_name(), position__gt=0).order_by("chain")
    return merkle_root_of_hashes(list(heads.values_list("entry_hash", flat=True)))


def grouped_chains(model: type[E], *, chunk_size: int = 2000) -> Iterator[tuple[str, Iterator[E]]]:
    """Yield every chain of a book with an iterator over its entries in order; one pass, little memory."""
    rows = model._default_manager.order_by("chain", "position", "pk").iterator(chunk_size=chunk_size)
    yield from groupby(rows, key=lambda row: row.chain)
