"""The short way for what nearly all sites answer when a fleet is armed: state, hash and sequence, and nothing else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from sites.core.assignments import AssignmentState
from sites.wire.errors import WireError
from sites.wire.judging import judged
from sites.wire.metrics import CONTROL_DECLARED
from sites.wire.payload import Metric, Payload, decode_metric, encode_payload
from sites.wire.plain import flat
from sites.wire.schema import FlatPayloadMessage
from vpp.dispatch.reports import SEQUENCES

STATE: Final = "reported/state"
HASH: Final = "reported/hash"
SEQUENCE: Final = "reported/sequence"
HASH_CHARS: Final = 64
MAX_REMEMBERED: Final = 4_096
"""Encodings of sequences that are kept; the sites of a fleet have few different ones."""


class PlainAnswer(NamedTuple):
    """A site holds this assignment, and has nothing else to say."""

    at_ms: int
    state: str
    held_hash: str
    held_sequence: int


def plain_answer(payload: bytes) -> PlainAnswer | None:
    """Return what a message says that is written as our edge writes an answer; None for any other.

    Nothing is taken here that the long way would refuse: state and sequence are recognized by all their bytes once they
    were read and judged in full, the hash by its 64 digits.
    """
    found = flat(payload)
    if found is None or len(found[2]) != 3:
        return None
    at_ms, _, (state_data, hash_data, sequence_data) = found
    state = _STATES.get(state_data)
    digits = _HASH.fullmatch(hash_data)
    sequence = _sequence(sequence_data)
    if state is None or digits is None or sequence is None:
        return None
    return PlainAnswer(at_ms, state, digits[1].decode(), sequence)


@lru_cache(MAX_REMEMBERED)
def _sequence(data: bytes) -> int | None:
    try:
        metric = decode_metric(data)
        if metric.name != SEQUENCE or metric.timestamp_ms is not None or metric.is_historical:
            return None
        value = judged(metric, CONTROL_DECLARED[SEQUENCE], at_ms=0, latest_ms=0).value
    except WireError:
        return None
    return value if isinstance(value, int) and value < SEQUENCES else None


def _metric(name: str, value: str) -> bytes:
    payload = encode_payload(Payload(None, None, [Metric(name, type=CONTROL_DECLARED[name].type, value=value)]))
    message = FlatPayloadMessage()
    message.ParseFromString(payload)
    data: bytes = message.metrics[0]
    return data


_STATES: Final = {_metric(STATE, state.value): state.value for state in (AssignmentState.IDLE, AssignmentState.ARMED)}
_HASH: Final = re.compile(re.escape(_metric(HASH, "0" * HASH_CHARS)[:-HASH_CHARS]) + rb"([0-9a-f]{64})")
