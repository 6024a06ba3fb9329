"""Commands that carry one sealed envelope, encoded without an object for each: a fleet is armed by many at once."""

from __future__ import annotations

from functools import cache
from typing import Final

from sites.wire.metrics import MetricType

_TIMESTAMP_TAG: Final = b"\x08"
_METRIC_TAG: Final = b"\x12"
_NAME_TAG: Final = b"\x0a"
_DATATYPE_TAG: Final = b"\x20"
_BYTES_VALUE_TAG: Final = b"\x82\x01"


def sealed_command(name: str, envelope: bytes, *, now_ms: int) -> bytes:
    """Return the payload of a command of type Bytes: the same bytes as ``encode_payload`` of the one metric."""
    value = _head(name) + varint(len(envelope)) + envelope
    return _TIMESTAMP_TAG + varint(now_ms) + _METRIC_TAG + varint(len(value)) + value


@cache
def _head(name: str) -> bytes:
    """Return what stands before the value: name and type."""
    text = name.encode()
    return _NAME_TAG + varint(len(text)) + text + _DATATYPE_TAG + varint(int(MetricType.BYTES)) + _BYTES_VALUE_TAG


def varint(number: int) -> bytes:
    """Return a whole number from 0 as protobuf writes it."""
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
