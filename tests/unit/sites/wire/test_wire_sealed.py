"""Commands that are encoded by hand are the bytes that protobuf would write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.wire.metrics import COMMAND, DESIRED, DESIRED_STREAM, MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.sealed import sealed_command


@pytest.mark.parametrize("name", [DESIRED, DESIRED_STREAM, COMMAND])
@given(envelope=st.binary(max_size=400), now_ms=st.integers(0, 2**63))
def test_the_bytes_are_protobuf_s(name: str, envelope: bytes, now_ms: int) -> None:
    metric = Metric(name, type=MetricType.BYTES, value=envelope)
    assert sealed_command(name, envelope, now_ms=now_ms) == encode_payload(Payload(now_ms, None, [metric]))


@pytest.mark.parametrize("size", [127, 128, 16_383, 16_384, 60_000])
def test_the_bytes_are_protobuf_s_where_a_length_takes_one_more(size: int) -> None:
    metric = Metric(DESIRED, type=MetricType.BYTES, value=b"\xff" * size)
    assert sealed_command(DESIRED, b"\xff" * size, now_ms=1) == encode_payload(Payload(1, None, [metric]))
