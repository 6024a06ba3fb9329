"""Store-and-forward keeps numbers without holes and gives up only what its policy says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.edge.link.outbox import MAX_WAVEFORMS_DUE, RECORD_STREAM, WAVEFORM_STREAM, Outbox, OutboxError, OutboxFull

FAR = 2**62
"""An instant by which all have come."""


def an_outbox(path: Path, max_bytes: int = 10_000) -> Outbox:
    return Outbox(path / "outbox.sqlite3", empty=lambda payload: b"", max_bytes=max_bytes)


def put(outbox: Outbox, stream: str = "battery", payload: bytes = b"x", at_ms: int = 0, site_id: str = "s") -> int:
    if not outbox.is_adopted(site_id, stream):
        outbox.adopt(site_id=site_id, stream=stream, stored_through=0)
    return put_unadopted(outbox, stream, payload, at_ms, site_id)


def put_unadopted(
    outbox: Outbox, stream: str = "battery", payload: bytes = b"x", at_ms: int = 0, site_id: str = "s"
) -> int:
    number = outbox.next_number(site_id, stream)
    outbox.put(site_id=site_id, stream=stream, number=number, payload=payload, at_ms=at_ms)
    return number


def test_numbering_goes_on_over_a_restart(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    assert [put(outbox) for _ in range(3)] == [1, 2, 3]
    outbox.confirm(site_id="s", stream="battery", stored_through=3)
    outbox.close()
    assert put(an_outbox(tmp_path)) == 4


def test_a_number_out_of_turn_is_refused(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    with pytest.raises(ValueError, match="has number 2, accepted: 1"):
        outbox.put(site_id="s", stream="battery", number=2, payload=b"", at_ms=0)


def test_rows_stay_until_the_platform_has_stored_them(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    for _ in range(3):
        put(outbox)
    outbox.mark_sent([("s", "battery", n) for n in (1, 2, 3)], at_ms=100)
    assert outbox.due(sent_before_ms=100, limit=10, at_ms=FAR) == []
    assert [row.number for row in outbox.due(sent_before_ms=101, limit=10, at_ms=FAR)] == [1, 2, 3]
    assert outbox.confirm(site_id="s", stream="battery", stored_through=2) == 2
    assert [row.number for row in outbox.due(sent_before_ms=101, limit=10, at_ms=FAR)] == [3]


def test_a_mark_ahead_of_the_numbering_deletes_nothing(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    put(outbox)
    with pytest.raises(OutboxError, match="stored_through/battery is 2, accepted: 0 to 1"):
        outbox.confirm(site_id="s", stream="battery", stored_through=2)
    assert outbox.depth("s") == 1


def test_a_lost_link_makes_sent_rows_due_again(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    put(outbox)
    outbox.mark_sent([("s", "battery", 1)], at_ms=100)
    outbox.forget_sent("s")
    assert [row.number for row in outbox.due(sent_before_ms=0, limit=10, at_ms=FAR)] == [1]


def test_only_sites_that_are_up_are_due(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    put(outbox, site_id="a")
    put(outbox, site_id="b")
    assert [row.site_id for row in outbox.due(sent_before_ms=0, limit=10, at_ms=FAR, site_ids=["b"])] == ["b"]
    assert outbox.due(sent_before_ms=0, limit=10, at_ms=FAR, site_ids=[]) == []


class TestNewFile:
    def test_its_rows_wait_and_are_numbered_behind_the_platforms_mark(self, tmp_path: Path) -> None:
        outbox = an_outbox(tmp_path)
        for payload in (b"a", b"b", b"c"):
            put_unadopted(outbox, payload=payload)
        put(outbox, "pcc", b"p")
        assert [(row.stream, row.number) for row in outbox.due(sent_before_ms=0, limit=10, at_ms=FAR)] == [("pcc", 1)]
        # 2 is not a confirmation of the second row here: it speaks of an earlier file.
        assert outbox.adopt(site_id="s", stream="battery", stored_through=2) == 3
        rows = [
            (r.number, r.payload) for r in outbox.due(sent_before_ms=0, limit=10, at_ms=FAR) if r.stream == "battery"
        ]
        assert rows == [(3, b"a"), (4, b"b"), (5, b"c")]
        outbox.close()
        again = an_outbox(tmp_path)
        assert (again.is_adopted("s", "battery"), put_unadopted(again)) == (True, 6)

    @pytest.mark.parametrize("mark", [-1, 1_000_000_001, 2**53])
    def test_a_mark_that_no_site_can_have_reached_is_refused(self, tmp_path: Path, mark: int) -> None:
        outbox = an_outbox(tmp_path)
        put_unadopted(outbox)
        with pytest.raises(OutboxError, match="accepted: 0 to 1000000000"):
            outbox.adopt(site_id="s", stream="battery", stored_through=mark)
        assert (outbox.is_adopted("s", "battery"), outbox.next_number("s", "battery")) == (False, 2)

    def test_numbers_are_final_once_adopted(self, tmp_path: Path) -> None:
        outbox = an_outbox(tmp_path)
        put(outbox)
        with pytest.raises(ValueError, match="final"):
            outbox.adopt(site_id="s", stream="battery", stored_through=9)
        assert outbox.next_number("s", "battery") == 2


def test_waveforms_wait_until_everything_else_has_been_given_out(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    for _ in range(MAX_WAVEFORMS_DUE + 1):
        put(outbox, WAVEFORM_STREAM, b"w")
    for _ in range(3):
        put(outbox)
    assert [row.stream for row in outbox.due(sent_before_ms=0, limit=3, at_ms=FAR)] == ["battery"] * 3
    assert [row.stream for row in outbox.due(sent_before_ms=0, limit=5, at_ms=FAR)] == ["battery"] * 3 + [
        "waveform"
    ] * 2
    assert len(outbox.due(sent_before_ms=0, limit=1000, at_ms=FAR)) == 3 + MAX_WAVEFORMS_DUE


class TestWhenFull:
    def test_the_oldest_records_lose_their_samples_before_any_waveform(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        outbox = an_outbox(tmp_path, max_bytes=100)
        put(outbox, WAVEFORM_STREAM, b"w" * 40, at_ms=1)
        put(outbox, RECORD_STREAM, b"r" * 40, at_ms=2)
        put(outbox, RECORD_STREAM, b"q" * 40, at_ms=3)
        rows = {(row.stream, row.number): row.payload for row in outbox.due(sent_before_ms=0, limit=10, at_ms=FAR)}
        assert rows == {("record", 1): b"", ("record", 2): b"q" * 40, ("waveform", 1): b"w" * 40}
        assert outbox.dropped_count == 1
        assert [record.getMessage() for record in caplog.records] == [
            "samples.dropped site_id=s stream=record number=1"
        ]

    def test_intervals_are_never_touched(self, tmp_path: Path) -> None:
        outbox = an_outbox(tmp_path, max_bytes=50)
        for _ in range(20):
            put(outbox, "battery", b"i" * 30)
        put(outbox, RECORD_STREAM, b"r" * 50)
        assert outbox.depth() == 21
        with pytest.raises(OutboxFull, match="51 bytes do not fit, accepted: up to 50"):
            put(outbox, RECORD_STREAM, b"r" * 51)
        # The refused record did not use up its number.
        assert outbox.next_number("s", RECORD_STREAM) == 2

    def test_confirmed_records_make_room_again(self, tmp_path: Path) -> None:
        outbox = an_outbox(tmp_path, max_bytes=100)
        for _ in range(5):
            number = put(outbox, RECORD_STREAM, b"r" * 90)
            outbox.confirm(site_id="s", stream=RECORD_STREAM, stored_through=number)
        assert outbox.dropped_count == 0


def test_a_failed_transaction_leaves_counters_and_rows_as_they_were(tmp_path: Path) -> None:
    outbox = an_outbox(tmp_path)
    put(outbox)

    def fail() -> None:
        with outbox.transaction():
            put(outbox)
            outbox.set_counter("s", "bd_seq", 7)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert (outbox.depth(), outbox.next_number("s", "battery"), outbox.counter("s", "bd_seq")) == (1, 2, 0)
    assert put(outbox) == 2


@given(steps=st.lists(st.one_of(st.just("put"), st.just("restart"), st.integers(0, 30)), max_size=40))
def test_unconfirmed_numbers_are_always_one_run_up_to_the_last(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | int]
) -> None:
    folder = tmp_path_factory.mktemp("outbox")
    outbox = an_outbox(folder)
    last = mark = 0
    for step in steps:
        if step == "put":
            last = put(outbox)
        elif step == "restart":
            outbox.close()
            outbox = an_outbox(folder)
        elif isinstance(step, int) and step <= last:
            outbox.confirm(site_id="s", stream="battery", stored_through=step)
            mark = max(mark, step)
    numbers = [row.number for row in outbox.due(sent_before_ms=0, limit=1000, at_ms=FAR)]
    assert numbers == list(range(mark + 1, last + 1))
    outbox.close()


def test_a_killed_writer_leaves_neither_a_hole_nor_a_repeat(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from sites.edge.link.outbox import Outbox\n"
        "box = Outbox(pathlib.Path(sys.argv[1]), empty=lambda p: b'')\n"
        "box.adopt(site_id='s', stream='battery', stored_through=0)\n"
        "while True:\n"
        "    n = box.next_number('s', 'battery')\n"
        "    box.put(site_id='s', stream='battery', number=n, payload=b'x' * 500, at_ms=n)\n"
        "    print(n, flush=True)\n"
    )
    path = tmp_path / "outbox.sqlite3"
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = 0
    while told < 50:
        told = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.wait(10)
    told = max([told, *(int(line) for line in writer.stdout.read().split() if line)])
    outbox = Outbox(path, empty=lambda payload: b"")
    numbers = [row.number for row in outbox.due(sent_before_ms=0, limit=100_000, at_ms=FAR)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= told
    assert outbox.next_number("s", "battery") == len(numbers) + 1
    assert os.path.exists(path)
