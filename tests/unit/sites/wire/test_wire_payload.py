from __future__ import annotations

import contextlib
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sites.wire.errors import (
    ERRORS,
    DatasetUnsupported,
    MetricTypeMismatch,
    PayloadMalformed,
    PayloadTooLarge,
    TemplateUnsupported,
    ValueOutOfRange,
    WireError,
)
from sites.wire.metrics import MetricType
from sites.wire.payload import MAX_METRICS, Metric, Payload, decode_payload, encode_payload, typed_value
from sites.wire.schema import PayloadMessage

T = MetricType
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NO_ZERO_BYTE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
FLOAT32 = st.floats(width=32, allow_nan=False)
SIGNED = {T.INT8: 8, T.INT16: 16, T.INT32: 32, T.INT64: 64}
UNSIGNED = {T.UINT8: 8, T.UINT16: 16, T.UINT32: 32, T.UINT64: 64, T.DATETIME: 64}
INTEGERS = {kind: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for kind, bits in SIGNED.items()} | {
    kind: st.integers(0, 2**bits - 1) for kind, bits in UNSIGNED.items()
}
SCALARS = INTEGERS | {
    T.FLOAT: FLOAT32,
    T.DOUBLE: st.floats(allow_nan=False),
    T.BOOLEAN: st.booleans(),
    T.STRING: TEXT,
    T.TEXT: TEXT,
    T.UUID: TEXT,
    T.BYTES: st.binary(max_size=50),
    T.FILE: st.binary(max_size=50),
}
ARRAY_OF = {
    T.INT8_ARRAY: INTEGERS[T.INT8],
    T.INT16_ARRAY: INTEGERS[T.INT16],
    T.INT32_ARRAY: INTEGERS[T.INT32],
    T.INT64_ARRAY: INTEGERS[T.INT64],
    T.UINT8_ARRAY: INTEGERS[T.UINT8],
    T.UINT16_ARRAY: INTEGERS[T.UINT16],
    T.UINT32_ARRAY: INTEGERS[T.UINT32],
    T.UINT64_ARRAY: INTEGERS[T.UINT64],
    T.FLOAT_ARRAY: FLOAT32,
    T.DOUBLE_ARRAY: st.floats(allow_nan=False),
    T.BOOLEAN_ARRAY: st.booleans(),
    T.STRING_ARRAY: NO_ZERO_BYTE,
    T.DATETIME_ARRAY: INTEGERS[T.UINT64],
}
VALUES = SCALARS | {kind: st.lists(items, max_size=12) for kind, items in ARRAY_OF.items()}
PROPERTIES = st.dictionaries(
    TEXT, st.none() | st.booleans() | INTEGERS[T.INT64] | st.floats(allow_nan=False) | TEXT, max_size=3
)


def round_trip(payload: Payload) -> Payload:
    return decode_payload(encode_payload(payload), max_bytes=1_000_000)


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    kind = draw(st.sampled_from(sorted(VALUES)))
    return Metric(
        name=draw(TEXT),
        alias=draw(st.none() | st.integers(0, 2**64 - 1)),
        type=kind,
        value=draw(st.none() | VALUES[kind]),
        timestamp_ms=draw(st.none() | st.integers(0, 2**64 - 1)),
        is_historical=draw(st.booleans()),
        properties=draw(PROPERTIES),
    )


@given(st.lists(metrics(), max_size=5), st.none() | st.integers(0, 255), st.none() | st.integers(0, 2**64 - 1))
def test_every_type_comes_back_as_it_was_sent(sent: list[Metric], seq: int | None, at_ms: int | None) -> None:
    payload = Payload(at_ms, seq, sent)
    assert round_trip(payload) == payload


@given(st.sampled_from(sorted(VALUES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind])))
def test_a_metric_by_alias_leaves_its_type_to_the_birth(case: tuple[MetricType, object]) -> None:
    kind, value = case
    [metric] = round_trip(Payload(1, 0, [Metric(alias=7, type=kind, value=value)])).metrics  # type: ignore[arg-type]
    assert metric.type is None
    assert typed_value(metric, kind) == value


class TestFieldNumbers:
    """Bytes written by hand from the published field numbers, so that the schema cannot be wrong on both sides."""

    def test_a_negative_int32_is_twos_complement_in_field_10(self) -> None:
        data = encode_payload(Payload(None, None, [Metric("x", type=T.INT32, value=-5)]))
        assert data == b"\x12\x0b\x0a\x01x\x20\x03\x50\xfb\xff\xff\xff\x0f"

    def test_a_negative_int64_is_twos_complement_in_field_11(self) -> None:
        data = encode_payload(Payload(None, None, [Metric("x", type=T.INT64, value=-1)]))
        assert data == b"\x12\x10\x0a\x01x\x20\x04\x58" + b"\xff" * 9 + b"\x01"

    def test_payload_and_metric_by_hand(self) -> None:
        metric = (
            b"\x0a\x01f" + b"\x10\x02" + b"\x18\x09" + b"\x20\x0a" + b"\x28\x01" + b"\x69" + struct.pack("<d", 50.1)
        )
        data = b"\x08\x05" + b"\x12" + bytes([len(metric)]) + metric + b"\x18\x0c"
        assert decode_payload(data, max_bytes=100) == Payload(
            5, 12, [Metric("f", 2, T.DOUBLE, 50.1, timestamp_ms=9, is_historical=True)]
        )

    def test_birth_properties_stand_in_field_9(self) -> None:
        data = encode_payload(
            Payload(None, None, [Metric("x", type=T.BOOLEAN, value=True, properties={"engUnit": "kW"})])
        )
        properties = b"\x0a\x07engUnit" + b"\x12\x06\x08\x0c\x42\x02kW"
        assert b"\x4a" + bytes([len(properties)]) + properties in data

    @pytest.mark.parametrize(
        ("kind", "raw", "value"), [(T.INT8, 0xFF, -1), (T.INT8, 0x80, -128), (T.INT16, 0xFFFE, -2), (T.INT8, 127, 127)]
    )
    def test_a_small_integer_that_fills_only_its_own_width_is_understood(
        self, kind: MetricType, raw: int, value: int
    ) -> None:
        message = PayloadMessage()
        message.metrics.add(name="x", datatype=int(kind), int_value=raw)
        assert decode_payload(message.SerializeToString(), max_bytes=100).metrics[0].value == value

    def test_a_uint32_in_the_long_field_is_understood(self) -> None:
        message = PayloadMessage()
        message.metrics.add(name="x", datatype=int(T.UINT32), long_value=7)
        assert decode_payload(message.SerializeToString(), max_bytes=100).metrics[0].value == 7


class TestRefused:
    @settings(max_examples=300)
    @given(st.binary(max_size=200))
    def test_random_bytes_raise_named_errors_only(self, data: bytes) -> None:
        with contextlib.suppress(*ERRORS):
            decode_payload(data, max_bytes=150)

    @settings(max_examples=200)
    @given(st.lists(metrics(), min_size=1, max_size=3), st.data())
    def test_flipped_bytes_raise_named_errors_only(self, sent: list[Metric], data: st.DataObject) -> None:
        raw = bytearray(encode_payload(Payload(1, 1, sent)))
        for _ in range(3):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(*ERRORS):
            decode_payload(bytes(raw), max_bytes=10_000)

    def test_one_byte_too_many_is_refused_before_parsing(self) -> None:
        with pytest.raises(PayloadTooLarge, match="has 11 bytes, accepted: up to 10"):
            decode_payload(b"\xff" * 11, max_bytes=10)

    def test_a_template(self) -> None:
        message = PayloadMessage()
        message.metrics.add(name="motor", datatype=19).template_value.SetInParent()
        with pytest.raises(TemplateUnsupported, match="motor"):
            decode_payload(message.SerializeToString(), max_bytes=100)

    def test_a_data_set(self) -> None:
        message = PayloadMessage()
        message.metrics.add(name="table", datatype=16).dataset_value.SetInParent()
        with pytest.raises(DatasetUnsupported, match="table"):
            decode_payload(message.SerializeToString(), max_bytes=100)

    def test_deep_nesting_in_a_template_is_not_followed(self) -> None:
        nested = b""
        for _ in range(10_000):
            nested = b"\x92\x01" + _varint(len(nested)) + nested
        data = b"\x12" + _varint(len(nested)) + nested
        with pytest.raises(WireError):
            decode_payload(data, max_bytes=1_000_000)

    def test_a_faulty_metric_leaves_the_others_when_errors_are_collected(self) -> None:
        message = PayloadMessage()
        message.metrics.add(name="good", datatype=int(T.DOUBLE), double_value=1.0)
        message.metrics.add(name="bad", datatype=int(T.DOUBLE), string_value="1.0")
        refused: list[WireError] = []
        payload = decode_payload(message.SerializeToString(), max_bytes=100, refused=refused)
        assert [metric.name for metric in payload.metrics] == ["good"]
        assert [error.name for error in refused] == ["metric_type_mismatch"]

    def test_a_text_that_is_not_utf8(self) -> None:
        with pytest.raises(PayloadMalformed, match="UTF-8"):
            decode_payload(b"\x12\x07\x0a\x01\xff\x20\x0b\x70\x01", max_bytes=100)

    def test_a_value_that_is_neither_there_nor_null(self) -> None:
        with pytest.raises(PayloadMalformed, match="not marked null"):
            decode_payload(b"\x12\x05\x0a\x01x\x20\x0a", max_bytes=100)

    def test_seq_above_255(self) -> None:
        with pytest.raises(PayloadMalformed, match="seq is 256"):
            decode_payload(b"\x18\x80\x02", max_bytes=100)

    def test_too_many_metrics(self) -> None:
        with pytest.raises(PayloadMalformed, match="up to 4096"):
            decode_payload(b"\x12\x00" * (MAX_METRICS + 1), max_bytes=100_000)

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (T.DOUBLE, "1.0"),
            (T.DOUBLE, True),
            (T.INT64, 1.5),
            (T.INT64, True),
            (T.BOOLEAN, 1),
            (T.STRING, b"x"),
            (T.BYTES, "x"),
            (T.INT8_ARRAY, [200]),
            (T.TEMPLATE, 1),
            (None, 1),
        ],
    )
    def test_a_value_of_another_type_is_not_sent(self, kind: MetricType | None, value: object) -> None:
        with pytest.raises(MetricTypeMismatch, match="'x'"):
            encode_payload(Payload(1, 0, [Metric("x", type=kind, value=value)]))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("kind", "value"), [(T.INT8, 128), (T.UINT8, -1), (T.INT32, 2**31), (T.INT64, 2**63), (T.UINT64, 2**64)]
    )
    def test_an_integer_outside_its_type_is_not_sent(self, kind: MetricType, value: int) -> None:
        with pytest.raises(ValueOutOfRange, match="'x'"):
            encode_payload(Payload(1, 0, [Metric("x", type=kind, value=value)]))


def test_infinity_and_nan_pass_the_payload_and_are_judged_by_ranges_later() -> None:
    [metric] = round_trip(Payload(1, 0, [Metric("x", type=T.DOUBLE, value=math.nan)])).metrics
    assert math.isnan(metric.value)  # type: ignore[arg-type]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
