"""A site says when what it holds is not safe: how much, since when, and what was given up."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.site_bench import NOW, Bench

from sites.edge.link.outbox import RECORD_STREAM, WAVEFORM_STREAM, Backlog, Outbox
from sites.edge.link.outbox_file import OutboxUnwritable
from sites.edge.link.outbox_watch import DROPPING_S, OutboxWatch
from sites.wire.host_events import NodeData, Refused

MINUTE_MS = 60_000


def an_outbox(path: Path, max_bytes: int = 100) -> Outbox:
    return Outbox(path / "outbox.sqlite3", empty=lambda payload: b"", max_bytes=max_bytes)


def put(outbox: Outbox, stream: str, payload: bytes = b"x", at_ms: int = NOW) -> None:
    number = outbox.next_number("s", stream)
    outbox.put(site_id="s", stream=stream, number=number, payload=payload, at_ms=at_ms)


def looked(watch: OutboxWatch, outbox: Outbox, *, at_s: float = 0.0, at_ms: int = NOW) -> dict[str, object]:
    backlog = outbox.backlogs(at_ms=at_ms).get("s", Backlog())
    watch.look(outbox, backlog, at_ms=at_ms, at_s=at_s)
    return watch.values


def test_what_is_on_its_way_is_no_backlog(tmp_path: Path) -> None:
    outbox, watch = an_outbox(tmp_path), OutboxWatch("s")
    put(outbox, "battery")
    assert looked(watch, outbox, at_ms=NOW + MINUTE_MS) == {
        "outbox_state": "ok", "outbox_rows": 0, "outbox_oldest_at": None, "outbox_used_ratio": 0.0,
        "outbox_dropped_records": 0, "outbox_dropped_waveforms": 0,
    }  # fmt: skip
    put(outbox, "pcc", at_ms=NOW + 5)
    values = looked(watch, outbox, at_ms=NOW + MINUTE_MS + 10)
    assert (values["outbox_rows"], values["outbox_oldest_at"]) == (2, NOW)


def test_rows_of_a_clock_that_ran_ahead_wait_too_and_are_no_older_than_now(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    put(outbox, "battery", at_ms=NOW + 60 * MINUTE_MS)
    values = looked(OutboxWatch("s"), outbox)
    assert (values["outbox_rows"], values["outbox_oldest_at"]) == (1, NOW)


def test_it_says_that_it_fills_then_that_samples_went_for_an_hour_and_how_many_for_ever(tmp_path: Path) -> None:
    outbox, watch = an_outbox(tmp_path), OutboxWatch("s")
    put(outbox, WAVEFORM_STREAM, b"w" * 40)
    put(outbox, RECORD_STREAM, b"r" * 39)
    assert (looked(watch, outbox)["outbox_state"], watch.values["outbox_used_ratio"]) == ("ok", 0.79)
    put(outbox, RECORD_STREAM, b"r")
    assert looked(watch, outbox)["outbox_state"] == "filling"
    put(outbox, RECORD_STREAM, b"q" * 59)
    values = looked(watch, outbox, at_s=10.0)
    assert (values["outbox_state"], values["outbox_dropped_records"], values["outbox_dropped_waveforms"]) == (
        "dropping", 1, 0,
    )  # fmt: skip
    put(outbox, RECORD_STREAM, b"p" * 90)
    outbox.close()
    # The count is on disk; a process that starts does not take it for news.
    outbox, watch = an_outbox(tmp_path), OutboxWatch("s")
    values = looked(watch, outbox, at_s=20.0)
    assert (values["outbox_state"], values["outbox_dropped_records"], values["outbox_dropped_waveforms"]) == (
        "filling", 3, 1,
    )  # fmt: skip
    put(outbox, RECORD_STREAM, b"o" * 50)
    assert looked(watch, outbox, at_s=30.0)["outbox_state"] == "dropping"
    assert looked(watch, outbox, at_s=29.0 + DROPPING_S)["outbox_state"] == "dropping"
    assert looked(watch, outbox, at_s=30.0 + DROPPING_S)["outbox_state"] == "ok"


def test_a_disk_that_takes_nothing_is_said_until_it_takes_again(tmp_path: Path) -> None:
    outbox, watch = an_outbox(tmp_path, max_bytes=1_000_000), OutboxWatch("s")
    put(outbox, RECORD_STREAM, b"r" * 20_000)
    (pages,) = outbox._database.execute("PRAGMA page_count").fetchone()
    outbox._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutboxUnwritable):
        put(outbox, "battery", b"i" * 100_000)
    assert looked(watch, outbox)["outbox_state"] == "unwritable"
    assert watch.values["outbox_dropped_records"] == 1
    # The samples that were given up made room for an interval.
    put(outbox, "battery", b"i" * 300)
    assert looked(watch, outbox)["outbox_state"] != "unwritable"
    assert (outbox.next_number("s", "battery"), outbox.dropped("s", RECORD_STREAM)) == (2, 1)
    outbox.close()
    assert an_outbox(tmp_path).dropped("s", RECORD_STREAM) == 1


def test_the_platform_hears_of_it_with_the_live_data_and_takes_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.told(bench.come_online())
    bench.link.outbox_watch.look(bench.outbox, Backlog(12, NOW - 90_000), at_ms=NOW, at_s=0.0)
    events = bench.told(bench.link.live())
    assert not [event for event in events if isinstance(event, Refused)]
    (node,) = (event for event in events if isinstance(event, NodeData))
    told = {name: value.value for name, value in node.values.items() if name.startswith("outbox_")}
    assert told == bench.link.outbox_watch.values
    assert (told["outbox_rows"], told["outbox_oldest_at"]) == (12, NOW - 90_000)
    # Unchanged, it is not told again.
    bench.measure(NOW + 1_000)
    (node,) = (e for e in bench.told(bench.link.live(), NOW + 1_000) if isinstance(e, NodeData))
    assert not [name for name in node.values if name.startswith("outbox_")]
