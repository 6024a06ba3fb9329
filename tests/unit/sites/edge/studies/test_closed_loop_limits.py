"""What wins over the service at the edge: connection, energy and rating; recovery; a loop that hunts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sites.core.curves import Recovery, curve_named
from sites.edge.control.kernels import service
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies import closed_loop
from sites.edge.studies.closed_loop import ClosedLoop

SITE = SiteParameters(
    site_id="site-1", name="one", kind="cabinet", nominal_hz=50.0, nominal_voltage_v=400.0, phases=3, pcs_kva=100.0,
    battery_kwh=100.0, soc_ratio=0.6, reserve_kwh=10.0, pv_kw=150.0, pv_now_ratio=0.0, load_kw=20.0, genset_kw=0.0,
    import_limit_kw=60.0, export_limit_kw=40.0,
)  # fmt: skip
LOW, HIGH = curve_named("neso-dc-low"), curve_named("neso-dc-high")
SECOND = 10_000


def a_loop(**changes: object) -> ClosedLoop:
    return ClosedLoop([dataclasses.replace(SITE, **changes)], seed=1)


def let_the_sun_shine(loop: ClosedLoop, kw: float) -> None:
    """The plant's own sun: the controller only sees what flows."""
    loop._g["pv_pu"][0] = kw / SITE.pcs_kva


class TestConnection:
    def test_a_rising_sun_takes_the_room_of_a_discharge(self) -> None:
        loop = a_loop()
        loop.arm(0, LOW, 55.0, 0.0, 0, 10**9)
        loop.advance(np.full(2 * SECOND, 49.4))
        before = loop.measured()[0]
        # 20 kW of load and 40 kW of export leave room for 55 kW.
        assert before["battery_kw"] == pytest.approx(55.0, abs=1.5)
        assert before["limited_by"] == service.LIMITED_NOT
        let_the_sun_shine(loop, 45.0)
        loop.drain_records()
        loop.advance(np.full(3 * SECOND, 49.4))
        after = loop.measured()[0]
        assert after["battery_kw"] == pytest.approx(40.0 + 20.0 - 45.0, abs=2.0)
        assert after["limited_by"] == service.LIMITED_BY_EXPORT
        rows = loop.drain_records()[1]
        export_kw = -rows[:, 0, 3]
        # The anti-islanding method's own small swing stands on it.
        assert export_kw[-100:].mean() < 40.0
        assert export_kw[-100:].max() < 40.4
        # While the sun rises, within 0.2 s, at most a little and for less than half a second.
        assert export_kw.max() < 46.0
        assert (export_kw > 40.4).sum() < 50

    def test_more_sun_than_the_connection_takes_is_stored_and_then_held_back(self) -> None:
        loop = a_loop(soc_ratio=0.6)
        let_the_sun_shine(loop, 140.0)
        loop.advance(np.full(4 * SECOND, 50.0))
        stored = loop.measured()[0]
        assert stored["battery_kw"] == pytest.approx(-80.0, abs=3.0)
        full = a_loop(soc_ratio=0.95)
        let_the_sun_shine(full, 140.0)
        full.advance(np.full(6 * SECOND, 50.0))
        held = full.measured()[0]
        assert abs(held["battery_kw"]) < 2.0
        assert -held["pcc_kw"] < 40.5
        assert held["pv_kw"] == pytest.approx(60.0, abs=3.0)

    def test_a_charge_stays_under_the_import_limit(self) -> None:
        loop = a_loop()
        loop.arm(0, HIGH, 90.0, 0.0, 0, 10**9)
        loop.advance(np.full(3 * SECOND, 50.6))
        now = loop.measured()[0]
        assert now["pcc_kw"] < 60.0
        assert now["battery_kw"] == pytest.approx(-40.0, abs=2.0)
        assert now["limited_by"] == service.LIMITED_BY_IMPORT

    def test_room_that_comes_back_is_used_again(self) -> None:
        loop = a_loop()
        loop.arm(0, LOW, 55.0, 0.0, 0, 10**9)
        let_the_sun_shine(loop, 45.0)
        loop.advance(np.full(3 * SECOND, 49.4))
        let_the_sun_shine(loop, 0.0)
        loop.advance(np.full(3 * SECOND, 49.4))
        assert loop.measured()["battery_kw"][0] == pytest.approx(55.0, abs=1.5)


class TestEnergy:
    def test_the_end_is_announced_before_it_bites(self) -> None:
        # 0.4 kWh above the reserve of 10 kWh: about 27 s at 50 kW.
        loop = a_loop(soc_ratio=0.104)
        loop.arm(0, LOW, 50.0, 0.0, 0, 10**9)
        loop.advance(np.full(2 * SECOND, 49.4))
        told_s = float(loop.measured()["saturates_in_s"][0])
        assert loop.measured()["limited_by"][0] == service.LIMITED_NOT
        assert 10.0 < told_s < 40.0
        waited_s = 0
        while loop.measured()["limited_by"][0] == service.LIMITED_NOT and waited_s < 60:
            loop.advance(np.full(SECOND, 49.4))
            waited_s += 1
        assert waited_s == pytest.approx(told_s, abs=8.0)
        assert loop.measured()["limited_by"][0] == service.LIMITED_BY_ENERGY
        loop.advance(np.full(5 * SECOND, 49.4))
        assert abs(loop.measured()["battery_kw"][0]) < 5.0

    def test_without_service_there_is_no_end_in_sight(self) -> None:
        loop = a_loop()
        loop.advance(np.full(SECOND, 50.0))
        assert loop.measured()["saturates_in_s"][0] == service.NOT_SOON_S


class TestRecovery:
    def course(self, site_id: str, seconds: int) -> np.ndarray:
        loop = a_loop(site_id=site_id)
        curve = dataclasses.replace(LOW, recovery=Recovery(share=0.25, after_s=1.0, ramp_per_min=30.0))
        loop.arm(0, curve, 40.0, 0.0, 0, 10**9)
        loop.advance(np.full(6 * SECOND, 49.4))
        loop.drain_records()
        loop.advance(np.full(seconds * SECOND, 50.0))
        return loop.drain_records()[1][:, 0, 1]

    def test_takes_energy_back_within_the_products_share_after_the_sites_own_stagger(self) -> None:
        # crc32 of these names, modulo 120 s.
        early, late = "site-10", "site-1"
        stagger_s = [closed_loop.control_settings(dataclasses.replace(SITE, site_id=name), 10_000).recovery_stagger_s
                     for name in (early, late)]  # fmt: skip
        assert stagger_s[0] < 10.0 < stagger_s[1]
        battery_kw = self.course(early, 16)
        assert battery_kw[-100:].mean() == pytest.approx(-4.0, abs=1.0)  # 6 s of 40 kW over a minute.
        assert battery_kw.min() > -11.0
        assert abs(self.course(late, 12)[-100:].mean()) < 0.5

    def test_goes_at_once_when_the_grid_asks_again(self) -> None:
        loop = a_loop(site_id="site-10")
        curve = dataclasses.replace(LOW, recovery=Recovery(share=0.25, after_s=1.0, ramp_per_min=30.0))
        loop.arm(0, curve, 40.0, 0.0, 0, 10**9)
        loop.advance(np.full(6 * SECOND, 49.4))
        loop.advance(np.full(16 * SECOND, 50.0))
        assert loop.measured()["battery_kw"][0] < -3.0
        loop.drain_records()
        loop.advance(np.full(3000, 49.4))
        rows = loop.drain_records()[1][:, 0, 1]
        assert np.argmax(rows > 36.0) * 10 <= 200


class TestHunting:
    """A controller that was commissioned with a reactance of nothing, on a weak grid, with the steepest curve."""

    def test_a_loop_that_hunts_is_slowed_and_then_follows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        right = closed_loop.control_settings
        monkeypatch.setattr(
            closed_loop, "control_settings", lambda site, rate: dataclasses.replace(right(site, rate), grid_x_pu=0.0)
        )
        loop = a_loop(short_circuit_ratio=5.0, export_limit_kw=200.0, import_limit_kw=200.0)
        loop.arm(0, curve_named("fcr-n"), 90.0, 0.0, 0, 10**9)
        loop.advance(np.full(4 * SECOND, 49.95))
        loop.drain_records()
        loop.advance(np.full(2 * SECOND, 49.95))
        rows = loop.drain_records()[1][:, 0, 1]
        assert rows.mean() == pytest.approx(45.0, abs=1.0)
        assert rows.std() < 0.5

    def test_as_commissioned_it_does_not_hunt_at_the_usual_strength(self) -> None:
        loop = a_loop(short_circuit_ratio=10.0, export_limit_kw=200.0, import_limit_kw=200.0)
        loop.arm(0, curve_named("fcr-n"), 90.0, 0.0, 0, 10**9)
        loop.advance(np.full(2 * SECOND, 50.0))
        loop.advance(np.full(2 * SECOND, 49.91))
        assert loop._c["calm_ms"][0] == 0
