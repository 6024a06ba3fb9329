"""A DC site by its file and behind the driver: the same face as an AC site's."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.dc_sites import a_dc_site

from sites.edge.config import ConfigError, load_config
from sites.edge.control.exchange import MEASURED_DTYPE
from sites.edge.control.pacing import Pace
from sites.edge.drivers.simulated import SimulatedSites, site_parameters
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.grid_play import GridPlay
from sites.edge.studies.manifest import manifest_of
from sites.edge.studies.paced_loop import PacedLoop

EXAMPLE = Path(__file__).parents[5] / "deploy" / "edge" / "dc-site.example.toml"


def test_the_example_describes_a_site_on_a_dc_bus() -> None:
    site = site_parameters(load_config(EXAMPLE, {}))
    assert (site.bus, site.pcs_kva, site.battery_kwh, site.export_limit_kw) == ("dc48", 6.0, 15.36, 0.0)
    driver = SimulatedSites([site], seed=1, starts_at_us=0, grid=GridPlay(50.0))
    driver.advance(10_000)
    measured = driver.measured()
    assert measured.dtype == MEASURED_DTYPE
    assert measured["discharge_kw"][0] > 0.0
    assert measured["charge_kw"][0] > 0.0
    assert driver.switch_closed().all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("export_limit_kw = 0.0", "export_limit_kw = 2.0", "export_limit_kw is 2.0, accepted: 0 at a DC bus"),
        ('bus = "dc48"', 'bus = "dc24"', "bus is 'dc24', accepted: ac, dc48, dc400"),
        ('"lfp" ', '"nicd" ', "battery_chemistry is 'nicd', accepted: lfp, vrla"),
        ("rectifier_modules = 4", "rectifier_modules = 0", "rectifier_modules is 0, accepted: 1 to 1000"),
        ("auxiliary_kw = 0.2", "auxiliary_kw = 5.0", "auxiliary_kw is 5.0, accepted: 0.0 to 1.7"),
        ('"radio"', '"busy"', "load_profile is 'busy', accepted: flat, radio"),
    ],
)
def test_a_wrong_dc_site_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "site.toml"
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        site_parameters(load_config(path, {}))


def test_a_dc_site_is_enrolled_by_its_ac_connection_and_exports_nothing() -> None:
    site = next(site for site in synthetic_fleet(20, 1) if site.is_dc)
    entry = manifest_of(site)
    assert entry["nominal_voltage_v"] == 230.0
    pcc = next(asset for asset in entry["assets"] if asset["kind"] == "pcc")
    assert pcc["export_limit_kw"] == 0.0


def test_the_paced_loop_runs_dc_sites_among_the_others_as_the_stepped_loop_does() -> None:
    sites = [synthetic_fleet(3, 1)[2], a_dc_site()]
    loop = ClosedLoop(sites, seed=1)
    pace = Pace(period_ns=1, starts_ns=time.monotonic_ns())
    paced = PacedLoop(loop, pace, tick_samples=10, grid_hz=50.0)
    thread = threading.Thread(target=paced.run)
    thread.start()
    deadline_s = time.monotonic() + 180.0
    while pace.ticks < 500 and time.monotonic() < deadline_s:
        thread.join(timeout=0.01)
    pace.stop()
    thread.join()
    paced.catch_up()
    other = ClosedLoop(sites, seed=1)
    other.advance(np.full(loop.sample, 50.0))
    assert loop.sample >= 5_000
    assert np.array_equal(loop.registers(), other.registers())
    assert loop.registers()["load_from_j"][1] > 0.0
    assert np.array_equal(loop.measured(), other.measured())
