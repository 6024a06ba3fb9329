"""No bytes end a session: each faulty message is refused by name or read, at both ends, and all are counted."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.malformed import NOW_MS, captures, mutated
from support.wire_sites import an_edge_session, births_of

from sites.metering.batches import Batch
from sites.metering.sorting import Arrival, Sorter
from sites.registry.queries import SiteKeys
from sites.wire import edge_session, host_session
from sites.wire.errors import ERRORS
from sites.wire.foreign import Unmapped, rules_from
from sites.wire.messages import Message
from sites.wire.topics import partition_of

NAMES = {error.name for error in ERRORS}
ASSETS = {"pcc": 1, "battery": 2, "pv": 3, "genset": 4, "load": 5}


class Ends:
    """A host with its ingest's sorter, a host that takes the site for somebody else's, and a site."""

    def __init__(self) -> None:
        self.host = host_session.HostSession(100_000, 60.0)
        self.foreign = host_session.HostSession(100_000, 60.0)
        self.foreign.use_gateways({"site-1": rules_from([{"device": "battery", "metric": "soc_ratio", "as": "soc_ratio",
                                                          "asset": "battery"}])})  # fmt: skip
        directory = {"site-1": SiteKeys(1, ASSETS, partition_of("site-1"))}
        self.sorter = Sorter(directory=directory, max_clock_ahead_s=60.0)
        self.edge = an_edge_session()
        self.outcomes: Counter[str] = Counter()
        for message in births_of(an_edge_session(), NOW_MS):
            self.hear(message)
        births_of(self.edge, NOW_MS)

    def hear(self, message: Message) -> None:
        """Let every end take a message; count what came of it. A refusal has a name of the contract."""
        batch, at = Batch(), datetime.fromtimestamp(NOW_MS / 1000, UTC)
        events = list(self.host.receive(message.topic, message.payload, NOW_MS))
        plain = self.host.receive_plain(message.topic, message.payload, NOW_MS)
        refused = [event for event in events if isinstance(event, host_session.Refused)]
        for event in events:
            if isinstance(event, Unmapped):
                self.sorter.note_unmapped(event, batch, at)
            elif isinstance(event, host_session.NodeBorn | host_session.DeviceBorn | host_session.NodeData |
                            host_session.DeviceData):  # fmt: skip
                self.sorter.add(Arrival(event, message.topic, message.payload, at, batch))
        for event in self.foreign.receive(message.topic, message.payload, NOW_MS):
            if isinstance(event, Unmapped):
                self.sorter.note_unmapped(event, batch, at)
        heard = self.edge.receive(message.topic, message.payload, NOW_MS)
        assert {event.error_name for event in refused} <= NAMES
        assert {event.error_name for event in heard if isinstance(event, edge_session.Refused)} <= NAMES
        self.outcomes["refused" if refused or batch.refused else "taken" if events or plain else "not for a host"] += 1
        for name in {event.error_name for event in refused} | set(batch.counts):
            self.outcomes[name] += 1


def play(count: int, seed: int) -> Ends:
    ends = Ends()
    ends.outcomes.clear()
    births = births_of(an_edge_session(), NOW_MS)
    for number, message in enumerate(mutated(count, seed)):
        if number % 100 == 0:
            # A site is born again, or after the first hole nothing but bytes would be judged.
            for birth in births:
                ends.host.receive(birth.topic, birth.payload, NOW_MS)
                ends.foreign.receive(birth.topic, birth.payload, NOW_MS)
        ends.hear(message)
    return ends


def assert_all_counted(ends: Ends, count: int) -> None:
    assert sum(ends.outcomes[name] for name in ("refused", "taken", "not for a host")) == count
    assert ends.outcomes["refused"] > count / 4
    assert {"payload_malformed", "topic_invalid", "alias_unknown", "metric_unknown"} <= set(ends.outcomes)


def test_changed_captures_end_nothing_and_are_all_counted() -> None:
    assert_all_counted(play(4_000, seed=1), 4_000)


@pytest.mark.long
def test_a_hundred_thousand_changed_captures() -> None:
    assert_all_counted(play(100_000, seed=2), 100_000)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(captures()), st.binary(max_size=400), st.integers(0, 400), st.booleans())
def test_any_bytes_in_any_place(message: Message, inserted: bytes, at: int, alone: bool) -> None:
    payload = inserted if alone else message.payload[:at] + inserted + message.payload[at:]
    ends = Ends()
    ends.hear(Message(message.topic, payload))
