"""Response curves: the published points, monotony, and what lies outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.curves import CATALOGUE, CurveError, Direction, ResponseCurve, curve_named, required_share


class TestDynamicContainment:
    @pytest.mark.parametrize(
        ("frequency_hz", "share"),
        [(50.5, 0.0), (50.0, 0.0), (49.985, 0.0), (49.8, 0.05), (49.65, 0.525), (49.5, 1.0), (48.8, 1.0)],
    )
    def test_low_follows_the_published_points(self, frequency_hz, share):
        assert required_share(curve_named("neso-dc-low"), frequency_hz, 50.0) == pytest.approx(share, abs=1e-9)

    @given(st.floats(-2.0, 2.0))
    def test_high_mirrors_low(self, deviation_hz):
        low = required_share(curve_named("neso-dc-low"), 50.0 - deviation_hz, 50.0)
        high = required_share(curve_named("neso-dc-high"), 50.0 + deviation_hz, 50.0)
        assert low == pytest.approx(-high, abs=1e-9)

    def test_an_unknown_frequency_owes_an_unknown_power(self):
        assert np.isnan(required_share(curve_named("neso-dc-low"), float("nan"), 50.0))


@pytest.mark.parametrize("curve", CATALOGUE.values(), ids=lambda curve: curve.name)
def test_a_larger_deviation_never_asks_for_less(curve):
    deviation = np.linspace(0.0, 2.0, 400)
    share = np.abs(required_share(curve, 50.0 - curve.sign * deviation, 50.0))
    assert np.all(np.diff(share) >= 0.0)
    assert share.max() == 1.0


class TestBadCurves:
    @pytest.mark.parametrize(
        "points",
        [((0.1, 0.0),), ((0.2, 0.0), (0.1, 1.0)), ((0.1, 0.5), (0.2, 0.4)), ((-0.1, 0.0), (0.2, 1.0)),
         ((0.1, 0.0), (0.2, 1.1))],
    )  # fmt: skip
    def test_are_refused(self, points):
        with pytest.raises(CurveError, match="accepted"):
            ResponseCurve("x", Direction.LOW, points, 0.5, 1.0, 900.0, "test", "U")

    def test_an_unknown_name_tells_the_known_ones(self):
        with pytest.raises(CurveError, match="neso-dc-high, neso-dc-low"):
            curve_named("neso-dc")
