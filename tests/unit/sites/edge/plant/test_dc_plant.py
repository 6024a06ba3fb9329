"""A DC site's plant: what is metered adds up, nothing is exported, whatever happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dc_sites import SECOND, a_dc_site, run

from sites.core.curves import curve_named
from sites.edge.plant.records import ASSETS
from sites.edge.studies.closed_loop import ClosedLoop


@settings(max_examples=12)
@given(
    phases=st.sampled_from([1, 3]),
    bus=st.sampled_from(["dc48", "dc400"]),
    chemistry=st.sampled_from(["lfp", "vrla"]),
    load_share=st.floats(0.0, 1.2),
    pv_share=st.floats(0.0, 1.5),
    soc_ratio=st.floats(0.0, 1.0),
    auxiliary_share=st.floats(0.0, 0.3),
    neighbors=st.floats(0.0, 8.0),
    curve=st.sampled_from(["neso-dc-low", "neso-dc-high"]),
    power=st.floats(0.0, 2.0),
    grid_hz=st.floats(48.0, 51.5),
    opens=st.integers(500, 6000),
)
def test_nothing_is_ever_exported_and_the_meters_add_up_to_zero(
    phases: int,
    bus: str,
    chemistry: str,
    load_share: float,
    pv_share: float,
    soc_ratio: float,
    auxiliary_share: float,
    neighbors: float,
    curve: str,
    power: float,
    grid_hz: float,
    opens: int,
) -> None:
    site = a_dc_site(
        phases=phases,
        bus=bus,
        battery_chemistry=chemistry,
        load_kw=load_share * 6.0,
        pv_kw=pv_share * 6.0,
        pv_now_ratio=1.0,
        soc_ratio=soc_ratio,
        reserve_kwh=0.0,
        auxiliary_kw=auxiliary_share * 6.0,
        import_limit_kw=10.0,
        neighbor_load_pu=neighbors,
    )
    loop = ClosedLoop([site], seed=1)
    loop.arm(0, curve_named(curve), power * site.pcs_kva, 0.0, 1000, 10**9)
    loop.open_feeder(0, opens)
    loop.close_feeder(0, opens + 4000)
    lowest_pu = 0.0
    for _ in range(15):
        loop.advance(np.full(1000, grid_hz))
        lowest_pu = min(lowest_pu, float(loop._w["now"][0, 0]))
    first, rows = loop.drain_records()
    assert first == 0
    assert rows[:, 0, 3].min() >= 0.0
    assert lowest_pu >= 0.0
    registers = loop.registers()[0]
    assert registers["pcc_from_j"] == 0.0
    net = sum(registers[f"{asset}_into_j"] - registers[f"{asset}_from_j"] for asset in ASSETS)
    gross = sum(registers[f"{asset}_into_j"] + registers[f"{asset}_from_j"] for asset in ASSETS)
    assert np.isfinite(gross)
    assert abs(net) <= 1e-9 * max(gross, 1.0)


def test_the_loads_meter_is_loads_losses_and_what_was_stored() -> None:
    loop = ClosedLoop([a_dc_site(auxiliary_kw=0.3)], seed=1)
    loop.open_feeder(0, 2 * SECOND)
    loop.close_feeder(0, 3 * SECOND)
    run(loop, 5.0)
    behind, registers = loop.dc.measured()[0], loop.registers()[0]
    load_kwh = (registers["load_from_j"] - registers["load_into_j"]) / 3.6e6
    parts_kwh = sum(float(behind[f"{name}_kwh"]) for name in ("dc_load", "auxiliary", "loss", "stored"))
    assert parts_kwh == pytest.approx(load_kwh, rel=1e-3)  # Registers end with the last block of 100 ms.
    assert behind["dc_load_kwh"] == pytest.approx(3.0 * 5.0 / 3600.0, rel=0.03)


def test_rectifiers_lose_what_their_curve_says() -> None:
    loop = ClosedLoop([a_dc_site(pv_now_ratio=0.0)], seed=1)
    run(loop, 1.0)
    before = loop.dc.measured()[0]
    pcc_before = loop.registers()[0]["pcc_into_j"]
    run(loop, 5.0)
    after = loop.dc.measured()[0]
    put_in_kwh = (loop.registers()[0]["pcc_into_j"] - pcc_before) / 3.6e6
    put_out_kwh = float(after["rectifier_kwh"] - before["rectifier_kwh"])
    # Half load: 0.6 % + 1.9 % · 0.5 + 1.9 % · 0.25 of the rating over half the rating is 4.05 %.
    assert put_in_kwh / put_out_kwh == pytest.approx(1.0405, abs=0.003)
