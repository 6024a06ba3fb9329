"""Payloads of Sparkplug B to bytes and back, every value checked against its type."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError, EncodeError

from sites.wire.arrays import ARRAY_TYPES, pack_array, unpack_array
from sites.wire.errors import (
    DatasetUnsupported,
    MetricTypeMismatch,
    MetricUnknown,
    PayloadMalformed,
    PayloadTooLarge,
    TemplateUnsupported,
    ValueOutOfRange,
    WireError,
)
from sites.wire.metrics import MetricType
from sites.wire.schema import MetricMessage, PayloadMessage

MAX_METRICS: Final = 4096
"""Most metrics of one payload; a megabyte could otherwise hold half a million empty ones."""

Value = bool | int | float | str | bytes | list[Any] | None


@dataclass(slots=True)
class Metric:
    """One metric of a payload. Births carry name and alias, data one of the two."""

    name: str | None = None
    alias: int | None = None
    type: MetricType | None = None
    """None in a decoded metric that left its type to its birth; ``typed_value`` then reads it."""
    value: Value = None
    """None is Sparkplug's null: no value is known."""
    timestamp_ms: int | None = None
    """None: the payload's."""
    is_historical: bool = False
    properties: dict[str, Value] = field(default_factory=dict)
    wire_field: str = field(default="", compare=False, repr=False)
    """Field that held the value of a metric without a type."""


@dataclass(slots=True)
class Payload:
    """One message's content."""

    timestamp_ms: int | None
    seq: int | None
    """0 to 255; None in deaths of a node and in commands."""
    metrics: list[Metric]


def encode_payload(payload: Payload) -> bytes:
    """Return a payload's bytes.

    A metric's type goes along with its name; a metric by alias alone leaves it to its birth, as the
    standard wants. Raises MetricTypeMismatch or ValueOutOfRange naming the metric.
    """
    message = PayloadMessage()
    try:
        if payload.timestamp_ms is not None:
            message.timestamp = payload.timestamp_ms
        if payload.seq is not None:
            message.seq = payload.seq
        for metric in payload.metrics:
            _fill(message.metrics.add(), metric)
        data: bytes = message.SerializeToString()
    except (ValueError, TypeError, EncodeError) as error:
        raise PayloadMalformed(f"payload cannot be encoded: {error}") from None
    return data


def decode_payload(data: bytes, *, max_bytes: int, refused: list[WireError] | None = None) -> Payload:
    """Return a payload read from bytes.

    With ``refused`` given, a faulty metric's error is put there and the other metrics are kept;
    without, it is raised. Raises PayloadTooLarge before any parsing and PayloadMalformed for bytes
    that are no payload.
    """
    if len(data) > max_bytes:
        raise PayloadTooLarge(f"payload has {len(data)} bytes, accepted: up to {max_bytes}")
    message = PayloadMessage()
    try:
        message.ParseFromString(bytes(data))
    except (DecodeError, ValueError) as error:
        raise PayloadMalformed(f"{len(data)} bytes are no Sparkplug B payload: {error}") from None
    seq = message.seq if message.HasField("seq") else None
    if seq is not None and seq > 255:
        raise PayloadMalformed(f"seq is {seq}, accepted: 0 to 255")
    if len(message.metrics) > MAX_METRICS:
        raise PayloadMalformed(f"payload has {len(message.metrics)} metrics, accepted: up to {MAX_METRICS}")
    metrics: list[Metric] = []
    for raw in message.metrics:
        try:
            metrics.append(_read(raw))
        except WireError as error:
            if refused is None:
                raise
            refused.append(error)
    return Payload(message.timestamp if message.HasField("timestamp") else None, seq, metrics)


def decode_metric(data: bytes) -> Metric:
    """Return one metric from its own bytes; raise as ``decode_payload`` does."""
    raw = MetricMessage()
    try:
        raw.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise PayloadMalformed(f"{len(data)} bytes are no metric: {error}") from None
    return _read(raw)


def typed_value(metric: Metric, kind: MetricType) -> Value:
    """Return a decoded metric's value as the type that its birth or the contract gave it.

    Raises MetricTypeMismatch when the metric says another type, or its field cannot hold this one.
    """
    if metric.type is None:
        return None if metric.value is None else _value_of(kind, metric.wire_field, metric.value, metric)
    if metric.type is not kind:
        raise MetricTypeMismatch(f"{_label(metric)} is {metric.type.name}, accepted: {kind.name}")
    return metric.value


def _read(raw: Any) -> Metric:
    name = _text(raw.name) if raw.HasField("name") else None
    field_name = raw.WhichOneof("value")
    value: Any = getattr(raw, field_name) if field_name else None
    if field_name == "string_value":
        value = _text(value)
    properties = _read_properties(raw.properties) if raw.HasField("properties") else {}
    metric = Metric(
        name=name,
        alias=raw.alias if raw.HasField("alias") else None,
        timestamp_ms=raw.timestamp if raw.HasField("timestamp") else None,
        is_historical=raw.is_historical,
        properties=properties,
    )
    if name is None and metric.alias is None:
        raise MetricUnknown("a metric has neither name nor alias")
    if field_name in _REFUSED_FIELDS:
        raise _REFUSED_FIELDS[field_name](f"{_label(metric)} holds a {field_name}, accepted: scalars, bytes and arrays")
    if raw.HasField("datatype"):
        metric.type = _type_of(raw.datatype, metric)
    if raw.is_null:
        return metric
    if field_name is None:
        raise PayloadMalformed(f"{_label(metric)} has no value and is not marked null")
    if metric.type is None:
        metric.value, metric.wire_field = value, field_name
    else:
        metric.value = _value_of(metric.type, field_name, value, metric)
    return metric


def _text(raw: Any) -> str:
    # Protobuf 2 does not check texts: it hands out bytes that are no UTF-8 as bytes.
    if isinstance(raw, str):
        return raw
    raise PayloadMalformed(f"text {bytes(raw[:40])!r} is not UTF-8")


def _type_of(datatype: int, metric: Metric) -> MetricType:
    kind = _TYPES.get(datatype)
    if kind is MetricType.TEMPLATE:
        raise TemplateUnsupported(f"{_label(metric)} is a Template")
    if kind is MetricType.DATASET:
        raise DatasetUnsupported(f"{_label(metric)} is a DataSet")
    if kind is None:
        raise MetricTypeMismatch(f"{_label(metric)} has datatype {datatype}, accepted: 1 to 15, 17, 18, 22 to 34")
    return kind


def _value_of(kind: MetricType, field_name: str, raw: Any, metric: Metric) -> Value:
    expected = _FIELDS.get(kind)
    # Tahu's Java and Python libraries write UInt32 as long_value; the standard says int_value.
    if field_name != expected and not (kind is MetricType.UINT32 and field_name == "long_value"):
        raise MetricTypeMismatch(f"{_label(metric)} holds a {field_name}, accepted for {kind.name}: {expected}")
    reader = _READERS.get(kind)
    if reader is None:
        return raw
    try:
        return reader(raw)
    except ValueOutOfRange as error:
        raise ValueOutOfRange(f"{_label(metric)}: {error}") from None
    except MetricTypeMismatch as error:
        raise MetricTypeMismatch(f"{_label(metric)}: {error}") from None


def _fill(target: Any, metric: Metric) -> None:
    if metric.name is not None:
        target.name = metric.name
    if metric.alias is not None:
        target.alias = metric.alias
    if metric.timestamp_ms is not None:
        target.timestamp = metric.timestamp_ms
    if metric.is_historical:
        target.is_historical = True
    kind = metric.type
    if kind is None or kind not in _FIELDS:
        raise MetricTypeMismatch(f"{_label(metric)} has type {kind!r}, accepted: 1 to 15, 17, 18, 22 to 34")
    if metric.name is not None:
        target.datatype = int(kind)
    if metric.value is None:
        target.is_null = True
    else:
        setattr(target, _FIELDS[kind], _raw_of(kind, metric.value, metric))
    if metric.properties:
        for key, value in metric.properties.items():
            _add_property(target.properties, key, value)


def _raw_of(kind: MetricType, value: Any, metric: Metric) -> Any:
    try:
        if kind in _INTEGERS:
            if isinstance(value, bool | np.bool_):
                raise TypeError("a truth value")
            low, high, bits = _INTEGERS[kind]
            number = operator.index(value)
            if not low <= number <= high:
                raise ValueOutOfRange(f"{_label(metric)} is {number}, accepted for {kind.name}: {low} to {high}")
            # Negative integers travel as two's complement in the unsigned field.
            return number & ((1 << bits) - 1)
        if kind is MetricType.DOUBLE or kind is MetricType.FLOAT:
            if isinstance(value, bool | np.bool_ | str | bytes):
                raise TypeError(type(value).__name__)
            return float(value)
        if kind is MetricType.BOOLEAN and isinstance(value, bool | np.bool_):
            return bool(value)
        if kind in _TEXTS and isinstance(value, str):
            return value
        if (kind is MetricType.BYTES or kind is MetricType.FILE) and isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        if kind in ARRAY_TYPES and isinstance(value, list | tuple):
            return pack_array(kind, value)
    except MetricTypeMismatch as error:
        raise MetricTypeMismatch(f"{_label(metric)}: {error}") from None
    except (TypeError, ValueError, OverflowError):
        pass
    raise MetricTypeMismatch(f"{_label(metric)} is a {type(value).__name__}, accepted: {kind.name}")


def _add_property(target: Any, key: str, value: Value) -> None:
    target.keys.append(key)
    slot = target.values.add()
    if value is None:
        slot.type, slot.is_null = int(MetricType.STRING), True
    elif isinstance(value, bool):
        slot.type, slot.boolean_value = int(MetricType.BOOLEAN), value
    elif isinstance(value, int):
        slot.type, slot.long_value = int(MetricType.INT64), value & (2**64 - 1)
    elif isinstance(value, float):
        slot.type, slot.double_value = int(MetricType.DOUBLE), value
    elif isinstance(value, str):
        slot.type, slot.string_value = int(MetricType.STRING), value
    else:
        raise MetricTypeMismatch(f"property {key!r} is a {type(value).__name__}, accepted: bool, int, float, text")


def _read_properties(raw: Any) -> dict[str, Value]:
    keys, values = raw.keys, raw.values
    if len(keys) != len(values):
        raise PayloadMalformed(f"properties have {len(keys)} keys and {len(values)} values")
    found: dict[str, Value] = {}
    for raw_key, slot in zip(keys, values, strict=True):
        key = _text(raw_key)
        field_name = slot.WhichOneof("value")
        if slot.is_null or field_name is None:
            found[key] = None
        elif field_name in _PROPERTY_FIELDS:
            # Nested property sets and extensions say nothing that the contract uses: left out.
            found[key] = _property_value(_TYPES.get(slot.type), field_name, getattr(slot, field_name))
    return found


def _property_value(kind: MetricType | None, field_name: str, raw: Any) -> Value:
    if field_name == "string_value":
        return _text(raw)
    if field_name == "long_value" and kind is MetricType.INT64:
        return _signed(raw, 64)
    return _signed(raw, 32) if field_name == "int_value" and kind in _INT32 else raw


def _signed(raw: int, bits: int) -> int:
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def _integer_reader(low: int, high: int, bits: int) -> Callable[[int], int]:
    def read(raw: int) -> int:
        value = _signed(raw, bits) if low < 0 else raw
        if low <= value <= high:
            return value
        # Some senders fill a small integer's own width only: 0xFF for an Int8 of -1.
        if low < 0 and raw <= high - low:
            return raw + 2 * low
        raise ValueOutOfRange(f"integer is {raw}, accepted: {low} to {high}")

    return read


def _array_reader(kind: MetricType) -> Callable[[bytes], list[Any]]:
    return lambda raw: unpack_array(kind, raw)


def _label(metric: Metric) -> str:
    return f"metric {metric.name!r}" if metric.name is not None else f"metric with alias {metric.alias}"


_INTEGERS: Final = {
    MetricType.INT8: (-(2**7), 2**7 - 1, 32),
    MetricType.INT16: (-(2**15), 2**15 - 1, 32),
    MetricType.INT32: (-(2**31), 2**31 - 1, 32),
    MetricType.INT64: (-(2**63), 2**63 - 1, 64),
    MetricType.UINT8: (0, 2**8 - 1, 32),
    MetricType.UINT16: (0, 2**16 - 1, 32),
    MetricType.UINT32: (0, 2**32 - 1, 32),
    MetricType.UINT64: (0, 2**64 - 1, 64),
    MetricType.DATETIME: (0, 2**64 - 1, 64),
}
_INT32: Final = (MetricType.INT8, MetricType.INT16, MetricType.INT32)
_TEXTS: Final = (MetricType.STRING, MetricType.TEXT, MetricType.UUID)
_FIELDS: Final[dict[MetricType, str]] = {
    **{kind: "int_value" if bits == 32 else "long_value" for kind, (_, _, bits) in _INTEGERS.items()},
    MetricType.FLOAT: "float_value",
    MetricType.DOUBLE: "double_value",
    MetricType.BOOLEAN: "boolean_value",
    **dict.fromkeys(_TEXTS, "string_value"),
    MetricType.BYTES: "bytes_value",
    MetricType.FILE: "bytes_value",
    **dict.fromkeys(ARRAY_TYPES, "bytes_value"),
}
_TYPES: Final[dict[int, MetricType]] = {int(kind): kind for kind in (*_FIELDS, MetricType.TEMPLATE, MetricType.DATASET)}
_READERS: Final[dict[MetricType, Callable[[Any], Value]]] = {
    # An unsigned 64-bit field holds exactly these two: nothing to convert or to check.
    **{
        kind: _integer_reader(*limits)
        for kind, limits in _INTEGERS.items()
        if kind not in (MetricType.UINT64, MetricType.DATETIME)
    },
    **{kind: _array_reader(kind) for kind in ARRAY_TYPES},
}
_PROPERTY_FIELDS: Final = frozenset(
    {"int_value", "long_value", "float_value", "double_value", "boolean_value", "string_value"}
)
_REFUSED_FIELDS: Final[dict[str, type[WireError]]] = {
    "template_value": TemplateUnsupported,
    "dataset_value": DatasetUnsupported,
    "extension_value": MetricTypeMismatch,
}
