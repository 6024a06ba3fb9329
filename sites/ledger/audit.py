"""Re-add every book: hashes, links, positions, sums, recalculation from meters; names each faulty row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from django.db import transaction

from sites.ledger import queries
from sites.ledger.chain import FIRST_PREVIOUS_HASH, BodyInvalid, canonical_json, differing_paths, link_hash
from sites.ledger.migration import is_protected
from sites.ledger.models import ChainHead, Entry
from sites.ledger.postings import PostingInvalid, imbalance

_BATCH = 1000
_MERKLE_PATH = "facts.merkle_root"
# What computing from tampered rows may meet: texts that are no number, keys that are gone.
_COMPUTING_ERRORS = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError)


class What(StrEnum):
    """What is wrong with a row."""

    ALTERED = "altered"
    """Its content does not give its hash."""
    HOLE = "hole"
    """The row at this position is missing."""
    REORDERED = "reordered"
    """It was booked at another position of its chain, or its position is there twice."""
    RELINKED = "relinked"
    """The hash before it is not the hash of the row before it."""
    UNBALANCED = "unbalanced"
    """Its postings do not add up to zero in every unit, or are of another form."""
    RECALCULATION_DIFFERS = "recalculation_differs"
    """The meters give another body."""
    MERKLE_ROOT_DIFFERS = "merkle_root_differs"
    """A statement's root is not the root of the entries it covers."""
    HEAD_DIFFERS = "head_differs"
    """The chain does not end where the register of heads says: cut at its end, or rewritten."""
    UNPROTECTED = "unprotected"
    """The book's table accepts UPDATE or DELETE."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One faulty row, by book, chain and position."""

    book: str
    chain: str
    position: int
    what: What
    detail: str

    def __str__(self) -> str:
        return f"{self.book} {self.chain} #{self.position}: {self.what}: {self.detail}"


@dataclass(frozen=True, slots=True)
class BookReport:
    """What was walked in one book."""

    book: str
    chains: int
    entries: int
    recalculated: int
    """Entries computed again from metered data."""
    root: str
    """Merkle root over the chain heads [64 hex]."""
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The result over all books."""

    books: tuple[BookReport, ...]

    @property
    def faults(self) -> list[Fault]:
        """All faults, book by book."""
        return [fault for book in self.books for fault in book.faults]

    @property
    def verified(self) -> bool:
        """True when no row of any book is faulty."""
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "verified": self.verified,
            "entries": sum(book.entries for book in self.books),
            "books": [{**asdict(book), "faults": len(book.faults)} for book in self.books],
            "faults": [asdict(fault) for fault in self.faults],
        }


def books_audit(models: Iterable[type[Entry]] | None = None) -> AuditReport:
    """Walk every entry of the books (all installed ones by default) and report what is faulty.

    Reads in one transaction; writes nothing. It finds what was changed after booking; that the meter
    told the truth it cannot find.
    """
    chosen = queries.books() if models is None else models
    with transaction.atomic():
        return AuditReport(tuple(_book_report(model) for model in chosen))


def _book_report(model: type[Entry]) -> BookReport:
    book = model.book_name()
    heads = {head.chain: head for head in ChainHead.objects.filter(book=book)}
    faults: list[Fault] = []
    counts: Counter[str] = Counter()
    if not is_protected(model._meta.db_table):
        faults.append(Fault(book, "", 0, What.UNPROTECTED, f"table {model._meta.db_table} lacks its triggers"))
    batch: list[Entry] = []
    for chain, rows in queries.grouped_chains(model):
        counts["chains"] += 1
        last: Entry | None = None
        for entry in rows:
            counts["entries"] += 1
            found = list(_row_faults(entry, last))
            faults += found
            # An altered row is named already; its content may be anything, so nothing is computed from it.
            if not any(fault.what in {What.ALTERED, What.UNBALANCED} for fault in found):
                batch.append(entry)
            last = entry
            if len(batch) == _BATCH:
                faults += _recalculation_faults(model, batch, counts)
                batch = []
        assert last is not None  # noqa: S101 - groupby yields no empty group
        faults += _head_faults(book, chain, heads.pop(chain, None), last)
    faults += _recalculation_faults(model, batch, counts)
    for chain, head in heads.items():
        if head.position:
            faults.append(
                Fault(book, chain, head.position, What.HEAD_DIFFERS, f"{head.position} entries booked, none left")
            )
    try:
        root = queries.book_root(model)
    except ValueError:
        root = ""  # a head is no hash; it is named by its chain
    return BookReport(book, counts["chains"], counts["entries"], counts["recalculated"], root, tuple(faults))


def _row_faults(entry: Entry, last: Entry | None) -> Iterator[Fault]:
    def fault(what: What, detail: str) -> Fault:
        return Fault(entry.book_name(), entry.chain, entry.position, what, detail)

    expected = 1 if last is None else last.position + 1
    previous_hash = FIRST_PREVIOUS_HASH if last is None else last.entry_hash
    if entry.position < expected:
        yield fault(What.REORDERED, f"position {entry.position} after position {expected - 1}")
    elif entry.position > expected:
        gap = f"{expected}" if entry.position == expected + 1 else f"{expected} to {entry.position - 1}"
        yield replace(fault(What.HOLE, f"no entry at position {gap}"), position=expected)
    elif entry.previous_hash != previous_hash:
        yield fault(
            What.RELINKED,
            f"hash before it is {entry.previous_hash[:12]}…, entry {expected - 1} has {previous_hash[:12]}…",
        )
    if entry.computed_hash() != entry.entry_hash:
        original = _original_position(entry)
        if original is not None:
            yield fault(What.REORDERED, f"was booked at position {original}")
        else:
            yield fault(What.ALTERED, f"content gives {entry.computed_hash()[:12]}…, booked {entry.entry_hash[:12]}…")
    yield from (fault(what, detail) for what, detail in _body_faults(entry))


def _original_position(entry: Entry) -> int | None:
    """Return the position under which this row's hash fits, when only its position was changed."""
    before = (
        type(entry)
        ._default_manager.filter(chain=entry.chain, entry_hash=entry.previous_hash)
        .values_list("position", flat=True)
    )
    # The row before it may have moved too, so its neighborhood is tried as well as every position
    # of a short chain; a long chain's swapped rows lie among its first or near each other.
    near = {position + 1 for position in before} | set(range(max(1, entry.position - 500), entry.position + 501))
    for position in sorted(near - {entry.position}):
        if link_hash(entry.previous_hash, replace(entry.header(), position=position), entry.body) == entry.entry_hash:
            return position
    return None


def _body_faults(entry: Entry) -> Iterator[tuple[What, str]]:
    try:
        body = json.loads(entry.body)
        if canonical_json(body) != entry.body:
            yield What.ALTERED, "body is not canonical JSON"
        off = imbalance(body["postings"], entry.kind)
    except BodyInvalid as error:
        yield What.ALTERED, str(error)
    except (PostingInvalid, KeyError, TypeError) as error:
        yield What.UNBALANCED, f"postings cannot be added: {error}"
    except json.JSONDecodeError as error:
        yield What.ALTERED, f"body is no JSON: {error}"
    else:
        if off:
            yield What.UNBALANCED, f"is off by {off}; every unit must add up to zero"


def _head_faults(book: str, chain: str, head: ChainHead | None, last: Entry) -> Iterator[Fault]:
    if head is None:
        yield Fault(book, chain, last.position, What.HEAD_DIFFERS, "chain has no registered head")
    elif head.position > last.position:
        gap = f"positions {last.position + 1} to {head.position} are missing at the chain's end"
        yield Fault(book, chain, last.position + 1, What.HOLE, gap)
    elif (head.position, head.entry_hash) != (last.position, last.entry_hash):
        detail = f"registered head is #{head.position} {head.entry_hash[:12]}…, chain ends in {last.entry_hash[:12]}…"
        yield Fault(book, chain, last.position, What.HEAD_DIFFERS, detail)


def _recalculation_faults(model: type[Entry], batch: list[Entry], counts: Counter[str]) -> Iterator[Fault]:
    if not batch:
        return
    try:
        recalculated: list[dict[str, Any] | Exception | None] = [*model.recalculated_bodies(batch)]
    except _COMPUTING_ERRORS:
        # One row's broken evidence must not hide the others' results.
        recalculated = [_recalculated_alone(entry) for entry in batch]
    for entry, body in zip(batch, recalculated, strict=True):
        if isinstance(body, Exception):
            detail = f"cannot be computed again: {type(body).__name__}: {body}"
            yield Fault(entry.book_name(), entry.chain, entry.position, What.RECALCULATION_DIFFERS, detail)
            continue
        if body is None:
            continue
        counts["recalculated"] += 1
        # Through the canonical text, so that both sides are plain JSON values.
        places = differing_paths(json.loads(entry.body), json.loads(canonical_json(body)))
        if places:
            what = What.MERKLE_ROOT_DIFFERS if _MERKLE_PATH in places else What.RECALCULATION_DIFFERS
            yield Fault(entry.book_name(), entry.chain, entry.position, what, f"differs at {', '.join(places[:5])}")


def _recalculated_alone(entry: Entry) -> dict[str, Any] | Exception | None:
    try:
        return type(entry).recalculated_bodies([entry])[0]
    except _COMPUTING_ERRORS as error:
        return error
