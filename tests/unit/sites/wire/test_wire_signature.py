from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.wire.errors import SignatureInvalid
from sites.wire.signature import HEADER_BYTES, MAGIC, key_id_of, open_envelope, public_key_of, seal

SEED, OTHER_SEED = bytes(range(32)), bytes(range(1, 33))
PUBLIC, OTHER = public_key_of(SEED), public_key_of(OTHER_SEED)


@given(st.binary(max_size=300))
def test_the_body_comes_out_as_it_went_in(body: bytes) -> None:
    assert open_envelope(seal(body, SEED), [OTHER, PUBLIC]) == body


def test_public_key_of_a_published_vector() -> None:
    # RFC 8032, section 7.1, test 1.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert public_key_of(seed).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_layout() -> None:
    envelope = seal(b"body", SEED)
    assert envelope[:4] == MAGIC
    assert envelope[4:12] == key_id_of(PUBLIC)
    assert envelope[HEADER_BYTES:] == b"body"


@given(st.integers(0, HEADER_BYTES + 3), st.integers(1, 255))
def test_any_changed_byte_is_noticed(index: int, change: int) -> None:
    envelope = bytearray(seal(b"body", SEED))
    envelope[index] ^= change
    with pytest.raises(SignatureInvalid):
        open_envelope(bytes(envelope), [PUBLIC])


@given(st.binary(max_size=120))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        open_envelope(data, [PUBLIC])


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(SignatureInvalid, match=key_id_of(PUBLIC).hex()):
        open_envelope(seal(b"body", SEED), [OTHER])


def test_a_key_that_is_no_point_of_the_curve_is_refused() -> None:
    broken = bytes([2]) + bytes(30) + bytes([0x80])
    forged = MAGIC + key_id_of(broken) + bytes(64) + b"body"
    with pytest.raises(SignatureInvalid):
        open_envelope(forged, [broken])


def test_a_seed_of_wrong_length() -> None:
    with pytest.raises(SignatureInvalid, match="accepted: 32"):
        seal(b"body", b"short")
