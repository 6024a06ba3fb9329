from __future__ import annotations

import contextlib
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.wire.errors import SamplesMalformed
from sites.wire.records import pack_samples, unpack_samples


@given(st.integers(0, 40), st.integers(1, 15), st.integers(0, 2**32 - 1))
def test_samples_come_back_bit_by_bit(rows: int, columns: int, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    back = unpack_samples(pack_samples(samples), columns)
    assert back.dtype == np.float32
    assert np.array_equal(back, samples)


def test_a_missing_sample_stays_missing() -> None:
    assert np.isnan(unpack_samples(pack_samples(np.array([[np.nan, 1.0]])), 2)[0, 0])


def test_bytes_are_little_endian_float32_row_by_row() -> None:
    packed = pack_samples(np.array([[1.0, 2.0], [3.0, 4.0]], dtype=">f8"))
    assert zlib.decompress(packed) == np.array([1, 2, 3, 4], "<f4").tobytes()


def test_a_small_packet_cannot_fill_the_memory() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    assert len(bomb) < 60_000
    with pytest.raises(SamplesMalformed, match="more than 1000 bytes"):
        unpack_samples(bomb, 1, 1000)


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (b"", 1),
        (b"no zlib", 1),
        (zlib.compress(bytes(24))[:-3], 1),
        (zlib.compress(bytes(24)) + b"x", 1),
        (zlib.compress(bytes(24)), 4),
        (zlib.compress(bytes(23)), 1),
        (zlib.compress(bytes(24)), 0),
    ],
)
def test_what_does_not_unpack_to_the_columns_is_refused(data: bytes, columns: int) -> None:
    with pytest.raises(SamplesMalformed):
        unpack_samples(data, columns)


@given(st.binary(max_size=100), st.integers(1, 5))
def test_random_bytes_raise_named_errors_only(data: bytes, columns: int) -> None:
    with contextlib.suppress(SamplesMalformed):
        unpack_samples(data, columns, 1000)


@pytest.mark.parametrize("shape", [(3,), (3, 0), (1, 2, 3)])
def test_only_tables_are_packed(shape: tuple[int, ...]) -> None:
    with pytest.raises(SamplesMalformed, match="accepted"):
        pack_samples(np.zeros(shape))
