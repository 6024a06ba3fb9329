"""Faulty payloads: bytes of real captures, changed, cut, joined and repeated."""

from __future__ import annotations

import random
from collections.abc import Iterator

from support.wire_sites import BATTERY_VALUES, NODE_VALUES, an_edge_session, births_of, interval_metrics

from sites.wire.commands import device_command, node_command
from sites.wire.messages import Message, state_message
from sites.wire.metrics import MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.topics import node_topic

NOW_MS = 1_772_366_400_000
_SPECIAL = (
    b"\x00",
    b"\xff",
    b"\x80" * 10,
    b"\xff" * 9 + b"\x01",
    b"\x7f",
    b"\x0a\xff\xff\xff\xff\x0f",
    b"\x08",
    b"\x12",
)


def captures() -> list[Message]:
    """Return one of every kind of message that a site or a host of ours sends, and one of each data type."""
    session = an_edge_session()
    messages = [session.will(1), *births_of(session, NOW_MS), session.node_data(NOW_MS, NODE_VALUES)]
    messages.append(session.device_data(NOW_MS, "battery", BATTERY_VALUES))
    messages += [
        session.stream_data(NOW_MS, "battery", interval_metrics(n, NOW_MS - 60_000), bool(n % 2)) for n in (1, 2)
    ]
    messages.append(session.device_death(NOW_MS, "pv"))
    commands = {"Node Control/Rebirth": True, "stored_through/battery": 17, "resend/battery": [3, 9]}
    messages.append(node_command("site-1", NOW_MS, commands))
    messages.append(device_command("site-1", "control", NOW_MS, {"desired": b"VPA1" + bytes(90)}))
    messages.append(state_message("vpp", True, NOW_MS))
    kinds = [
        (MetricType.FLOAT_ARRAY, [1.0, 2.5]), (MetricType.STRING_ARRAY, ["a", "b"]), (MetricType.BOOLEAN_ARRAY, [True]),
        (MetricType.INT8, -5), (MetricType.UINT32, 7), (MetricType.TEXT, "t"), (MetricType.BYTES, b"\x01\x02"),
    ]  # fmt: skip
    metrics = [
        Metric(f"m{i}", i + 100, kind, value, properties={"engUnit": "W", "engLow": 1.0})
        for i, (kind, value) in enumerate(kinds)
    ]
    messages.append(Message(node_topic("NDATA", "site-1"), encode_payload(Payload(NOW_MS, 9, metrics))))
    return messages


def mutated(count: int, seed: int) -> Iterator[Message]:
    """Return so many faulty messages, the same for the same seed."""
    chance = random.Random(seed)
    known = captures()
    topics = [message.topic for message in known]
    for _ in range(count):
        message = chance.choice(known)
        data = bytearray(message.payload)
        for _ in range(chance.choice((1, 1, 1, 1, 2, 8))):
            _change(data, chance, known)
        topic = message.topic if chance.random() < 0.8 else chance.choice(topics)
        yield Message(topic if chance.random() < 0.95 else _other_topic(topic, chance), bytes(data))


def _change(data: bytearray, chance: random.Random, known: list[Message]) -> None:
    at = chance.randrange(len(data) + 1)
    what = chance.randrange(7)
    if what == 0 and data:
        data[at % len(data)] ^= 1 << chance.randrange(8)
    elif what == 1:
        del data[at : at + chance.randint(1, 12)]
    elif what == 2:
        data[at:at] = chance.choice(_SPECIAL)
    elif what == 3:
        data[at:at] = data[at : at + chance.randint(1, 40)] * chance.randint(1, 4)
    elif what == 4:
        other = chance.choice(known).payload
        start = chance.randrange(len(other))
        data[at:at] = other[start : start + chance.randint(1, 60)]
    elif what == 5:
        del data[at:]
    elif data:
        data[at % len(data)] = chance.randrange(256)


def _other_topic(topic: str, chance: random.Random) -> str:
    levels = topic.split("/")
    levels[chance.randrange(len(levels))] = chance.choice(("", "+", "x" * 70, "VPP-99", "\u00e9", "control", "NBIRTH"))
    return "/".join(levels)
