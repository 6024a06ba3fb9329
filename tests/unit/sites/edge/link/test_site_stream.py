"""A setpoint stream at one site: granted beside the curve, followed from the signal, forgotten when it ends."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.site_bench import NOW, SEED, SITE, Bench, an_armed_share

from sites.core.streams import SetpointSignal, StreamGrant
from sites.wire.commands import device_command
from sites.wire.messages import Message
from sites.wire.signature import SIGNAL_MAGIC, Signer, seal
from sites.wire.topics import signal_topic

AT = datetime.fromtimestamp(NOW / 1000, UTC)
GRANT = StreamGrant("g-1", SITE, 1, "REG-1", "REG-1", 3.0, 2.0, 6.0, 0.5, AT, AT + timedelta(seconds=600))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.told(bench.come_online())
    return bench


def grant(bench: Bench, wanted: StreamGrant, seed: bytes = SEED) -> list[Message]:
    envelope = seal(wanted.to_bytes(), seed)
    return bench.hear(device_command(SITE, "control", NOW, {"desired_stream": envelope}))


def signal(bench: Bench, sequence: int, value: float, *, after_s: float = 1.0, stream: str = "REG-1") -> None:
    issued_at = AT + timedelta(seconds=after_s)
    body = SetpointSignal(stream, sequence, issued_at, issued_at + timedelta(seconds=6), value).to_bytes()
    envelope = Signer(SEED, magic=SIGNAL_MAGIC).seal(body)
    assert bench.hear(Message(signal_topic(stream), envelope), NOW + round(after_s * 1000)) == []


def test_it_is_reported_when_the_controller_confirms_and_listened_to(bench: Bench) -> None:
    assert bench.link.orders.extra_subscriptions() == []
    assert grant(bench, GRANT) == []
    assert list(bench.port.take_stream_requests()) == [(0, GRANT)]
    report = bench.report(bench.link.orders.confirm_stream(GRANT.content_hash, now_ms=NOW))
    assert (report["reported_stream/state"], report["reported_stream/hash"]) == ("armed", GRANT.content_hash)
    assert bench.link.orders.extra_subscriptions() == [("vpp/setpoint/REG-1", 0)]
    # The curve's report is its own.
    assert "reported/hash" not in report


@pytest.mark.parametrize(
    ("wanted", "seed", "refusal"),
    [
        (GRANT, bytes(range(1, 33)), "unsigned"),
        (replace(GRANT, up_kw=8.1), SEED, "out_of_envelope"),
        (replace(GRANT, site_id="site-2"), SEED, "wrong_site"),
        (replace(GRANT, starts_at=AT - timedelta(9), ends_at=AT), SEED, "expired"),
    ],
)
def test_what_it_does_not_take_has_a_name(bench: Bench, wanted: StreamGrant, seed: bytes, refusal: str) -> None:
    report = bench.report(grant(bench, wanted, seed))
    assert (report["reported_stream/state"], report["reported_stream/refusal"]) == ("refused", refusal)
    assert list(bench.port.take_stream_requests()) == []


def test_curve_and_stream_share_the_headroom(bench: Bench) -> None:
    # 8 kW each way; the curve takes 5 of the discharge.
    bench.desire(an_armed_share(power_kw=5.0))
    refused = bench.report(grant(bench, replace(GRANT, up_kw=3.1)))
    assert refused["reported_stream/refusal"] == "out_of_envelope"
    assert grant(bench, replace(GRANT, up_kw=3.0, down_kw=8.0)) == []
    # And the other way round.
    report = bench.report(bench.desire(an_armed_share(sequence=2, power_kw=5.1)))
    assert report["reported/refusal"] == "out_of_envelope"


def test_a_signal_becomes_a_power_for_as_long_as_it_may_be_held(bench: Bench) -> None:
    grant(bench, GRANT)
    signal(bench, 1, 0.5)
    signal(bench, 2, -1.0)
    first, second = (setpoint for _, setpoint in bench.port.take_setpoints())
    assert (first.power_kw, second.power_kw) == (1.5, -2.0)
    # Half of 3 kW a second.
    assert first.ramp_kw_per_s == 1.5
    assert 5.0 < (second.until_ns - time.monotonic_ns()) / 1e9 <= 6.0


def test_replayed_reordered_stale_and_foreign_ones_are_not_followed(bench: Bench) -> None:
    signal(bench, 1, 0.5)
    grant(bench, GRANT)
    signal(bench, 5, 0.5)
    signal(bench, 5, 0.9)
    signal(bench, 4, 0.9)
    signal(bench, 6, 0.9, stream="OTHER")
    issued_at = AT - timedelta(seconds=30)
    old = SetpointSignal("REG-1", 7, issued_at, issued_at + timedelta(seconds=6), 0.9).to_bytes()
    bench.hear(Message(signal_topic("REG-1"), Signer(SEED, magic=SIGNAL_MAGIC).seal(old)))
    assert len(list(bench.port.take_setpoints())) == 1
    refused = {"foreign": 2, "replayed": 1, "reordered": 1, "stale": 1}
    assert dict(bench.link.orders.following.refused) == refused


def test_a_withdrawn_grant_is_not_listened_to(bench: Bench) -> None:
    grant(bench, GRANT)
    grant(bench, replace(GRANT, sequence=2, up_kw=0.0, down_kw=0.0))
    assert bench.link.orders.extra_subscriptions() == []
    assert bench.port.take_stream_requests()[-1] == (0, bench.link.orders.granted.held)


def test_it_is_held_over_a_restart(bench: Bench, tmp_path: Path) -> None:
    grant(bench, GRANT)
    bench.outbox.close()
    again = Bench(tmp_path)
    assert list(again.port.take_stream_requests()) == [(0, GRANT)]
    assert again.link.orders.extra_subscriptions() == [("vpp/setpoint/REG-1", 0)]


def test_a_signal_with_too_many_bytes_is_refused_unread(bench: Bench) -> None:
    grant(bench, GRANT)
    bench.hear(Message(signal_topic("REG-1"), b"x" * 1025))
    assert bench.link.refused_count == 1


def test_a_share_that_moves_is_gone_over_to_with_the_next_signal_on_its_ramp(bench: Bench) -> None:
    grant(bench, GRANT)
    signal(bench, 1, 1.0)
    grant(bench, replace(GRANT, sequence=2, up_kw=5.0))
    # Until then it stands where it was: the sum of the fleet does not jump with the grants.
    assert [setpoint.power_kw for _, setpoint in bench.port.take_setpoints()] == [3.0]
    signal(bench, 2, 1.0, after_s=3.0)
    ((_, setpoint),) = bench.port.take_setpoints()
    assert (setpoint.power_kw, setpoint.ramp_kw_per_s) == (5.0, 2.5)
    # The sequence of the signals goes on: an old value is none for the new share either.
    signal(bench, 1, -1.0, after_s=4.0)
    assert bench.link.orders.following.refused == {"reordered": 1}
