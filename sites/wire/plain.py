"""The short way for live messages that keep to their birth: values by position, no object for each metric."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from sites.wire.errors import WireError
from sites.wire.judging import judged
from sites.wire.metrics import MetricDeclaration, MetricType
from sites.wire.payload import MAX_METRICS, Value, decode_metric
from sites.wire.schema import FlatPayloadMessage

MAX_REMEMBERED: Final = 512
"""Encodings of texts, switches and counts kept for each birth table."""
MAX_REMEMBERED_BYTES: Final = 64

_ALIAS_TAG: Final = 0x10
_DOUBLE_TAG: Final = 0x69
_DOUBLE_BYTES: Final = 11
"""Tag and alias below 128, tag and eight bytes of a double."""
_PLAIN_TYPES: Final = frozenset(
    {
        MetricType.BOOLEAN, MetricType.STRING, MetricType.DOUBLE, MetricType.FLOAT, MetricType.INT8, MetricType.INT16,
        MetricType.INT32, MetricType.INT64, MetricType.UINT8, MetricType.UINT16, MetricType.UINT32, MetricType.UINT64,
    }
)  # fmt: skip
_double = struct.Struct("<d").unpack_from


@dataclass(frozen=True, slots=True)
class PlainData:
    """Live values of a node or device, all of one instant and none of a numbered stream."""

    site_id: str
    device: str | None
    at_ms: int
    names: tuple[str, ...]
    values: tuple[Value, ...]
    """In the order of the names; None: the site says that it does not know."""


class PlainReader:
    """Reads the metrics of one birth table that consist of alias and value alone.

    A double of eight bytes behind its alias is recognized by its first three bytes; other values, few of which
    ever change (a mode, a switch, a count), by all of theirs, once they were read and judged in full.
    """

    def __init__(self, by_alias: Mapping[int, MetricDeclaration | None]) -> None:
        self._by_alias = by_alias
        self._remembered: dict[bytes, tuple[str, Value]] = {}
        self._shapes: set[tuple[str, ...]] = set()
        self._doubles: dict[bytes, tuple[str, float, float]] = {
            bytes((_ALIAS_TAG, alias, _DOUBLE_TAG)): (declared.name, declared.low, declared.high)
            for alias, declared in by_alias.items()
            # Alias 0 is what a forgotten field reads as; from 128 on an alias takes more bytes.
            if declared is not None
            and "/" not in declared.name
            and 0 < alias < 128
            and declared.type is MetricType.DOUBLE
            and declared.low is not None
            and declared.high is not None
        }

    def read(self, metrics: list[bytes]) -> tuple[tuple[str, ...], tuple[Value, ...]] | None:
        """Return names and accepted values, or None when a metric needs to be looked at more closely."""
        names: list[str] = []
        values: list[Value] = []
        doubles, remembered = self._doubles, self._remembered
        for data in metrics:
            double = doubles.get(data[:3])
            if double is not None and len(data) == _DOUBLE_BYTES:
                name, low, high = double
                value: Value = _double(data, 3)[0]
                # Not-a-number compares false with everything.
                if not low <= value <= high:  # type: ignore[operator]
                    return None
            else:
                known = remembered.get(data) or self._learn(data)
                if known is None:
                    return None
                name, value = known
            names.append(name)
            values.append(value)
        shape = tuple(names)
        return (shape, tuple(values)) if shape in self._shapes or self._is_new_shape(shape) else None

    def _is_new_shape(self, shape: tuple[str, ...]) -> bool:
        """Remember which metrics come together; False when one comes twice, of which only the last counts."""
        if len(set(shape)) != len(shape):
            return False
        if len(self._shapes) < MAX_REMEMBERED:
            self._shapes.add(shape)
        return True

    def _learn(self, data: bytes) -> tuple[str, Value] | None:
        """Read one metric in full; None unless it is an accepted live value by alias without a time of its own."""
        try:
            metric = decode_metric(data)
            declared = self._by_alias.get(metric.alias) if metric.alias else None
            if (
                declared is None
                or declared.type not in _PLAIN_TYPES
                # Rows of numbered streams and what a node says of itself: not live values.
                or "/" in declared.name
                or metric.name is not None
                or metric.timestamp_ms is not None
                or metric.is_historical
            ):
                return None
            known = (declared.name, judged(metric, declared, at_ms=0, latest_ms=0).value)
        except WireError:
            return None
        if len(data) <= MAX_REMEMBERED_BYTES and len(self._remembered) < MAX_REMEMBERED:
            self._remembered[data] = known
        return known


def flat(payload: bytes) -> tuple[int, int, list[bytes]] | None:
    """Return (timestamp, seq, metrics' bytes) of a payload that has both; None for any other."""
    message = FlatPayloadMessage()
    try:
        message.ParseFromString(payload)
    except (DecodeError, ValueError):
        return None
    at_ms, seq, metrics = message.timestamp, message.seq, message.metrics
    if at_ms == 0 or (seq == 0 and not message.HasField("seq")) or seq > 255 or not 0 < len(metrics) <= MAX_METRICS:
        return None
    return at_ms, seq, list(metrics)
