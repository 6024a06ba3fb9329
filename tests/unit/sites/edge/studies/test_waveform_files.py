"""Files that users bring: CSV in its variants, COMTRADE pairs, and what is wrong with the rest."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.recordings import waves, write_csv

from sites.core.comtrade import AnalogChannel, Configuration, Section
from sites.core.comtrade_writer import recording_of, write_recording, write_single_file
from sites.edge.studies.waveform_files import RecordingError, read_wave_file

RATE_HZ = 5000.0


def write_comtrade(
    folder: Path, channels: list[tuple[str, str, str]], rows: np.ndarray, *, upper: bool = False, single: bool = False,
    component: str = "", primary: float = 1.0, secondary: float = 1.0, is_secondary: bool = False,
) -> Path:  # fmt: skip
    """Write rows as channels of (name, phase, unit); return the path of the .cfg or .cff."""
    configuration = Configuration(
        station="S", device="1", revision=2013 if single else 1999,
        analog=tuple(
            AnalogChannel(name, phase, component, unit, 1.0, 0.0, primary=primary, secondary=secondary,
                          is_secondary=is_secondary)
            for name, phase, unit in channels
        ),
        status=(), nominal_hz=50.0, sections=(Section(RATE_HZ, rows.shape[1]),),
        starts_at=datetime(2026, 1, 1), trigger_at=datetime(2026, 1, 1), encoding="BINARY",  # noqa: DTZ001
    )  # fmt: skip
    recording = recording_of(configuration, rows)
    if single:
        path = folder / "r.cff"
        path.write_bytes(write_single_file(recording))
        return path
    cfg, dat = write_recording(recording)
    path = folder / ("R.CFG" if upper else "r.cfg")
    path.write_bytes(cfg)
    path.with_suffix(".DAT" if upper else ".dat").write_bytes(dat)
    return path


def volts(count: int = 3) -> np.ndarray:
    return waves(rate_hz=RATE_HZ, seconds=0.1, phases=3)[1][:count]


class TestCsv:
    def test_three_phases_with_currents(self, tmp_path: Path) -> None:
        t_s, rows = waves()
        found = read_wave_file(write_csv(tmp_path / "r.csv", t_s, np.concatenate((rows, rows / 10.0))))
        assert found.volts == pytest.approx(rows, abs=1e-3)
        assert found.amperes is not None
        assert found.amperes == pytest.approx(rows / 10.0, abs=1e-3)
        assert found.notes == ()

    def test_one_phase_with_its_current(self, tmp_path: Path) -> None:
        t_s, rows = waves(phases=1)
        path = write_csv(tmp_path / "r.CSV", t_s, np.concatenate((rows, rows)), names="va,ia")
        found = read_wave_file(path)
        assert found.names == ("va", "ia")

    def test_semicolons_decimal_commas_blank_cells_comments_and_a_last_line_cut_short(self, tmp_path: Path) -> None:
        path = tmp_path / "r.csv"
        path.write_text("\ufeff# made by hand\nTime; VA ;note\n0,000;1,5;x1\n0,001;;2\n0,002;2,5;3\n0,0")
        with pytest.raises(RecordingError, match="line 3 holds 'x1', accepted: numbers"):
            read_wave_file(path)
        path.write_text("\ufeff# made by hand\nTime; VA ;note\n0,000;1,5;1\n0,001;;2\n0,002;2,5;3\n0,0")
        found = read_wave_file(path)
        assert found.t_s.tolist() == [0.0, 0.001, 0.002]
        assert found.volts[0] == pytest.approx([1.5, np.nan, 2.5], nan_ok=True)
        assert "column 'note' is not one of" in found.notes[0]

    def test_without_a_header_the_count_of_columns_tells(self, tmp_path: Path) -> None:
        path = tmp_path / "r.csv"
        path.write_text("0,1,2,3\n0.001,1,2,3\n")
        assert read_wave_file(path).names == ("va", "vb", "vc")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty"),
            ("# only\n", "comments only"),
            ("t_s,va,vb,vc\n", "a header and no samples"),
            ("t_s,va,vb\n0,1,2\n", "names t_s, va, vb, accepted: t_s,va for one phase"),
            ("va,vb,vc\n1,2,3\n", "accepted: t_s,va"),
            ("t_s,va,va\n0,1,2\n", "names column 'va' twice"),
            ("t_s,va,vb,vc,ia\n0,1,2,3,4\n", "names currents"),
            ("0,1,2,3,4\n", "has 5 columns and no header"),
            ("t_s,va\n0,1\n0.1,x\n0.2,3\n", "line 3 holds 'x'"),
            ("t_s,va\n0,1\n0.1\n0.2,3\n", "line 3 has 1 columns, accepted: 2"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, text: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "r.csv"
        path.write_text(text)
        with pytest.raises(RecordingError) as caught:
            read_wave_file(path)
        assert message in str(caught.value)
        assert "accepted" in str(caught.value)
        assert str(path) in str(caught.value)

    def test_a_missing_cell_among_many_lines_and_lines_of_old_systems_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "r.csv"
        path.write_bytes(b'# source\r"t_s","va"\r0,1\r\r# pause\r0.1,\r0.2,"3"\r')
        found = read_wave_file(path)
        assert found.t_s.tolist() == [0.0, 0.1, 0.2]
        assert found.volts[0] == pytest.approx([1.0, np.nan, 3.0], nan_ok=True)

    def test_a_header_of_control_characters_or_of_thousands_of_columns_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "r.csv"
        path.write_bytes(b"t_s,\x1b[2Jx\n0,1\n")
        with pytest.raises(RecordingError, match=r"names t_s, \?\[2jx, accepted"):
            read_wave_file(path)
        path.write_text("t_s,va" + ",x" * 500 + "\n")
        with pytest.raises(RecordingError, match="has 502 columns, accepted: up to 200"):
            read_wave_file(path)

    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path) -> None:
        for name in ("r.csv", "r.cff", "s.cfg", "s.dat"):
            os.mkfifo(tmp_path / name)
            with pytest.raises(RecordingError, match=r"is a pipe or a device|has no"):
                read_wave_file(tmp_path / name)


class TestComtrade:
    @pytest.mark.parametrize("upper", [False, True])
    def test_a_pair_is_found_from_either_half_whatever_the_case(self, upper: bool, tmp_path: Path) -> None:
        path = write_comtrade(tmp_path, [("VA", "A", "V"), ("VB", "B", "V"), ("VC", "C", "V")], volts(), upper=upper)
        for half in (path, path.with_suffix(".DAT" if upper else ".dat")):
            assert read_wave_file(half).volts == pytest.approx(volts(), abs=0.02)

    def test_a_single_file(self, tmp_path: Path) -> None:
        path = write_comtrade(tmp_path, [("VA", "A", "V"), ("VB", "B", "V"), ("VC", "C", "V")], volts(), single=True)
        assert read_wave_file(path).volts == pytest.approx(volts(), abs=0.02)

    @pytest.mark.parametrize(
        "names",
        [
            [("UL1", ""), ("UL2", ""), ("UL3", "")],
            [("HV Bus VR", ""), ("HV Bus VS", ""), ("HV Bus VT", "")],
            [("F5-VA", "A"), ("F6-VB", "B"), ("F7-VC", "C")],
            [("U1", "V1"), ("U2", "V2"), ("U3", "V3")],
            [("bus voltage", "L1"), ("bus voltage", "L2"), ("bus voltage", "L3")],
        ],
    )
    def test_phases_are_told_by_name_or_by_phase(self, names: list[tuple[str, str]], tmp_path: Path) -> None:
        channels = [("freq", "", "Hz"), ("V mag", "A", "V"), ("V0", "N", "V"), *((*name, "kV") for name in names)]
        rows = np.concatenate((np.full((3, volts().shape[1]), 7.0), volts() / 1000.0))
        found = read_wave_file(write_comtrade(tmp_path, channels, rows))
        assert found.names == tuple(name for name, _ in names)
        assert found.volts == pytest.approx(volts(), abs=0.02)

    def test_voltages_between_phases_become_their_star(self, tmp_path: Path) -> None:
        a, b, c = volts()
        channels = [("VAB", "", "V"), ("VBC", "", "V"), ("VCA", "", "V")]
        found = read_wave_file(write_comtrade(tmp_path, channels, np.array([a - b, b - c, c - a])))
        assert found.volts == pytest.approx(volts() - volts().mean(axis=0), abs=0.03)
        assert any("star" in note for note in found.notes)

    def test_currents_are_taken_when_named_and_not_otherwise(self, tmp_path: Path) -> None:
        channels = [(f"{q}{p}", p, unit) for q, unit in (("V", "V"), ("I", "A")) for p in "ABC"]
        path = write_comtrade(tmp_path, channels, np.concatenate((volts(), volts() / 10.0)))
        assert read_wave_file(path).amperes is None
        named = read_wave_file(path, ["va", "2", "VC", "ia", "ib", "6"])
        assert named.amperes is not None
        assert named.amperes == pytest.approx(volts() / 10.0, abs=0.01)

    def test_the_currents_through_the_switch_of_our_own_recorder_are_taken(self, tmp_path: Path) -> None:
        channels = [(f"{q}{p}", p, unit) for q, unit in (("V", "V"), ("I", "A")) for p in "ABC"]
        path = write_comtrade(tmp_path, channels, np.concatenate((volts(), volts())), component="static switch")
        assert read_wave_file(path).amperes is not None

    def test_a_channel_that_is_not_there_is_named_with_those_that_are(self, tmp_path: Path) -> None:
        path = write_comtrade(tmp_path, [("VA", "A", "V"), ("VB", "B", "V"), ("VC", "C", "V")], volts())
        with pytest.raises(RecordingError, match=r"no channel 'VX', accepted: 1 VA \[V\], 2 VB \[V\], 3 VC \[V\]"):
            read_wave_file(path, ["VX"])
        with pytest.raises(RecordingError, match="names 4, accepted: va"):
            read_wave_file(path, ["1", "2", "3", "1"])

    def test_a_recording_without_voltages_says_so(self, tmp_path: Path) -> None:
        path = write_comtrade(tmp_path, [("speed", "", "rpm")], volts(1))
        with pytest.raises(RecordingError, match=r"no channel is a phase voltage, accepted: --channels with 1 speed"):
            read_wave_file(path)

    def test_half_a_pair_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "r.cfg").write_text("S,1,1999\n")
        with pytest.raises(RecordingError, match=r"has no \.dat beside it, accepted: r\.cfg and r\.dat"):
            read_wave_file(tmp_path / "r.cfg")


def test_a_folder_a_missing_file_and_an_unknown_kind(tmp_path: Path) -> None:
    (tmp_path / "r.mat").write_bytes(b"x")
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "no.csv", "cannot be read"),
        (tmp_path / "r.mat", "kind .mat"),
    ):
        with pytest.raises(RecordingError, match=message):
            read_wave_file(path)


@given(
    data=st.binary(max_size=300),
    suffix=st.sampled_from([".csv", ".cfg", ".cff", ".dat"]),
    other=st.binary(max_size=200),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_a_named_error_and_never_a_crash(data: bytes, suffix: str, other: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"g{suffix}"
    path.write_bytes(data)
    if suffix in {".cfg", ".dat"}:
        (tmp_path / ("g.dat" if suffix == ".cfg" else "g.cfg")).write_bytes(other)
    with contextlib.suppress(RecordingError):
        read_wave_file(path)
