"""Each site gets the first of our keys that it takes; one that never told its keys gets the oldest."""

from __future__ import annotations

import pytest

from sites.wire.signature import key_id_of, public_key_of
from vpp.dispatch.signing import Signers

NEWEST, NEW, OLD, STRANGE = (bytes([number]) * 32 for number in range(1, 5))


def id_of(seed: bytes) -> str:
    return key_id_of(public_key_of(seed)).hex()


@pytest.mark.parametrize(
    ("told", "signs"),
    [
        (None, OLD),
        ([OLD], OLD),
        ([OLD, NEW], NEW),
        ([OLD, NEW, NEWEST], NEWEST),
        ([STRANGE, NEW], NEW),
        ([STRANGE], NEWEST),
        ([], NEWEST),
    ],
)
def test_by_what_the_site_told(told: list[bytes] | None, signs: bytes) -> None:
    signers = Signers([NEWEST, NEW, OLD])
    if told is not None:
        signers.note("site-1", ",".join(map(id_of, told)))
    assert signers.of("site-1").key_id.hex() == id_of(signs)
    assert signers.is_replacing


def test_its_last_word_counts() -> None:
    signers = Signers([NEW, OLD])
    signers.note("site-1", id_of(NEW))
    signers.note("site-1", id_of(OLD))
    assert signers.of("site-1").key_id.hex() == id_of(OLD)


def test_one_key_signs_for_all() -> None:
    signers = Signers([OLD])
    signers.note("site-1", id_of(STRANGE))
    assert not signers.is_replacing
    assert {signers.of(site).key_id.hex() for site in ("site-1", "site-2")} == {id_of(OLD)}
