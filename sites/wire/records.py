"""Sampled records in a bytes metric: zlib over little-endian float32, row by row."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.wire.errors import SamplesMalformed

SampleArray = npt.NDArray[np.float32]
MAX_RECORD_BYTES: Final = 8_000_000
"""Default limit of an unpacked record [bytes]; half a second of 15 channels at 10 kHz has 300 kB."""
# Noisy floats hardly shrink further above this level, and it is three times as fast as the default.
_LEVEL: Final = 2


def pack_samples(samples: npt.ArrayLike) -> bytes:
    """Return samples of shape [n, columns] as compressed bytes; anything else raises SamplesMalformed."""
    array = np.asarray(samples, dtype="<f4")
    if array.ndim != 2 or array.shape[1] == 0:
        raise SamplesMalformed(f"samples have shape {array.shape}, accepted: [n, columns]")
    return zlib.compress(np.ascontiguousarray(array).tobytes(), _LEVEL)


def unpack_samples(data: bytes, columns: int, max_bytes: int = MAX_RECORD_BYTES) -> SampleArray:
    """Return compressed bytes as float32 of shape [n, columns]; NaN marks a missing sample.

    Unpacking stops at ``max_bytes``, so that a few bytes cannot fill the memory. Raises
    SamplesMalformed naming what was wrong.
    """
    if columns < 1:
        raise SamplesMalformed(f"columns is {columns}, accepted: at least 1")
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise SamplesMalformed(f"samples do not unpack: {error}") from None
    if len(raw) > max_bytes:
        raise SamplesMalformed(f"samples unpack to more than {max_bytes} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise SamplesMalformed("samples are cut short or have bytes behind their end")
    if len(raw) % (4 * columns):
        raise SamplesMalformed(f"samples have {len(raw)} bytes, accepted: a multiple of {4 * columns}")
    return np.frombuffer(raw, dtype="<f4").reshape(-1, columns).astype(np.float32)
