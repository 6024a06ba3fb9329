"""The shared block gives whole values only, whoever is killed where."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sites.core.assignments import Assignment
from sites.core.curves import Direction
from sites.core.requests import RequestRefusal, SiteRequest
from sites.edge.control.exchange import (
    MEASURED_DTYPE,
    RECORD_COLUMNS,
    REGISTER_DTYPE,
    STREAM,
    Answer,
    Ask,
    Boundary,
    CapturedWaveform,
    Counts,
    Image,
    RecordRows,
    ServiceBegin,
)
from sites.edge.link.local_requests import ask_locally
from sites.edge.link.shared_block import BOUNDARY_SLOTS, ControlSide, SharedBlock, SharedBlockError, UplinkSide

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def an_assignment(power_kw: float = 5.0) -> Assignment:
    points = ((0.015, 0.0), (0.2, 0.05), (0.5, 1.0))
    ends_at = START.replace(hour=13)
    return Assignment("a", "s", 1, "DC-1", "neso-dc-low", Direction.LOW, points, power_kw, 0.0, START, ends_at)


def both_sides(folder: Path) -> tuple[ControlSide, UplinkSide]:
    return ControlSide(SharedBlock(folder / "b"), folder), UplinkSide(SharedBlock(folder / "b"), folder)


def a_boundary(at_us: int) -> Boundary:
    return Boundary(1, at_us, np.full(1, at_us, REGISTER_DTYPE))


def test_what_a_site_begins_to_serve_comes_through_and_again_to_a_new_uplink(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    begun = [ServiceBegin(0, 1, 5, "DC-1", 0.0, 0.0), ServiceBegin(0, 1, 9, "\u00e9" * 100, 7.5, 2.5, STREAM)]
    for begin in begun:
        control.publish_service(begin)
    assert uplink.poll().services == begun
    assert uplink.poll().services == []
    assert both_sides(tmp_path)[1].poll().services == begun


def test_registers_that_were_put_by_outlive_their_controller_and_are_no_boundary_yet(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    assert control.last_registers() is None
    for at_us in (5, 9):
        control.publish_registers(a_boundary(at_us))
    assert uplink.poll().boundaries == []
    found = both_sides(tmp_path)[0].last_registers()
    assert found is not None
    assert (found.epoch_us, found.at_us, found.registers["pcc_into_j"][0]) == (1, 9, 9.0)


def test_an_image_arrives_as_it_was_written(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    measured = np.zeros(1, MEASURED_DTYPE)
    measured["frequency_hz"], measured["switch_closed"] = 49.87, 1.0
    control.publish_image(Image(1_000_000, measured, Counts(late=4, overruns=3), ("ab" * 32,)))
    image = uplink.poll().image
    assert image is not None
    assert (image.at_us, image.counts.samples_late, image.held) == (1_000_000, 7, ("ab" * 32,))
    assert image.measured == measured
    assert uplink.poll().image is None


def test_a_request_arrives_once_and_again_after_a_restart_of_the_controller(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    uplink.request(0, an_assignment())
    assert control.take_requests() == ((0, an_assignment()),)
    assert control.take_requests() == ()
    assert both_sides(tmp_path)[0].take_requests() == ((0, an_assignment()),)
    uplink.request(0, None)
    assert control.take_requests() == ((0, None),)


def test_asks_of_both_kinds_are_answered_and_none_outlives_its_controller(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    ask = Ask(0, 9, SiteRequest.BLACK_START, until_us=5)
    uplink.ask(ask)
    assert control.take_asks() == [ask]
    assert control.take_asks() == []
    control.publish_answer(Answer(0, 9, False, "latched"))
    control.publish_answer(Answer(0, 10, True, ""))
    assert uplink.poll().answers == [Answer(0, 9, False, "latched")]
    uplink.ask(ask)
    # Whoever starts anew does nothing that was asked of a process that is gone, and hears no answer to it.
    later, again = both_sides(tmp_path)
    assert later.take_asks() == []
    assert again.poll().answers == []


def test_a_controller_finds_what_the_one_before_it_showed_last(tmp_path: Path) -> None:
    control, _ = both_sides(tmp_path)
    assert control.last_image() is None
    measured = np.zeros(1, MEASURED_DTYPE)
    measured["mode"], measured["latched"] = 5, 3
    control.publish_image(Image(1, measured, Counts(), ("",)))
    before = both_sides(tmp_path)[0].last_image()
    assert before is not None
    assert before.measured == measured


def test_somebody_at_the_site_asks_over_the_block_and_a_silent_controller_is_named(tmp_path: Path) -> None:
    control, _ = both_sides(tmp_path)
    path = tmp_path / "b"
    clock_us = iter(range(0, 10**9, 500_000))

    def serve(_: float) -> None:
        for ask in control.take_asks():
            control.publish_answer(Answer(0, ask.number, ask.is_local, "" if ask.is_local else "local_only"))

    assert ask_locally(path, SiteRequest.CLEAR_LOCKOUT, utc_us=lambda: next(clock_us), sleep=serve) == ""
    silent = ask_locally(path, SiteRequest.ISLAND, utc_us=lambda: next(clock_us), sleep=lambda _: None)
    assert silent == RequestRefusal.CONTROLLER_SILENT
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SharedBlockError, match="is not there"):
        ask_locally(tmp_path / "none", SiteRequest.ISLAND)


def test_boundaries_survive_a_restart_of_the_uplink(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    for at_us in (1, 2, 3):
        control.publish_boundary(a_boundary(at_us))
    assert [b.at_us for b in uplink.poll().boundaries] == [1, 2, 3]
    assert [b.at_us for b in both_sides(tmp_path)[1].poll().boundaries] == [1, 2, 3]


def test_an_overrun_ring_goes_on_with_the_oldest_value_left(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    total = BOUNDARY_SLOTS + 10
    for at_us in range(1, total + 1):
        control.publish_boundary(a_boundary(at_us))
    assert [b.at_us for b in uplink.poll().boundaries] == list(range(11, total + 1))


def test_record_rows_arrive_in_order(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    rows = np.arange(150 * len(RECORD_COLUMNS), dtype=np.float32).reshape(150, 1, -1)
    control.publish_records(RecordRows(5_000_000, rows))
    pieces = uplink.poll().records
    assert [piece.first_us for piece in pieces] == [5_000_000, 6_000_000]
    assert np.array_equal(np.concatenate([piece.rows for piece in pieces]), rows)


def test_a_waveform_stays_in_the_spool_until_it_is_settled(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    samples = np.ones((20, 2), np.float32)
    control.publish_waveform(CapturedWaveform(0, 100, 200, 10_000.0, "loss", ("a", "b"), samples))
    (tmp_path / "9.waveform").write_bytes(b"no waveform")
    (waveform,) = uplink.poll().waveforms
    assert (waveform.trigger_at_us, waveform.cause, waveform.columns) == (200, "loss", ("a", "b"))
    assert np.array_equal(waveform.samples, samples)
    assert (tmp_path / "9.waveform.refused").exists()
    uplink.settle_waveform(waveform)
    assert uplink.poll().waveforms == []


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"something else")
    with pytest.raises(SharedBlockError, match="has 14 bytes, accepted: a block of"):
        SharedBlock(tmp_path / "b")


def test_a_half_written_slot_is_not_read_and_is_written_over(tmp_path: Path) -> None:
    control, uplink = both_sides(tmp_path)
    control.publish_boundary(a_boundary(1))
    control.publish_boundary(a_boundary(2))
    block = SharedBlock(tmp_path / "b")
    at = block.boundaries._at(2 % BOUNDARY_SLOTS)
    block.memory[at + 30] ^= 0xFF
    assert [b.at_us for b in uplink.poll().boundaries] == [1]
    restarted = ControlSide(SharedBlock(tmp_path / "b"), tmp_path)
    restarted.publish_boundary(a_boundary(3))
    assert [b.at_us for b in uplink.poll().boundaries] == [3]


WRITER = """
import pathlib, sys
from sites.edge.link.shared_block import SharedBlock
block = SharedBlock(pathlib.Path(sys.argv[1]))
value = 0
print("go", flush=True)
while True:
    value = (value + 1) % 251
    block.request.write(bytes([value]) * 4097)
"""


def test_a_writer_killed_at_any_instant_leaves_a_whole_value(tmp_path: Path) -> None:
    block = SharedBlock(tmp_path / "b")
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(block.path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"go\n"
        # Read while it writes: torn reads must show as another whole value or none, never as a mix.
        seen = set()
        while len(seen) < 50:
            newest = block.request.newest()
            if newest is not None:
                assert len(set(newest[1])) == 1
                seen.add(newest[0])
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        newest = block.request.newest()
        assert newest is not None
        sequence, value = newest
        assert len(value) == 4097
        assert len(set(value)) == 1
        assert sequence >= max(seen)
