"""Events as files at the site: whole or not at all, bounded, the oldest thrown away."""

from pathlib import Path

import numpy as np
import pytest

from sites.core.event_recording import RecordedSite
from sites.edge.control.exchange import CapturedWaveform
from sites.edge.link.event_folder import EventFolder
from sites.edge.link.waveform_spool import MAX_SPOOLED, take_waveforms, write_waveform
from sites.edge.studies.waveform_files import read_wave_file

SITES = [RecordedSite(f"site_{k}", 50.0, 230.0, 3, 69.0) for k in range(2)]
COLUMNS = ("va_pu", "vb_pu", "vc_pu", "ia_pu", "ib_pu", "ic_pu", "decision")


def an_event(second: int, index: int = 0) -> CapturedWaveform:
    samples = np.random.default_rng(second).normal(size=(500, len(COLUMNS))).astype(np.float32)
    samples[:, 6] = np.arange(500) >= 100
    at_us = 1_770_000_000_000_000 + second * 1_000_000
    return CapturedWaveform(index, at_us, at_us + 10_000, 10_000.0, "phase_lost", COLUMNS, samples)


def test_an_event_is_a_pair_that_reads_back_in_volts(tmp_path: Path) -> None:
    folder = EventFolder(tmp_path / "events", SITES)
    event = an_event(1, index=1)
    path = folder.keep(event)
    assert path is not None
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, path.with_suffix(".dat").name])
    assert path.name.startswith("site_1_20260202T")
    found = read_wave_file(path)
    assert found.volts == pytest.approx(event.samples[:, :3].T * 230.0 * 2.0**0.5, abs=0.05)
    assert found.amperes is not None
    assert found.trigger_s == pytest.approx(0.01)


def test_the_oldest_events_go_first_whichever_site_they_are_of(tmp_path: Path) -> None:
    one = EventFolder(tmp_path / "one", SITES)
    path = one.keep(an_event(0))
    assert path is not None
    size = path.stat().st_size + path.with_suffix(".dat").stat().st_size
    folder = EventFolder(tmp_path / "events", SITES, max_bytes=3 * size + 300)
    # The later site's name sorts first: only the instants may decide.
    kept = [folder.keep(an_event(second, index=1 - second % 2)) for second in range(5)]
    left = set((tmp_path / "events").glob("*.cfg"))
    assert left == set(kept[2:])
    assert folder.dropped_count == 2
    assert sum(p.stat().st_size for p in (tmp_path / "events").iterdir()) <= 3 * size + 300


def test_a_half_written_file_of_a_dead_process_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".site_0_x.dat.part").write_bytes(b"half")
    EventFolder(tmp_path, SITES)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_is_told_and_not_raised(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = EventFolder(tmp_path / "events", SITES)
    (tmp_path / "events").rmdir()
    assert folder.keep(an_event(1)) is None
    assert "event.not_kept site_id=site_0" in caplog.text


def test_without_an_uplink_the_spool_does_not_fill_the_disk(tmp_path: Path) -> None:
    for second in range(MAX_SPOOLED + 3):
        write_waveform(tmp_path, an_event(second))
    waiting = take_waveforms(tmp_path)
    assert len(waiting) == MAX_SPOOLED
    assert waiting[0].trigger_at_us == an_event(3).trigger_at_us
