"""The simulated driver: wall-clock instants become samples, and what the loop measures comes back by name."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from support.edge import an_assignment

from sites.edge.config import ConfigError, load_config
from sites.edge.control.exchange import MEASURED_DTYPE, RECORD_COLUMNS, REGISTER_DTYPE, RecordRows
from sites.edge.drivers.simulated import SimulatedSites, site_parameters
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.grid_play import GridPlay, Play

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
START_US = round(START.timestamp() * 1e6)
EXAMPLE = Path(__file__).parents[5] / "deploy" / "edge" / "site.example.toml"


def some_sites(count: int = 2, grid: GridPlay | None = None) -> SimulatedSites:
    fleet = synthetic_fleet(count, 3)
    return SimulatedSites(fleet, seed=3, starts_at_us=START_US + 7, grid=grid or GridPlay(50.0))


def run(driver: SimulatedSites, seconds: float) -> list[RecordRows]:
    records: list[RecordRows] = []
    for _ in range(round(seconds * 10)):
        driver.advance(1000)
        records += driver.drain_records()
    return records


def test_the_start_falls_on_the_records_grid() -> None:
    assert some_sites().starts_at_us == START_US


def test_measurements_and_registers_come_by_the_links_names() -> None:
    driver = some_sites()
    run(driver, 1.0)
    measured, registers = driver.measured(), driver.registers()
    assert (measured.dtype, registers.dtype) == (MEASURED_DTYPE, REGISTER_DTYPE)
    assert driver.sample == 10_000
    assert np.abs(measured["frequency_hz"] - 50.0).max() < 0.05
    assert driver.switch_closed().all()
    assert (measured["load_kw"] < 0.0).all()
    assert (registers["load_from_j"] > 0.0).all()
    assert (registers["load_into_j"] == 0.0).all()


def test_record_rows_follow_each_other_at_a_hundred_hertz() -> None:
    records = run(some_sites(), 1.0)
    assert records[0].first_us == START_US
    for earlier, later in itertools.pairwise(records):
        assert later.first_us == earlier.first_us + len(earlier.rows) * 10_000
    assert sum(len(r.rows) for r in records) >= 90
    assert records[0].rows.shape[1:] == (2, len(RECORD_COLUMNS))


def test_an_armed_site_answers_a_fall_and_the_other_does_not() -> None:
    grid = GridPlay(50.0)
    driver = some_sites(grid=grid)
    run(driver, 1.0)
    power_kw = float(driver.measured()["discharge_kw"][0]) * 0.5
    share = an_assignment(
        "site-0001", sequence=1, power_kw=power_kw, baseline_kw=float(driver.measured()["battery_kw"][0]),
        starts_at=START, ends_at=START + timedelta(minutes=10),
    )  # fmt: skip
    driver.arm(0, share)
    grid.start(Play(np.array([0.0, 60.0]), np.array([49.4, 49.4]), 0.0, 60.0, START_US + 1_000_000))
    run(driver, 3.0)
    measured = driver.measured()
    assert measured["armed_kw"][0] == pytest.approx(power_kw)
    assert measured["service_kw"][0] == pytest.approx(power_kw, rel=0.05)
    assert abs(measured["service_kw"][1]) < 0.05 * power_kw
    driver.disarm(0)
    run(driver, 3.0)
    assert driver.measured()["armed_kw"][0] == 0.0


def test_an_open_feeder_leaves_a_waveform_with_its_instants() -> None:
    driver = some_sites()
    run(driver, 1.0)
    opens_us = START_US + 1_500_000
    driver.move_feeder(1, opens=True, at_us=opens_us)
    run(driver, 1.5)
    (waveform,) = driver.drain_waveforms()
    assert waveform.index == 1
    assert opens_us <= waveform.trigger_at_us < opens_us + 20_000
    assert waveform.trigger_at_us - waveform.starts_at_us == pytest.approx(100_000, abs=1_000)
    assert waveform.samples.shape[1] == len(waveform.columns) == 15
    assert list(driver.switch_closed()) == [True, False]


class TestPlantOfAFile:
    def test_nameplates_come_from_the_assets(self) -> None:
        site = site_parameters(load_config(EXAMPLE, {}))
        assert (site.pcs_kva, site.battery_kwh, site.reserve_kwh, site.import_limit_kw) == (100.0, 200.0, 50.0, 120.0)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("soc_ratio = 0.7", "soc_ratio = 7.0", "soc_ratio is 7.0, accepted: 0.0 to 1.0"),
            ("soc_ratio = 0.7", "", "plant.soc_ratio is missing"),
            ("soc_ratio = 0.7", "soc_ratio = 0.7\nwings = 2", "plant.wings is not known, accepted: seed,"),
        ],
    )
    def test_a_wrong_plant_is_named(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        path = tmp_path / "site.toml"
        path.write_text(EXAMPLE.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            site_parameters(load_config(path, {}))
