"""Baselines on measured loads, against the same rule written down a second time over local clock texts."""

from __future__ import annotations

import csv
import gzip
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from support.demand import asked, hours

from markets.core.baselines.registry import method_named
from markets.meter_files import MeterFileError, read_meter

SITE = Path(__file__).resolve().parents[4] / "shared" / "data" / "site"
HOUSE = SITE / "ausgrid_cust12_load_pv_30min_2011H2.dev.csv.gz"
SERVERS = SITE / "biohpc_gpu_server_power_1h_cbsugpu05-07.dev.csv.gz"
SYDNEY, NEW_YORK = ZoneInfo("Australia/Sydney"), ZoneInfo("America/New_York")

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not SITE.is_dir(), reason="the measured recordings beside the checkout are absent"),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A household in Sydney by local clock texts; the two filler rows of the hour that the clock skipped left out."""
    with gzip.open(HOUSE, "rt") as file:
        rows = [row for row in csv.DictReader(file) if not row["time"].startswith("2011-10-02 02:")]
    path = tmp_path_factory.mktemp("house") / "house.csv"
    path.write_text("at,load_kw\n" + "".join(f"{row['time']},{row['load_kW']}\n" for row in rows))
    return path, {row["time"]: float(row["load_kW"]) for row in rows}


def by_clock_texts(load: dict[str, float], day: date, event: range, before: range, days: list[date]) -> list[float]:
    """Return 10-in-10 for a day from clock texts alone, as somebody with a spreadsheet would."""

    def at(of: date, half_hour: int) -> float:
        return load[f"{of.isoformat()} {half_hour // 2:02d}:{half_hour % 2 * 30:02d}:00"]

    own = np.mean([at(day, slot) for slot in before])
    theirs = np.mean([at(other, slot) for other in days for slot in before])
    factor = min(max(own / theirs, 0.8), 1.2)
    return [float(np.mean([at(other, slot) for other in days])) * factor for slot in event]


@pytest.mark.parametrize("text", ["2011-08-17", "2011-09-14", "2011-10-05", "2011-10-14", "2011-12-20"])
def test_a_household_over_the_change_of_its_clock(house, text):
    path, load = house
    day = date.fromisoformat(text)
    meter = read_meter(path, zone="Australia/Sydney")
    answer = method_named("10-in-10").baseline(asked(meter, hours(day, 17, 20, SYDNEY), zone=SYDNEY))
    days, back = [], day
    while len(days) < 10:
        back -= timedelta(days=1)
        days += [back] if back.weekday() < 5 else []
    assert list(answer.days_used) == days
    by_hand = by_clock_texts(load, day, range(34, 40), range(26, 32), days)
    assert [row.baseline_kw for row in answer.intervals] == pytest.approx(by_hand, rel=1e-9)
    measured = [row.measured_kw for row in answer.intervals]
    assert measured == [load[f"{text} {slot // 2:02d}:{slot % 2 * 30:02d}:00"] for slot in range(34, 40)]


def test_days_without_an_event_scatter_around_nothing_saved(house):
    """Placebo events on all weekdays of six months: no method may see a saving of more than a quarter in the mean."""
    path, _ = house
    meter = read_meter(path, zone="Australia/Sydney")
    weekdays = [date(2011, 7, 20) + timedelta(days=n) for n in range(160)]
    weekdays = [day for day in weekdays if day.weekday() < 5][::3]
    for name in ("10-in-10", "miso-default"):
        method = method_named(name)
        answers = [method.baseline(asked(meter, hours(day, 17, 20, SYDNEY), zone=SYDNEY)) for day in weekdays]
        used_kwh = sum(row.measured_kw * 0.5 for answer in answers for row in answer.intervals)
        saved_kwh = sum(answer.saving_kwh for answer in answers)
        assert abs(saved_kwh) < 0.25 * used_kwh, (
            f"{name}: {saved_kwh:.1f} of {used_kwh:.1f} kWh over {len(answers)} days"
        )


def test_a_file_as_it_was_recorded_names_the_line_whose_hour_the_clock_skipped(house):
    with pytest.raises(MeterFileError, match=r"line 4470, column time: 2011-10-02T02:00:00 does not come in Australia"):
        read_meter(HOUSE, zone="Australia/Sydney", column="load_kW")


def test_a_server_whose_hour_came_twice_and_was_recorded_once(tmp_path):
    with gzip.open(SERVERS, "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["name"] == "cbsugpu05" and row["timestamp"] >= "2023-09"]
    rows = [row for row in rows if row["timestamp"] < "2023-12"]
    path = tmp_path / "server.csv"
    lines = [f"{row['timestamp']},{row['powerave']}" for row in rows]
    path.write_text("\n".join(["at,power_w", *lines]) + "\n")
    with pytest.raises(
        MeterFileError, match=r"2023-11-05T01:00:00 comes twice in America/New_York, accepted: with its"
    ):
        read_meter(path, zone="America/New_York")
    # Told which of the two it was, the other is a gap of one hour on a Sunday.
    path.write_text(path.read_text().replace("2023-11-05 01:00:00", "2023-11-05 01:00:00-04:00"))
    meter = read_meter(path, zone="America/New_York")
    event = hours(date(2023, 11, 8), 14, 16, NEW_YORK)
    answer = method_named("high-4-of-5").baseline(asked(meter, event, zone=NEW_YORK))
    powers = {row["timestamp"]: float(row["powerave"]) / 1000.0 for row in rows}
    means = {day: np.mean([powers[f"{day} {hour}:00:00"] for hour in (14, 15)]) for day in map(str, answer.days_used)}
    assert min(means.values()) > 0.0
    shift = answer.adjustment.applied
    at_14 = np.mean([powers[f"{day} 14:00:00"] for day in means]) + shift
    assert answer.intervals[0].baseline_kw == pytest.approx(at_14, rel=1e-9)
