"""Conservation: what the meters of a site count adds up to zero, whatever happens."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sites.core.curves import curve_named
from sites.edge.control.exchange import RECORD_COLUMNS
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.plant.records import ASSETS
from sites.edge.studies.closed_loop import ClosedLoop

FLEET = synthetic_fleet(10, 3)
CABINET, TELECOM = FLEET[0], FLEET[2]


@settings(max_examples=15, deadline=None)
@given(
    phases=st.sampled_from([1, 3]),
    load_share=st.floats(0.0, 1.1),
    pv_share=st.floats(0.0, 1.0),
    ratio=st.floats(4.0, 30.0),
    neighbors=st.floats(0.0, 8.0),
    switch=st.sampled_from(["sic", "forced", "natural", "contactor"]),
    power=st.floats(0.0, 1.0),
    grid_hz=st.floats(49.0, 50.5),
    opens=st.integers(500, 6000),
    pieces=st.lists(st.integers(1, 3000), min_size=1, max_size=4),
)
def test_registers_of_all_assets_add_up_to_zero(
    phases: int,
    load_share: float,
    pv_share: float,
    ratio: float,
    neighbors: float,
    switch: str,
    power: float,
    grid_hz: float,
    opens: int,
    pieces: list[int],
) -> None:
    base = CABINET if phases == 3 else TELECOM
    site = dataclasses.replace(
        base,
        load_kw=load_share * base.pcs_kva,
        pv_kw=pv_share * base.pcs_kva,
        pv_now_ratio=1.0,
        short_circuit_ratio=ratio,
        neighbor_load_pu=neighbors,
        switch_kind=switch,
    )
    loop = ClosedLoop([site], seed=1)
    loop.arm(0, curve_named("neso-dc-low"), power * base.pcs_kva, 0.0, 1000, 10**9)
    loop.open_feeder(0, opens)
    loop.close_feeder(0, opens + 3000)
    for piece in pieces:
        loop.advance(np.full(piece, grid_hz))
    loop.advance(np.full(1000, grid_hz))
    registers = loop.registers()[0]
    net = sum(registers[f"{asset}_into_j"] - registers[f"{asset}_from_j"] for asset in ASSETS)
    gross = sum(registers[f"{asset}_into_j"] + registers[f"{asset}_from_j"] for asset in ASSETS)
    assert np.isfinite(gross)
    assert abs(net) <= 1e-9 * max(gross, 1.0)


@pytest.mark.parametrize("phases", [1, 3])
def test_registers_add_up_to_zero_while_the_arrester_conducts(phases: int) -> None:
    base = CABINET if phases == 3 else TELECOM
    site = dataclasses.replace(base, switch_kind="sic", neighbor_load_pu=4.0, pv_now_ratio=1.0)
    loop = ClosedLoop([site] * 20, seed=1)
    for index in range(20):
        loop.arm(index, curve_named("neso-dc-low"), site.pcs_kva, 0.0, 0, 10**9)
        loop.open_feeder(index, 10_000 + 10 * index)
    loop.advance(np.full(10_000, 49.4))
    conducted = np.zeros(20, dtype=bool)
    for _ in range(600):
        loop.advance(np.full(1, 49.4))
        conducted |= (loop._phases["i_arrester"] != 0.0).any(axis=1)
    loop.advance(np.full(1_400, 49.4))
    assert conducted.any()
    registers = loop.registers()
    into = np.array([registers[f"{asset}_into_j"] for asset in ASSETS])
    out = np.array([registers[f"{asset}_from_j"] for asset in ASSETS])
    assert np.all(np.abs((into - out).sum(axis=0)) <= 1e-9 * (into + out).sum(axis=0))


def test_the_battery_loses_what_it_gave_and_its_losses() -> None:
    site = dataclasses.replace(CABINET, pv_kw=0.0, battery_kwh=1.0, reserve_kwh=0.0, soc_ratio=0.9)
    loop = ClosedLoop([site], seed=1)
    loop.arm(0, curve_named("neso-dc-low"), site.pcs_kva * 0.8, 0.0, 0, 10**9)
    loop.advance(np.full(200_000, 49.4))
    registers, measured = loop.registers()[0], loop.measured()[0]
    given_kwh = (registers["battery_into_j"] - registers["battery_from_j"]) / 3.6e6
    spent_kwh = 0.9 - measured["soc_ratio"]
    assert given_kwh == pytest.approx(site.pcs_kva * 0.8 * 20.0 / 3600.0, rel=0.03)
    assert 1.025 < spent_kwh / given_kwh < 1.06


def test_batches_of_any_size_give_the_same_plant() -> None:
    one, many = ClosedLoop([CABINET], seed=5), ClosedLoop([CABINET], seed=5)
    one.advance(np.full(3000, 49.9))
    for piece in (1, 49, 950, 1500, 500):
        many.advance(np.full(piece, 49.9))
    assert one.registers().tobytes() == many.registers().tobytes()
    assert one.measured().tobytes() == many.measured().tobytes()
    first, rows = one.drain_records()
    assert (first, rows.shape) == (0, (30, 1, len(RECORD_COLUMNS)))
    np.testing.assert_array_equal(rows, many.drain_records()[1])


def test_rows_and_blocks_end_on_the_utc_grid() -> None:
    loop = ClosedLoop([CABINET], seed=1, starts_at_us=1_700_000_000_093_000)
    loop.advance(np.full(70, 50.0))
    first, rows = loop.drain_records()
    assert (first, len(rows)) == (-30, 1)  # 93 ms past: the first row ends 7 ms later, with the block.
    assert loop.registers()["load_from_j"][0] > 0.0
