"""Generator trucks: an estimate with a band, each parameter with its source and certainty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon.core.counterfactual import TRUCK_PARAMETERS, truck_estimate


class TestTruckEstimate:
    def test_ten_megawatt_for_a_quarter_of_an_hour_by_hand(self) -> None:
        estimate = truck_estimate(10_000.0, 2_500.0, 0.25)
        # 10 MW over 320 kW usable each is 31.25, so 32 trucks.
        assert (estimate.trucks.low, estimate.trucks.central, estimate.trucks.high) == (28.0, 32.0, 36.0)
        # 32 * 0.0175 * 400 * 0.5 h + 0.245 * 2500 + 32 * 60 km * 0.33 = 112 + 612.5 + 633.6
        assert estimate.litres.central == pytest.approx(1358.1)
        assert estimate.kg_co2e.central == pytest.approx(1358.1 * 2.65937)
        assert (estimate.mobilization_min.low, estimate.mobilization_min.high) == (60.0, 120.0)
        assert "Not a booked figure" in estimate.statement

    @given(st.floats(0.1, 1e6), st.floats(0.0, 1.0), st.floats(0.01, 48.0))
    def test_the_band_holds_the_central_figure(self, power_kw: float, part: float, window_h: float) -> None:
        estimate = truck_estimate(power_kw, power_kw * window_h * part, window_h)
        for band in (estimate.trucks, estimate.litres, estimate.kg_co2e):
            assert 0.0 < band.low <= band.central <= band.high

    @pytest.mark.parametrize(
        ("figures", "said"),
        [((0.0, 0.0, 1.0), "power_kw"), ((1.0, -1.0, 1.0), "energy_kwh"), ((1.0, 1.0, 0.0), "window_h"),
         ((float("nan"), 1.0, 1.0), "power_kw")],
    )  # fmt: skip
    def test_refuses_figures_that_cannot_be(self, figures: tuple[float, float, float], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            truck_estimate(*figures)

    def test_more_energy_than_owed_sizes_the_trucks_by_its_mean_power(self) -> None:
        assert truck_estimate(320.0, 330.0, 1.0).trucks.central == 2.0
        assert truck_estimate(320.0, 320.0, 1.0).trucks.central == 1.0

    def test_every_parameter_says_its_source_and_certainty(self) -> None:
        assert all(parameter.source and parameter.certainty in {"V", "A", "C"} for parameter in TRUCK_PARAMETERS)
