"""COMTRADE both ways: what we write comes back, by us and by another reader; sloppy files; named errors."""

from __future__ import annotations

import contextlib
import io
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sites.core.comtrade import AnalogChannel, ComtradeError, Configuration, Recording, Section, StatusChannel
from sites.core.comtrade_config import read_configuration
from sites.core.comtrade_data import read_recording, read_single_file
from sites.core.comtrade_time import time_axis
from sites.core.comtrade_writer import recording_of, write_recording, write_single_file

FIELD = Path(__file__).resolve().parents[5] / "shared" / "data" / "waveforms"
FORMS = [
    (1991, "ASCII"), (1991, "BINARY"), (1999, "ASCII"), (1999, "BINARY"),
    (2013, "ASCII"), (2013, "BINARY"), (2013, "BINARY32"), (2013, "FLOAT32"),
]  # fmt: skip


def a_recording(revision: int = 1999, encoding: str = "BINARY", samples: int = 200) -> tuple[Recording, np.ndarray]:
    t_s = np.arange(samples) / 10_000.0
    volts = np.array([325.0 * np.cos(314.0 * t_s - k * 2.0944) for k in range(3)])
    volts[1, 7:8] = np.nan
    states = np.zeros((18, samples))
    states[0, 50:] = 1
    states[17, 60:] = 1
    names = ("VA", "VB", "VC")
    configuration = Configuration(
        station="Station, one", device="7", revision=revision,
        analog=tuple(AnalogChannel(name, name[1], "", "V", 1.0, 0.0) for name in names),
        status=tuple(StatusChannel(f"S{k}") for k in range(18)),
        nominal_hz=50.0, sections=(Section(10_000.0, samples),),
        starts_at=datetime(2026, 3, 4, 5, 6, 7, 123456), trigger_at=datetime(2026, 3, 4, 5, 6, 7, 128456),  # noqa: DTZ001
        encoding=encoding,
    )  # fmt: skip
    return recording_of(configuration, volts, states), volts


def config(**changes: str) -> bytes:
    """Return a small good configuration with parts replaced."""
    parts = {
        "station": "S,1,1999", "counts": "3,2A,1D",
        "a1": "1,VA,A,,V,0.1,0,0,-32767,32767,1,1,P", "a2": "2,IA,A,,A,0.01,0,0,-32767,32767,1,1,P",
        "d1": "1,TRIP,,,0", "hz": "50", "nrates": "1", "rate": "1000,4",
        "start": "04/03/2026,05:06:07.000000", "trigger": "04/03/2026,05:06:07.002000", "type": "ASCII", "mult": "1",
    } | changes  # fmt: skip
    return "\r\n".join(line for line in parts.values() if line != "-").encode("latin-1")


DATA = b"1,0,100,5,0\r\n2,1000,200,6,0\r\n3,2000,300,7,1\r\n4,3000,400,8,1\r\n"


@pytest.mark.parametrize(("revision", "encoding"), FORMS)
def test_what_is_written_is_read_back(revision: int, encoding: str) -> None:
    written, volts = a_recording(revision, encoding)
    found = read_recording(*write_recording(written))
    assert found.notes == ()
    values = np.array([found.values(k) for k in range(3)])
    # Half of the step of 16 bits over the range; ASCII has five digits.
    assert np.nanmax(np.abs(values - volts)) <= 325.0 / 32_767 * 0.51
    assert np.array_equal(np.isnan(values), np.isnan(volts))
    assert np.array_equal(found.states, written.states)
    assert found.configuration.station == "Station one"
    assert found.configuration.trigger_s == pytest.approx(0.005)
    t_s, notes = time_axis(found)
    assert notes == ()
    assert t_s == pytest.approx(np.arange(200) / 10_000.0, abs=1e-9)


@pytest.mark.parametrize("encoding", ["ASCII", "BINARY", "BINARY32", "FLOAT32"])
def test_a_single_file_holds_the_same(encoding: str) -> None:
    written, volts = a_recording(2013, encoding)
    found = read_single_file(write_single_file(written))
    assert np.nanmax(np.abs(found.values(0) - volts[0])) < 0.01
    assert np.array_equal(found.states, written.states)


@pytest.mark.parametrize(("revision", "encoding"), FORMS)
def test_another_reader_finds_the_same_in_what_we_write(revision: int, encoding: str, tmp_path: Path) -> None:
    comtrade = pytest.importorskip("comtrade", reason="the comtrade package (extra dev) is not installed")
    written, volts = a_recording(revision, encoding)
    volts = np.nan_to_num(volts, nan=0.0)
    written = recording_of(written.configuration, volts, written.states)
    configuration, data = write_recording(written)
    (tmp_path / "r.cfg").write_bytes(configuration)
    (tmp_path / "r.dat").write_bytes(data)
    other = comtrade.load(str(tmp_path / "r.cfg"), str(tmp_path / "r.dat"))
    assert other.rev_year == str(revision)
    assert np.array(other.analog) == pytest.approx(volts, abs=325.0 / 32_767)
    assert np.array_equal(np.array(other.status) > 0, written.states)
    assert np.array(other.time) == pytest.approx(np.arange(200) / 10_000.0, abs=1e-6)
    assert other.trigger_time == pytest.approx(0.005)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "twin", "channels"),
    [
        ("3.cfg", "wisp3_C60", (4, 5, 6)),
        ("keating_1999.CFG", "keating_347V", (4, 5, 6)),
        ("test1.cfg", "strathmore_275kV", (8, 9, 10)),
        ("xtz.cfg", "xtz_220kV_seg0", (0, 1, 2)),
    ],
)
def test_measured_recordings_have_the_values_of_their_twins(name: str, twin: str, channels: tuple[int, ...]) -> None:
    path = FIELD / "comtrade" / name
    if not path.exists():
        pytest.skip("measured recordings are not here: ../shared/data/waveforms")
    data = path.with_suffix({"cfg": ".dat", "CFG": ".DAT"}[name[-3:]])
    found = read_recording(path.read_bytes(), data.read_bytes())
    with np.load(FIELD / f"{twin}.npz") as right:
        values = np.array([found.values(k) for k in channels])[:, : right["v"].shape[1]]
        assert np.abs(values - right["v"]).max() < 1e-6 * np.abs(right["v"]).max()


class TestSloppyFiles:
    def test_latin_1_text_and_spaces_and_a_blank_end(self) -> None:
        found = read_recording(
            config(station="Brücke , 1 ,1999", a1=" 1 , Süd VA ,A, , V ,0.1,0,0,-9,9,1,1,P", mult="1\r\n\r\n\x1a"),
            DATA,
        )  # fmt: skip
        assert (found.configuration.station, found.configuration.analog[0].name) == ("Brücke", "Süd VA")
        assert found.values(0).tolist() == [10.0, 20.0, 30.0, 40.0]

    def test_missing_trailing_lines_are_made_up_and_named(self) -> None:
        found = read_recording(config(trigger="-", type="-", mult="-"), DATA)
        assert found.configuration.time_multiplier == 1.0
        assert [note.split(": ")[1] for note in found.notes] == [
            "no instant of the trigger",
            "no file type; told by the data",
        ]

    def test_a_wrong_count_is_named_and_the_list_taken(self) -> None:
        found = read_recording(config(counts="9,3A,1D"), DATA)
        assert len(found.configuration.analog) == 2
        assert any("2 analog channels are listed where line 2 counts 3" in note for note in found.notes)
        assert any("total of 9 channels" in note for note in found.notes)

    def test_binary_rows_tell_which_count_of_channels_is_right(self) -> None:
        rows = np.zeros(4, np.dtype([("n", "<u4"), ("t", "<u4"), ("a", "<i2", (2,)), ("d", "<u2", (2,))]))
        rows["n"], rows["a"][:, 0] = np.arange(1, 5), 100
        found = read_recording(config(counts="20,2A,18D", type="BINARY"), rows.tobytes())
        assert found.values(0).tolist() == [10.0] * 4

    def test_fewer_and_more_samples_than_announced(self) -> None:
        found = read_recording(config(rate="1000,3000000000"), DATA)
        assert len(found.numbers) == 4
        assert "4 samples where the cfg announces 3000000000" in found.notes[0]

    def test_a_last_line_cut_short_is_left_out(self) -> None:
        found = read_recording(config(), DATA[:-8])
        assert len(found.numbers) == 3
        assert "dat line 4: cut short" in found.notes[0]

    def test_missing_values_are_missing(self) -> None:
        found = read_recording(config(), DATA.replace(b"200", b""))
        assert np.isnan(found.values(0)[1])
        assert np.isnan(read_recording(config(station="S,1"), DATA.replace(b"200", b"99999")).values(0)[1])

    def test_an_american_date_is_understood_where_the_month_is_impossible(self) -> None:
        found = read_configuration(config(start="03/24/2026,05:06:07"))
        assert found.starts_at == datetime(2026, 3, 24, 5, 6, 7)  # noqa: DTZ001

    def test_a_date_that_never_was_is_named_and_not_used(self) -> None:
        found = read_configuration(config(start="00/00/0000,00:00:00.000000"))
        assert found.starts_at is None
        assert found.trigger_s is None
        assert "line 9: instant of the first sample is '00/00/0000" in found.notes[0]

    def test_comma_in_a_name(self) -> None:
        found = read_configuration(config(a1="1,VA, left,A,,V,0.1,0,0,-32767,32767,1,1,S"))
        assert (found.analog[0].name, found.analog[0].a, found.analog[0].is_secondary) == ("VA,left", 0.1, True)

    def test_old_files_have_ten_fields_and_month_first(self) -> None:
        found = read_configuration(
            config(station="S,1", a1="1,VA,A,,V,0.1,0,0,-99,99", a2="2,IA,A,,A,1,0,0,-99,99", d1="1,TRIP,0",
                   start="03/04/26,05:06:07.5", mult="-")
        )  # fmt: skip
        assert (found.revision, found.starts_at) == (1991, datetime(2026, 3, 4, 5, 6, 7, 500_000))  # noqa: DTZ001


class TestTimeAxis:
    def test_two_rates(self) -> None:
        found = read_recording(config(nrates="2", rate="1000,2\r\n500,4", mult="0"), DATA.replace(b"3000", b"4000"))
        assert time_axis(found)[0] == pytest.approx([0.0, 0.001, 0.002, 0.004])

    def test_without_a_rate_the_samples_times_count_with_their_multiplier(self) -> None:
        found = read_recording(config(nrates="0", rate="0,4", mult="2.5"), DATA)
        assert time_axis(found)[0] == pytest.approx([0.0, 0.0025, 0.005, 0.0075])

    def test_a_jump_in_the_samples_times_is_kept(self) -> None:
        lines = [b"%d,%d,1,1,0" % (k + 1, 1000 * k + (50_000 if k >= 100 else 0)) for k in range(200)]
        t_s, _ = time_axis(read_recording(config(rate="1000,200"), b"\n".join(lines)))
        assert t_s[100] - t_s[99] == pytest.approx(0.051)
        assert t_s[199] - t_s[100] == pytest.approx(0.099)

    def test_times_that_contradict_the_rate_throughout_are_named(self) -> None:
        found = read_recording(config(rate="4000,4"), DATA)
        t_s, notes = time_axis(found)
        assert t_s == pytest.approx(np.arange(4) / 4000.0)
        assert "step by 4 of the cfg's sampling period" in notes[0]

    def test_neither_rate_nor_times_is_an_error(self) -> None:
        blank = b"\n".join(b"%d,0,1,1,0" % (k + 1) for k in range(4))
        with pytest.raises(ComtradeError, match="no sampling rate and the samples no times"):
            time_axis(read_recording(config(nrates="0", rate="0,4"), blank))


class TestNamedErrors:
    @pytest.mark.parametrize(
        ("configuration", "data", "message"),
        [
            (b"", DATA, "cfg line 1: is empty"),
            (b"hello", DATA, "cfg line 1: is 'hello', accepted: station,device"),
            (config(counts="many"), DATA, "cfg line 2: is 'many', accepted: total,nA,mD"),
            (config(counts="3,xA,1D"), DATA, "cfg line 2: count is 'xA'"),
            (config(counts="90000,80000A,10000D"), DATA, "cfg line 2: counts 90000 channels, accepted: up to 10000"),
            (config(a1="1,VA,A,,V,one,0,0,-9,9,1,1,P"), DATA, "cfg line 3: multiplier a of channel 'VA' is 'one'"),
            (config(a1="1,VA,A,,V,nan,0,0,-9,9,1,1,P"), DATA, "cfg line 3: multiplier a of channel 'VA' is 'nan'"),
            (config(hz="fast"), DATA, "cfg line 6: line frequency is 'fast'"),
            (config(nrates="-1"), DATA, "cfg line 7: count of sampling rates is '-1'"),
            (config(rate="-5,4"), DATA, "cfg line 8: sampling rate is '-5,4'"),
            (config(type="EBCDIC"), DATA, "cfg line 11: file type is 'EBCDIC', accepted: ASCII, BINARY"),
            (config(), b"", "dat: is empty"),
            (config(), b"1,0,1,2,0\n2,0,x,2,0\n", "dat line 2: holds '2,0,x,2,0', accepted: 5 numbers"),
            (config(), b"1,0,1,2,0,7\n", "dat line 1: has 6 numbers, accepted: 5 by the cfg"),
            (config(type="BINARY"), DATA, "dat line 1: is text where the cfg says BINARY"),
            (config(), bytes(range(256)), "dat line 1: is not text where the cfg says ASCII"),
            (config(type="BINARY"), b"\x01\x00\x00", "dat: has 3 bytes, accepted: rows of 14 bytes"),
            (config(type="BINARY"), bytes(range(255, 0, -1)), "dat: sample numbers do not count up"),
        ],
    )
    def test_it_names_the_part_the_line_and_what_is_accepted(
        self, configuration: bytes, data: bytes, message: str
    ) -> None:
        with pytest.raises(ComtradeError) as caught:
            read_recording(configuration, data)
        assert message in str(caught.value)
        assert "accepted" in str(caught.value)

    def test_a_single_file_without_its_data(self) -> None:
        with pytest.raises(ComtradeError, match="no part DAT"):
            read_single_file(b"--- file type: CFG ---\r\n" + config())

    @given(st.binary(max_size=600), st.binary(max_size=600))
    @settings(max_examples=150, deadline=None)
    def test_garbage_is_an_error_and_never_a_crash(self, configuration: bytes, data: bytes) -> None:
        readers = (
            lambda: read_recording(configuration, data),
            lambda: read_recording(config(), data),
            lambda: read_recording(config(type="BINARY"), data),
            lambda: read_single_file(configuration + data),
        )
        for read in readers:
            with contextlib.suppress(ComtradeError):
                time_axis(read())

    @given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
    @settings(max_examples=150, deadline=None)
    def test_a_good_file_with_damaged_bytes_is_read_or_refused(self, damage: list[tuple[int, int]]) -> None:
        damaged = bytearray(config())
        for place, value in damage:
            damaged[place % len(damaged)] = value
        with contextlib.suppress(ComtradeError):
            time_axis(read_recording(bytes(damaged), DATA))


def test_a_writer_refuses_what_the_revision_does_not_know() -> None:
    with pytest.raises(ValueError, match="FLOAT32 in revision 1999, accepted: 2013"):
        a_recording(1999, "FLOAT32")
    written, _ = a_recording(1999)
    with pytest.raises(ValueError, match="accepted: 2013"):
        write_single_file(written)


def test_data_of_a_text_recording_is_one_line_a_sample() -> None:
    _, data = write_recording(a_recording(1999, "ASCII", samples=3)[0])
    assert len(io.BytesIO(data).readlines()) == 3
