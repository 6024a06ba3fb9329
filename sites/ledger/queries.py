"""Reads of the books: which there are, all chains of one, Merkle roots of entries and of a book."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TypeVar

from django.apps import apps
from django.db.models import QuerySet

from sites.ledger.chain import merkle_root_of_hashes
from sites.ledger.models import ChainHead, Entry

E = TypeVar("E", bound=Entry)


def books() -> list[type[Entry]]:
    """Return every concrete book that is installed, by name."""
    found = [model for model in apps.get_models() if issubclass(model, Entry)]
    return sorted(found, key=lambda model: model.book_name())


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
