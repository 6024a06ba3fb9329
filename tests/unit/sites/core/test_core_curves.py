"""Response curves: the published points, monotony, and what lies outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.curves import (
    CATALOGUE,
    CurveError,
    Direction,
    Recovery,
    ResponseCurve,
    Trigger,
    curve_named,
    required_course,
    required_share,
)


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


EVERY = pytest.mark.parametrize("curve", CATALOGUE.values(), ids=lambda curve: curve.name)


@EVERY
def test_a_larger_deviation_never_asks_for_less(curve):
    deviation = np.linspace(0.0, 4.0, 800)
    share = np.abs(required_share(curve, curve.nominal_hz - (curve.sign or 1) * deviation, curve.nominal_hz))
    assert np.all(np.diff(share) >= 0.0)
    assert share.max() == 1.0


@EVERY
@given(deviation_hz=st.floats(-4.0, 4.0))
def test_power_never_pushes_the_frequency_further_out(curve, deviation_hz):
    share = float(required_share(curve, curve.nominal_hz - deviation_hz, curve.nominal_hz))
    assert share * deviation_hz >= 0.0
    assert abs(share) <= 1.0
    if abs(deviation_hz) < curve.deadband_hz:
        assert share == 0.0
    if curve.direction is Direction.BOTH:
        assert share == pytest.approx(-float(required_share(curve, curve.nominal_hz + deviation_hz, curve.nominal_hz)))


FFR = curve_named("nordic-ffr")


class TestTriggers:
    @given(hz=st.lists(st.floats(49.4, 50.2), min_size=2, max_size=60), extra=st.integers(0, 59))
    def test_a_second_crossing_while_one_runs_changes_nothing(self, hz, extra):
        """Within the 30 s of support the frequency may do what it wants."""
        t_s = 0.5 * np.arange(60)
        once = np.full(60, 49.9)
        once[0] = 49.6
        wild = once.copy()
        wild[1 : len(hz)] = hz[1:]
        np.testing.assert_array_equal(
            required_course(FFR, t_s, wild, 50.0)[:60], required_course(FFR, t_s, once, 50.0)[:60]
        )

    def test_fires_again_after_the_release_once_the_frequency_has_been_back(self):
        t_s = np.arange(0.0, 120.0)
        hz = np.full(120, 49.6)
        hz[50:60] = 50.0
        due = required_course(FFR, t_s, hz, 50.0)
        assert np.all(due[:31] == 1.0)
        assert np.all(due[36:60] == 0.0)
        assert np.all(due[60:91] == 1.0)

    def test_an_unknown_frequency_does_not_fire(self):
        assert np.all(required_course(FFR, np.arange(3.0), np.full(3, np.nan), 50.0) == 0.0)

    def test_the_high_side_charges(self):
        high = ResponseCurve("x", Direction.HIGH, FFR.points, 1.0, 1.0, 30.0, "test", "U", trigger=FFR.trigger)
        assert list(required_course(high, np.arange(2.0), np.array([50.0, 50.4]), 50.0)) == [0.0, -1.0]


class TestBadCurves:
    @pytest.mark.parametrize(
        "points",
        [((0.1, 0.0),), ((0.2, 0.0), (0.1, 1.0)), ((0.1, 0.5), (0.2, 0.4)), ((-0.1, 0.0), (0.2, 1.0)),
         ((0.1, 0.0), (0.2, 1.1))],
    )  # fmt: skip
    def test_are_refused(self, points):
        with pytest.raises(CurveError, match="accepted"):
            ResponseCurve("x", Direction.LOW, points, 0.5, 1.0, 900.0, "test", "U")

    @pytest.mark.parametrize(
        ("direction", "points"), [(Direction.BOTH, ((0.3, 1.0), (1.0, 1.0))), (Direction.LOW, ((0.1, 0.0), (0.5, 1.0)))]
    )
    def test_a_trigger_has_one_side_and_one_share(self, direction, points):
        with pytest.raises(CurveError, match="low or high, and one share"):
            ResponseCurve("x", direction, points, 0.5, 1.0, 900.0, "test", "U", trigger=FFR.trigger)

    @pytest.mark.parametrize("wrong", [{"sustain_s": 0.0}, {"release_per_s": 0.0}, {"ramp_s": -1.0}, {"rest_s": 1e9}])
    def test_a_trigger_that_never_ends_or_starts_is_refused(self, wrong):
        with pytest.raises(CurveError, match=f"{next(iter(wrong))} is .* accepted"):
            Trigger(**{"ramp_s": 0.0, "sustain_s": 1.0, "release_per_s": 1.0, **wrong})

    def test_a_recovery_of_more_than_the_contract_is_refused(self):
        with pytest.raises(CurveError, match=r"share is 1.5, accepted: 0.0 to 1.0"):
            Recovery(1.5, 0.0, 1.0)

    def test_an_unknown_name_tells_the_known_ones(self):
        with pytest.raises(CurveError, match="neso-dc-high, neso-dc-low"):
            curve_named("neso-dc")
