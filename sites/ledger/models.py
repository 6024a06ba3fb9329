"""The abstract append-only entry of every book, and the register of chain heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from django.db import models

from sites.core.intervals import Interval
from sites.ledger.chain import EntryHeader, link_hash


class Entry(models.Model):
    """One row of a book: never changed, never deleted; a correction is a further, reversing entry.

    A book is one concrete subclass. Its first migration adds
    ``sites.ledger.migration.append_only(table)``.
    """

    chain = models.CharField(max_length=120)
    """``<site id>/<asset>``, or ``fleet/<program>`` for statements."""
    position = models.PositiveBigIntegerField()
    """Counts from 1 in its chain, without a hole."""
    kind = models.CharField(max_length=40)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    dispatch_id = models.CharField(max_length=100, blank=True)
    """Joins the books; empty when the entry belongs to no dispatch."""
    booked_at = models.DateTimeField()
    body = models.TextField()
    """Canonical JSON ``{"facts": {…}, "postings": [{"account", "amount", "unit"}]}``."""
    previous_hash = models.CharField(max_length=64)
    entry_hash = models.CharField(max_length=64)

    class Meta:
        abstract = True
        ordering = ["chain", "position"]
        constraints = [
            models.UniqueConstraint(fields=["chain", "position"], name="%(app_label)s_%(class)s_position"),
            models.UniqueConstraint(
                fields=["chain", "kind", "starts_at", "ends_at", "dispatch_id"], name="%(app_label)s_%(class)s_once"
            ),
        ]
        indexes = [models.Index(fields=["starts_at", "ends_at"], name="%(app_label)s_%(class)s_when")]

    def __str__(self) -> str:
        return f"{self.book_name()} {self.chain} #{self.position}"

    @classmethod
    def book_name(cls) -> str:
        """Return the book's name in headers, heads and reports, such as ``carbon.carbonentry``."""
        return cls._meta.label_lower

    @property
    def period(self) -> Interval:
        """The half-open period the entry is about."""
        return Interval(self.starts_at, self.ends_at)

    def header(self) -> EntryHeader:
        """Return what is hashed besides the body and the hash before it."""
        return EntryHeader(
            book=self.book_name(),
            chain=self.chain,
            position=self.position,
            kind=self.kind,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            dispatch_id=self.dispatch_id,
            booked_at=self.booked_at,
        )

    def computed_hash(self) -> str:
        """Return the hash that this row's own content gives; equal to ``entry_hash`` unless altered."""
        return link_hash(self.previous_hash, self.header(), self.body)

    def recalculated_body(self) -> dict[str, Any] | None:
        """Return the body computed again from metered data; None when the book has no recalculation."""
        return None

    @classmethod
    def recalculated_bodies(cls, entries: Sequence[Self]) -> list[dict[str, Any] | None]:
        """Return ``recalculated_body`` of each; a book may override it to read its meters in batches."""
        return [entry.recalculated_body() for entry in entries]


class ChainHead(models.Model):
    """The last entry of each chain: the lock of an append, and what shows a chain cut at its end."""

    book = models.CharField(max_length=80)
    chain = models.CharField(max_length=120)
    position = models.PositiveBigIntegerField(default=0)
    entry_hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["book", "chain"]
        constraints = [models.UniqueConstraint(fields=["book", "chain"], name="ledger_one_head_per_chain")]

    def __str__(self) -> str:
        return f"{self.book} {self.chain} #{self.position}"
