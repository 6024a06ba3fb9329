"""Meter files: what is read, and what a complaint says of file, line and column."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from markets.core.baselines.meter import MeterPlace
from markets.meter_files import MeterFileError, Sign, read_days, read_meter, read_schedule

HEADER = "at,consumption_kw"


def written(folder: Path, *lines: str, name: str = "meter.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


class TestWhatIsRead:
    def test_instants_with_offsets_and_an_empty_cell_and_a_row_that_is_not_there(self, tmp_path):
        meter = read_meter(
            written(
                tmp_path, HEADER, "2026-06-01T01:00:00+01:00,10", "2026-06-01T00:15:00Z,", "2026-06-01T00:30:00Z,12.5",
                "2026-06-01T01:00:00Z,14",
            )
        )  # fmt: skip
        assert (meter.starts_at, meter.resolution_s) == (datetime(2026, 6, 1, tzinfo=UTC), 900)
        assert np.array_equal(meter.consumption_kw, [10.0, np.nan, 12.5, np.nan, 14.0], equal_nan=True)

    def test_local_times_with_a_zone_over_a_day_of_23_hours(self, tmp_path):
        rows = [f"2026-03-29 {hour:02d}:00,{hour}" for hour in (0, 2, 3)]
        meter = read_meter(written(tmp_path, HEADER, *rows), zone="Europe/London")
        assert np.array_equal(meter.consumption_kw, [0.0, 2.0, 3.0])

    @pytest.mark.parametrize(
        ("column", "value", "power_kw"),
        [("load_w", "1500", 1.5), ("demand_mw", "0.002", 2.0), ("use_kwh", "2.5", 10.0), ("use_wh", "250", 1.0)],
    )
    def test_the_columns_name_says_the_unit(self, tmp_path, column, value, power_kw):
        meter = read_meter(
            written(tmp_path, f"timestamp,{column}", f"2026-06-01T00:00Z,{value}", f"2026-06-01T00:15Z,{value}")
        )
        assert meter.consumption_kw[0] == pytest.approx(power_kw)

    @pytest.mark.parametrize(("place", "consumption_kw"), [(MeterPlace.CONNECTION, 7.0), (MeterPlace.DEVICE, -7.0)])
    def test_the_houses_sign_is_turned_at_the_door(self, tmp_path, place, consumption_kw):
        path = written(tmp_path, "at,power_kw", "2026-06-01T00:00Z,7", "2026-06-01T00:15Z,7")
        meter = read_meter(path, sign=Sign.BUS, place=place)
        assert (meter.consumption_kw[0], meter.place) == (consumption_kw, place)
        assert read_meter(path, place=place).consumption_kw[0] == 7.0

    def test_a_column_by_name_where_there_are_several_and_a_compressed_file(self, tmp_path):
        path = tmp_path / "meter.csv.gz"
        with gzip.open(path, "wt") as file:
            file.write("\ufefftime,load_kW,pv_kW\n2011-07-01 00:00,0.5,0\n2011-07-01 00:30,0.25,0.1\n")
        meter = read_meter(path, zone="Australia/Sydney", column="load_kW")
        assert (meter.resolution_s, meter.consumption_kw.tolist()) == (1800, [0.5, 0.25])

    def test_a_schedule_is_into_the_bus_and_days_have_remarks(self, tmp_path):
        plan = read_schedule(written(tmp_path, "at,power_kw", "2026-06-01T00:00Z,-5", "2026-06-01T09:00Z,0"))
        assert plan.power_kw(datetime(2026, 6, 1, 8, tzinfo=UTC)) == -5.0
        days = read_days(written(tmp_path, "# holidays", "2026-12-25, Christmas", "", "2026-12-26 # Boxing Day"))
        assert days == {date(2026, 12, 25), date(2026, 12, 26)}


ROW, NEXT = "2026-06-01T00:00:00Z,1", "2026-06-01T00:15:00Z,1"


class TestComplaints:
    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            ([HEADER, "2026-06-01T00:00:00,1"], r"line 2, column at: 2026-06-01T00:00:00 has no zone, accepted"),
            ([HEADER, ROW, "2026-05-31T23:45:00Z,1"], r"line 3, column at: 2026-05-31\S+ is earlier than line 2"),
            ([HEADER, ROW, NEXT, NEXT], r"line 4, column at: \S+ is the same instant as line 3, accepted: rising"),
            ([HEADER, ROW, "2026-06-01T00:15:00Z,nan"], r"line 3, column consumption_kw: nan, accepted: a finite"),
            ([HEADER, ROW, "2026-06-01T00:15:00Z,-inf"], r"line 3, column consumption_kw: -inf, accepted"),
            ([HEADER, ROW, "2026-06-01T00:15:00Z,1e300"], r"line 3, column consumption_kw: 1e300, accepted: .* 1e\+09"),
            ([HEADER, ROW, "2026-06-01T00:15:00Z,3 kW"], r"line 3, column consumption_kw: '3 kW', accepted: a number"),
            ([HEADER, "yesterday,1"], r"line 2, column at: 'yesterday', accepted: an instant such as 2026"),
            ([HEADER, "0001-01-01T00:00+14:00,1"], r"line 2, column at: 0001-\S+, accepted: a year from 2 to 9998"),
            ([HEADER, ROW, "2026-06-01T00:15:00Z,1,2"], r"line 3: 3 columns, accepted: 2 as in the header"),
            ([HEADER, ROW], r"1 reading\(s\), accepted: two or more"),
            ([HEADER, "2026-06-01T00:00:00Z,", "2026-06-01T00:15:00Z,"], r"no reading holds a value"),
            (["when,consumption_kw", ROW], r"line 1: no column of instants among when, .* accepted: one of at"),
            (["at,consumption", ROW], r"line 1: 0 columns end in a unit, accepted: .* such as consumption_kw"),
            (["at,load_kw,pv_kw", ROW], r"line 1: 2 columns end in a unit, .* --column: load_kw, pv_kw"),
            ([HEADER, ROW, "2026-06-01T00:00:00.5Z,1"], r"line 3: 0.5 s after the row before, accepted: whole seconds"),
            ([HEADER, ROW, "2026-06-01T00:07:00Z,1", "2026-06-01T00:14Z,1"], r"the readings are 420 s apart, accepted"),
            ([HEADER, ROW, NEXT, "2026-06-01T00:37:00Z,1"], r"line 4: readings are 1320 s apart from here, elsewhere"),
            (
                [HEADER, ROW, NEXT, *(f"2026-06-01T0{hour}:15:00Z,1" for hour in (1, 2, 3))],
                r"line 4: readings are 3600 s apart from here, elsewhere 900 s, accepted: one resolution",
            ),
            (
                [HEADER, *(f"2026-06-01T0{hour}:00:00Z,1" for hour in (1, 2, 3, 4)), "2026-06-01T04:15:00Z,1"],
                r"line 3: readings are 3600 s apart from here, elsewhere 900 s",
            ),
        ],
    )  # fmt: skip
    def test_a_file_that_cannot_be_read_as_it_stands(self, tmp_path, lines, said):
        with pytest.raises(MeterFileError, match=rf"meter\.csv: {said}"):
            read_meter(written(tmp_path, *lines))

    @pytest.mark.parametrize(
        ("zone", "time", "said"),
        [
            (
                "Europe/London",
                "2026-10-25T01:30",
                r"comes twice in Europe/London, accepted: with its offset, \S+\+01:00 or",
            ),
            ("Europe/London", "2026-03-29T01:30", "does not come in Europe/London: its clock skips it"),
            ("America/New_York", "2026-11-01T01:00", "comes twice in America/New_York"),
            ("Australia/Lord_Howe", "2026-04-05T01:45", "comes twice in Australia/Lord_Howe"),
            ("Australia/Lord_Howe", "2026-10-04T02:15", "does not come in Australia/Lord_Howe"),
            ("Mars/Olympus", "2026-06-01T00:00", "zone 'Mars/Olympus' is not known, accepted: a name such as"),
            ("../etc/passwd", "2026-06-01T00:00", "zone '../etc/passwd' is not known"),
        ],
    )
    def test_a_local_time_that_is_not_one_instant(self, tmp_path, zone, time, said):
        with pytest.raises(MeterFileError, match=said):
            read_meter(written(tmp_path, HEADER, f"{time},1"), zone=zone)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty, accepted: a header and rows"),
            (b"at,consumption_kw\n\xff\xfe,1\n", "byte .* is no UTF-8, accepted: UTF-8 text"),
            (b"at,consumption_kw\n" + b"x" * 200_000 + b",1\n", "line 2: field larger than field limit"),
        ],
    )
    def test_bytes_that_are_no_table(self, tmp_path, content, said):
        path = tmp_path / "meter.csv"
        path.write_bytes(content)
        with pytest.raises(MeterFileError, match=said):
            read_meter(path)

    def test_a_file_that_is_not_there_and_one_that_is_cut(self, tmp_path):
        with pytest.raises(MeterFileError, match="No such file or directory, accepted: a file that can be read"):
            read_meter(tmp_path / "none.csv")
        whole = gzip.compress(b"at,consumption_kw\n" + b"2026-06-01T00:00Z,1\n" * 99)
        (tmp_path / "cut.csv.gz").write_bytes(whole[:-12])
        with pytest.raises(MeterFileError, match=r"cut\.csv\.gz: .* accepted"):
            read_meter(tmp_path / "cut.csv.gz")

    def test_schedules_and_days(self, tmp_path):
        with pytest.raises(MeterFileError, match="line 3: no power, accepted: one for each step"):
            read_schedule(written(tmp_path, "at,power_kw", "2026-06-01T00:00Z,1", "2026-06-01T09:00Z,"))
        with pytest.raises(MeterFileError, match="a schedule is written in energy, accepted: powers"):
            read_schedule(written(tmp_path, "at,plan_kwh", "2026-06-01T00:00Z,1"))
        with pytest.raises(MeterFileError, match=r"line 2, column 1: '25\.12\.2026', accepted: a day such as"):
            read_days(written(tmp_path, "2026-12-24", "25.12.2026"))
