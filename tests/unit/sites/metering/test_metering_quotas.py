"""Budgets of one site: what they allow, what overdraws them, and how a site comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sites.metering.ingest.quotas import BIRTHS, BYTES, MESSAGES, REFUSALS, Gates, Quota
from sites.wire.topics import node_topic

QUOTA = Quota(messages_per_s=10, bytes_per_s=1_000, births_per_min=6, refusals_per_min=6, burst_s=10, quiet_s=30)
DATA, BIRTH = node_topic("NDATA", "s1"), node_topic("NBIRTH", "s1")
OTHER = node_topic("NDATA", "s2")


def sent(gates: Gates, topic: str, count: int, now_s: float, size: int = 1) -> int:
    """Return how many of so many messages at one instant are admitted."""
    return sum(gates.admits(topic, size, now_s) for _ in range(count))


def test_a_burst_is_allowed_and_one_more_shuts_the_gate() -> None:
    gates = Gates(QUOTA)
    assert sent(gates, DATA, 150, 0.0) == 100
    (gate,) = gates.shut_gates
    assert (gate.site_id, gate.shut_by, gate.dropped) == ("s1", MESSAGES, 50)


def test_the_neighbor_notices_nothing() -> None:
    gates = Gates(QUOTA)
    sent(gates, DATA, 10_000, 0.0)
    assert sent(gates, OTHER, 100, 0.0) == 100


def test_bytes_and_births_have_budgets_of_their_own() -> None:
    gates = Gates(QUOTA)
    assert sent(gates, DATA, 3, 0.0, size=4_000) == 2
    assert gates.shut_gates[0].shut_by == BYTES
    gates = Gates(QUOTA)
    assert sent(gates, BIRTH, 3, 0.0) == 1
    assert gates.shut_gates[0].shut_by == BIRTHS


def test_refused_messages_shut_the_gate_of_their_site() -> None:
    gates = Gates(QUOTA)
    for second in range(2):
        assert gates.admits(DATA, 1, second / 10)
        gates.refused(DATA, second / 10)
    assert not gates.admits(DATA, 1, 0.3)
    assert gates.shut_gates[0].shut_by == REFUSALS


def test_it_is_quiet_only_after_the_stated_time_within_its_budgets() -> None:
    gates = Gates(QUOTA)
    sent(gates, DATA, 101, 0.0)
    # Ten times too many until second 20, then once a second.
    for tenth in range(200):
        sent(gates, DATA, 10, tenth / 10)
    for second in range(20, 49):
        assert not gates.admits(DATA, 1, float(second))
        assert gates.quiet(float(second)) == []
    (gate,) = gates.quiet(50.0)
    gates.open(gate.site_id, 50.0)
    assert gates.shut_gates == []
    assert sent(gates, DATA, 100, 50.0) == 100


def test_topics_of_no_site_share_one_gate() -> None:
    gates = Gates(QUOTA)
    assert sum(gates.admits(f"nonsense/{n}", 1, 0.0) for n in range(200)) == 100
    assert gates.shut_gates[0].site_id == ""
    assert gates.admits(DATA, 1, 0.0)


def test_a_gate_shut_by_another_worker_stays_shut_and_forgotten_ones_start_anew() -> None:
    gates = Gates(QUOTA)
    gates.shut("s1", MESSAGES, 0.0)
    assert not gates.admits(DATA, 1, 1.0)
    gates.forget(["s1"])
    assert gates.shut_gates == []
    assert gates.admits(DATA, 1, 2.0)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), min_size=1, max_size=60))
def test_no_story_admits_more_than_the_burst_and_the_rate(story: list[tuple[float, int]]) -> None:
    gates, now_s, admitted, size = Gates(QUOTA), 0.0, 0, 0
    for wait_s, length in story:
        now_s += wait_s
        if gates.admits(DATA, length, now_s):
            admitted += 1
            size += length
    assert admitted <= QUOTA.messages_per_s * (QUOTA.burst_s + now_s) + 1e-6
    assert size <= QUOTA.bytes_per_s * (QUOTA.burst_s + now_s) + 1e-6
