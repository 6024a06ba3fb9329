"""Pure: canonical JSON, link hash of a chain, RFC 6962 Merkle root.

A book is a set of chains; an entry's hash covers the hash before it, so that a change anywhere
shows in every later entry of its chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sites.core.intervals import require_aware

FIRST_PREVIOUS_HASH: Final = "0" * 64
"""What the first entry of a chain carries as the hash before it."""

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


class BodyInvalid(ValueError):
    """A body with something that has no single exact text, such as a float."""


@dataclass(frozen=True, slots=True)
class EntryHeader:
    """What an entry says about itself besides its body; part of its hash."""

    book: str
    chain: str
    position: int
    """Counts from 1 in its chain, without a hole."""
    kind: str
    starts_at: datetime
    ends_at: datetime
    dispatch_id: str
    booked_at: datetime


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no blanks, UTF-8 not escaped.

    Accepted: dicts with text keys, lists, texts, ints, booleans, null. Raises BodyInvalid naming the
    place of anything else; above all a float, whose text differs between writers: amounts are whole
    numbers or decimal text.

    >>> canonical_json({"b": 1, "a": "0.10"})
    '{"a":"0.10","b":1}'
    """
    _require_exact(value, "body")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def header_json(header: EntryHeader) -> str:
    """Return the canonical text of a header; instants in UTC with six decimals."""
    return canonical_json(
        {
            "book": header.book,
            "booked_at": instant_text(header.booked_at),
            "chain": header.chain,
            "dispatch_id": header.dispatch_id,
            "ends_at": instant_text(header.ends_at),
            "kind": header.kind,
            "position": header.position,
            "starts_at": instant_text(header.starts_at),
        }
    )


def instant_text(at: datetime) -> str:
    """Return an instant as ``2019-08-09T15:52:33.500000Z``; raises IntervalError without a time zone."""
    return require_aware(at).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def link_hash(previous_hash: str, header: EntryHeader, body: str) -> str:
    """Return an entry's SHA-256 [64 hex] over the hash before it, its header and its body.

    The three are separated by a line feed, which canonical JSON never contains, so
    ``printf '%s\\n%s\\n%s' "$previous" "$header" "$body" | sha256sum`` gives the same.
    """
    return hashlib.sha256(f"{previous_hash}\n{header_json(header)}\n{body}".encode()).hexdigest()


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Return the Merkle tree hash [64 hex] of the leaves in their order, as RFC 6962 section 2.1.

    Leaf and node hashes carry different prefixes, so no leaf can pass for a node. The root of no
    leaves is the hash of nothing.

    >>> merkle_root([])
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    if not leaves:
        return hashlib.sha256(b"").hexdigest()
    # Pairing neighbors level by level and carrying an odd last node up unchanged builds the same
    # tree as RFC 6962's split at the largest power of two, without recursion.
    level = [hashlib.sha256(_LEAF + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        paired = [hashlib.sha256(_NODE + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0].hex()


def merkle_root_of_hashes(entry_hashes: Sequence[str]) -> str:
    """Return the Merkle root [64 hex] over entry hashes [64 hex each] in their order."""
    return merkle_root([bytes.fromhex(entry_hash) for entry_hash in entry_hashes])


def differing_paths(booked: object, other: object, path: str = "") -> list[str]:
    """Return where two bodies differ, such as ``facts.energy_uwh``; empty when they are equal."""
    if isinstance(booked, Mapping) and isinstance(other, Mapping):
        found: list[str] = []
        for key in sorted({*booked, *other}):
            inner = f"{path}.{key}" if path else str(key)
            if key not in booked or key not in other:
                found.append(inner)
            else:
                found += differing_paths(booked[key], other[key], inner)
        return found
    if isinstance(booked, list) and isinstance(other, list) and len(booked) == len(other):
        return [
            inner
            for index, (left, right) in enumerate(zip(booked, other, strict=True))
            for inner in differing_paths(left, right, f"{path}[{index}]")
        ]
    # True == 1 in Python, but not in a book.
    return [] if booked == other and type(booked) is type(other) else [path or "body"]


def _require_exact(value: Any, path: str) -> None:
    if value is None or isinstance(value, (bool, int)):
        return
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BodyInvalid(f"{path} is a text that is no UTF-8, accepted: valid Unicode") from error
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise BodyInvalid(f"{path} has the key {key!r}, accepted: text keys")
            _require_exact(key, f"{path} key")
            _require_exact(inner, f"{path}.{key}")
        return
    if isinstance(value, list):
        for index, inner in enumerate(value):
            _require_exact(inner, f"{path}[{index}]")
        return
    raise BodyInvalid(
        f"{path} is the {type(value).__name__} {value!r}, accepted: whole numbers, texts, decimal text such as '0.10'"
    )
