"""Array types of Sparkplug B: little-endian values packed into one bytes field."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from sites.wire.errors import MetricTypeMismatch
from sites.wire.metrics import MetricType

_CODES: Final = {
    MetricType.INT8_ARRAY: "b",
    MetricType.INT16_ARRAY: "h",
    MetricType.INT32_ARRAY: "i",
    MetricType.INT64_ARRAY: "q",
    MetricType.UINT8_ARRAY: "B",
    MetricType.UINT16_ARRAY: "H",
    MetricType.UINT32_ARRAY: "I",
    MetricType.UINT64_ARRAY: "Q",
    MetricType.FLOAT_ARRAY: "f",
    MetricType.DOUBLE_ARRAY: "d",
    MetricType.DATETIME_ARRAY: "Q",
}
ARRAY_TYPES: Final = frozenset({*_CODES, MetricType.BOOLEAN_ARRAY, MetricType.STRING_ARRAY})


def pack_array(kind: MetricType, values: Sequence[Any]) -> bytes:
    """Return an array's bytes; raise MetricTypeMismatch when a value does not fit the type."""
    try:
        if kind is MetricType.BOOLEAN_ARRAY:
            # A count, then eight to a byte, first value in the highest bit.
            bits = bytearray((len(values) + 7) // 8)
            for index, value in enumerate(values):
                bits[index // 8] |= bool(value) << (7 - index % 8)
            return struct.pack("<I", len(values)) + bytes(bits)
        if kind is MetricType.STRING_ARRAY:
            if any("\0" in value for value in values):
                raise MetricTypeMismatch("a text in a StringArray holds a zero byte, which ends a text there")
            return b"".join(value.encode() + b"\0" for value in values)
        return struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
    except (struct.error, TypeError, AttributeError, OverflowError, UnicodeEncodeError) as error:
        raise MetricTypeMismatch(f"values do not fit {kind.name}: {error}") from None


def unpack_array(kind: MetricType, data: bytes) -> list[Any]:
    """Return an array's values; raise MetricTypeMismatch when the bytes are no such array."""
    if kind is MetricType.BOOLEAN_ARRAY:
        if len(data) < 4 or len(data) != 4 + (int.from_bytes(data[:4], "little") + 7) // 8:
            raise MetricTypeMismatch(f"BooleanArray has {len(data)} bytes, accepted: 4 and one for each 8 values")
        count = int.from_bytes(data[:4], "little")
        return [bool(data[4 + index // 8] >> (7 - index % 8) & 1) for index in range(count)]
    if kind is MetricType.STRING_ARRAY:
        if data and data[-1] != 0:
            raise MetricTypeMismatch("StringArray does not end with a zero byte")
        try:
            return [part.decode() for part in data.split(b"\0")[:-1]]
        except UnicodeDecodeError:
            raise MetricTypeMismatch("StringArray is not UTF-8") from None
    size = struct.calcsize(f"<{_CODES[kind]}")
    if len(data) % size:
        raise MetricTypeMismatch(f"{kind.name} has {len(data)} bytes, accepted: a multiple of {size}")
    return list(struct.unpack(f"<{len(data) // size}{_CODES[kind]}", data))
