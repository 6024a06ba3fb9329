"""Live aggregates: read or refused by name, merged over workers, silent workers left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.console.aggregates import HISTORY_S, AggregateMalformed, FleetStore, read_aggregate
from vpp.console.broadcast import Broadcast

NOW_S = 1_800_000_000.0


def a_message(**values: Any) -> bytes:
    fields: dict[str, Any] = {
        "at": datetime.fromtimestamp(NOW_S, UTC).isoformat(),
        "sites_total": 10,
        "sites_fresh": 8,
        "by_mode": {"grid_tied": 7, "islanded": 1},
        "frequency_hz": 49.9,
        "service_kw": 12.0,
        "required_kw": 15.0,
        "islanded": ["site-0001"],
        "islanded_total": 1,
    }
    return json.dumps(fields | values).encode()


class TestRead:
    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ({"at": "2026-01-01T00:00:00"}, "at is"),
            ({"at": 12.0}, "at is"),
            ({"sites_total": -1}, "sites_total"),
            ({"sites_fresh": True}, "sites_fresh"),
            ({"by_mode": []}, "by_mode"),
            ({"by_mode": {"islanded": "2"}}, "islanded is"),
            ({"frequency_hz": "50"}, "frequency_hz"),
            ({"service_kw": float("nan")}, "service_kw"),
            ({"required_kw": None}, "required_kw"),
            ({"service_kw": 10**400}, "service_kw"),
            ({"frequency_hz": float("inf")}, "frequency_hz"),
            ({"sites_total": 10**30}, "sites_total"),
            ({"islanded": "site-0001"}, "islanded"),
        ],
    )
    def test_a_wrong_field_is_refused_by_its_name(self, values: dict[str, Any], named: str) -> None:
        with pytest.raises(AggregateMalformed, match=named):
            read_aggregate("vpp/live/ingest-0", a_message(**values))

    @pytest.mark.parametrize("topic", ["vpp/live/", "vpp/live/a/b", "vpp/other", "vpp/live/" + "x" * 65])
    def test_a_topic_that_names_no_worker_is_refused(self, topic: str) -> None:
        with pytest.raises(AggregateMalformed, match="topic"):
            read_aggregate(topic, a_message())

    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_or_refused_and_the_store_goes_on(self, payload: bytes) -> None:
        store = FleetStore()
        store.accept("vpp/live/ingest-0", payload, at_s=NOW_S)
        assert store.refused == 1
        store.accept("vpp/live/ingest-0", a_message(), at_s=NOW_S)
        assert store.frame(at_s=NOW_S).sites_fresh == 8

    def test_too_large_a_message_is_refused_before_it_is_parsed(self) -> None:
        with pytest.raises(AggregateMalformed, match="bytes"):
            read_aggregate("vpp/live/ingest-0", b" " * 64_001)


class TestMerge:
    def test_workers_add_up_and_the_frequency_is_weighted_by_fresh_sites(self) -> None:
        store = FleetStore()
        store.accept("vpp/live/a", a_message(sites_fresh=1, frequency_hz=50.0), at_s=NOW_S)
        store.accept("vpp/live/b", a_message(sites_fresh=3, frequency_hz=49.6, islanded=["site-0002"]), at_s=NOW_S)
        frame = store.frame(at_s=NOW_S)
        assert (frame.sites_total, frame.sites_fresh, frame.by_mode) == (20, 4, {"grid_tied": 14, "islanded": 2})
        assert frame.frequency_hz == pytest.approx(49.7)
        assert (frame.islanded, frame.islanded_total) == (("site-0001", "site-0002"), 2)
        assert frame.service_kw == 24.0

    def test_a_silent_worker_keeps_its_sites_in_the_total_but_delivers_nothing(self) -> None:
        store = FleetStore()
        store.accept("vpp/live/a", a_message(), at_s=NOW_S)
        store.accept("vpp/live/b", a_message(), at_s=NOW_S + 6.0)
        frame = store.frame(at_s=NOW_S + 6.0)
        assert (frame.sites_total, frame.sites_fresh, frame.service_kw) == (20, 8, 12.0)
        assert dict(frame.workers) == {"a": 6.0, "b": 0.0}

    def test_with_every_worker_silent_there_is_no_figure_at_all(self) -> None:
        store = FleetStore()
        store.accept("vpp/live/a", a_message(), at_s=NOW_S)
        frame = store.frame(at_s=NOW_S + 6.0)
        assert (frame.data_at_s, frame.frequency_hz, frame.sites_fresh) == (None, None, 0)

    def test_a_worker_that_never_comes_back_is_forgotten(self) -> None:
        store = FleetStore()
        store.accept("vpp/live/a", a_message(), at_s=NOW_S)
        assert store.frame(at_s=NOW_S + 61.0).sites_total == 0

    def test_the_number_of_workers_is_bounded(self) -> None:
        store = FleetStore()
        for number in range(70):
            store.accept(f"vpp/live/w{number}", a_message(), at_s=NOW_S)
        assert (len(store.latest), store.refused) == (64, 6)


class TestHistory:
    def test_a_point_is_kept_once_however_often_the_beat_comes(self) -> None:
        store = FleetStore()
        store.accept("vpp/live/a", a_message(), at_s=NOW_S)
        store.keep_point(at_s=NOW_S)
        store.keep_point(at_s=NOW_S + 0.5)
        assert list(store.history) == [(NOW_S, 49.9, 15.0, 12.0)]

    def test_points_older_than_ten_minutes_go(self) -> None:
        store = FleetStore()
        for later_s in (0.0, 1.0, HISTORY_S + 0.5):
            at = datetime.fromtimestamp(NOW_S + later_s, UTC).isoformat()
            store.accept("vpp/live/a", a_message(at=at), at_s=NOW_S + later_s)
            store.keep_point(at_s=NOW_S + later_s)
        assert [point[0] - NOW_S for point in store.history] == [1.0, HISTORY_S + 0.5]


async def test_refused_messages_are_told_once_a_beat_with_the_last_reason(caplog: pytest.LogCaptureFixture) -> None:
    live = Broadcast()
    for payload in (b"{}", b"nonsense", b"\xff"):
        live.store.accept("vpp/live/ingest-0", payload, at_s=0.0)
    await live._beat()
    await live._beat()
    (told,) = [record.getMessage() for record in caplog.records if record.name == "vpp.console.broadcast"]
    assert told.startswith(f"message.refused count=3 last={live.store.last_refusal}")
    assert "accepted" in told
