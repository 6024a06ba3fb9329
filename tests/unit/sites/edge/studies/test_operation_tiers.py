"""Load tiers: shed by power within tens of milliseconds and by charge, restored with hysteresis and a pause."""

from __future__ import annotations

import numpy as np
import pytest
from support.operation import CABINET, RATE_HZ, TELECOM, a_site, an_island, run

from sites.edge.control.kernels.parameter_records import PARAMETERS
from sites.edge.control.kernels.records import TIERS
from sites.edge.control.kernels.tiers import allowed_tiers
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.closed_loop import ClosedLoop


@pytest.mark.parametrize("base", [CABINET, TELECOM], ids=["three phases", "one phase"])
def test_an_island_that_is_overloaded_sheds_the_last_tier_within_tens_of_milliseconds(base: SiteParameters) -> None:
    """1.35 of the converter's rating: without the deferrable 30 % the rest fits."""
    site = a_site(
        base, load_kw=1.35 * base.pcs_kva, load_tiers=(0.4, 0.3, 0.3), pv_kw=0.0, genset_kw=0.0, switch_kind="sic",
        import_limit_kw=3.0 * base.pcs_kva,
    )  # fmt: skip
    loop = ClosedLoop([site], seed=1)
    run(loop, 0.5)
    loop.open_feeder(0, loop.sample)
    shed_ms = 0.0
    for n in range(1, 300):
        run(loop, 0.001)
        if loop._p["tier_share"][0] < 0.99:
            shed_ms = n
            break
    assert 10.0 < shed_ms < 70.0
    run(loop, 1.0)
    measured = loop.measured()[0]
    assert loop.mode(0) == "islanded"
    assert measured["tiers_closed"] == 2
    assert measured["voltage_pu"] == pytest.approx(1.0, abs=0.02)
    assert measured["battery_kw"] < 1.05 * site.pcs_kva
    # What was shed for its power stays open as long as it does not fit.
    run(loop, 15.0)
    assert loop.measured()["tiers_closed"][0] == 2
    assert loop.counters(0)["sheds"] == 1
    # Beside the grid it comes back.
    loop.close_feeder(0, loop.sample)
    run(loop, 5.0)
    assert (loop.mode(0), loop.measured()["tiers_closed"][0]) == ("grid_tied", 3)


def test_an_island_sheds_no_more_than_its_converter_needs() -> None:
    shares = (0.4, 0.3, 0.3)
    loads = (0.5, 0.95, 1.35, 1.8, 3.5)
    sites = [
        a_site(load_kw=load * CABINET.pcs_kva, load_tiers=shares, pv_kw=0.0, genset_kw=0.0, import_limit_kw=900.0)
        for load in loads
    ]
    loop = ClosedLoop(sites, seed=1)
    run(loop, 0.5)
    for index in range(len(sites)):
        loop.open_feeder(index, loop.sample)
    run(loop, 2.0)
    assert loop.measured()["tiers_closed"].tolist() == [3, 3, 2, 1, 0]
    assert [loop.mode(index) for index in range(len(sites))] == ["islanded"] * len(sites)


def test_the_transient_of_islanding_sheds_nothing() -> None:
    sites = [a_site(switch_kind=kind, genset_kw=0.0) for kind in ("sic", "forced", "natural")]
    loop = an_island(*sites)
    assert loop.measured()["tiers_closed"].tolist() == [3, 3, 3]


@pytest.mark.parametrize(("soc", "tiers"), [(0.04, 0), (0.06, 1), (0.119, 1), (0.13, 2), (0.26, 3)])
def test_charge_allows_tiers_from_the_critical_one_on(soc: float, tiers: int) -> None:
    k = np.zeros(1, PARAMETERS)[0]
    k["tier_low_ratio"] = (0.05, 0.12, 0.25)
    assert allowed_tiers(k, soc) == tiers <= TIERS


def test_a_tier_comes_back_with_hysteresis_and_a_pause() -> None:
    site = a_site(soc_ratio=0.24, reserve_kwh=0.0, genset_kw=0.0, pv_kw=0.0)
    loop = an_island(site)
    assert loop.measured()["tiers_closed"][0] == 2
    for soc, seconds, tiers in ((0.27, 20.0, 2), (0.305, 0.05, 3)):
        # The battery's own management tells it; here somebody brought a charged one.
        loop._p["soc_ratio"][0] = soc
        run(loop, seconds)
        assert loop.measured()["tiers_closed"][0] == tiers
    # Shed again at once, and only back after the pause.
    loop._p["soc_ratio"][0] = 0.24
    run(loop, 0.2)
    assert loop.measured()["tiers_closed"][0] == 2
    loop._p["soc_ratio"][0] = 0.4
    run(loop, 8.0)
    assert loop.measured()["tiers_closed"][0] == 2
    run(loop, 3.0)
    assert loop.measured()["tiers_closed"][0] == 3


def test_tiers_that_do_not_add_up_to_the_load_are_refused() -> None:
    with pytest.raises(ValueError, match=r"load_tiers is .* accepted: three shares that add up to 1"):
        a_site(load_tiers=(0.5, 0.5, 0.5))


def test_a_shed_tier_is_off_the_load_s_meter() -> None:
    loop = an_island(a_site(soc_ratio=0.06, reserve_kwh=0.0, genset_kw=0.0, pv_kw=0.0))
    run(loop, 0.5)
    assert -loop.measured()["load_kw"][0] == pytest.approx(0.5 * CABINET.load_kw, rel=0.05)
    registers = loop.registers()[0]
    net = sum(registers[f"{a}_into_j"] - registers[f"{a}_from_j"] for a in ("pcc", "battery", "pv", "genset", "load"))
    assert abs(net) < 1e-6 * registers["load_from_j"]
    assert loop.sample == RATE_HZ * 1.5
