"""A share over a window: piecewise constant from acknowledgement to acknowledgement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.delivery import SiteRecord, response_time_s, site_delivery
from markets.core.scores.neso import worst_error_ratio
from markets.core.settlement import ContractedShare, as_booked, share_over
from sites.core.curves import curve_named
from sites.core.intervals import Interval

STARTS = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = Interval(STARTS, STARTS + timedelta(seconds=60))


def after(seconds: float) -> datetime:
    return STARTS + timedelta(seconds=seconds)


held = st.lists(st.tuples(st.floats(-60.0, 120.0), st.floats(0.0, 1e4)), max_size=8)


@pytest.mark.parametrize(
    ("rows", "mean_kw", "moves"),
    [
        ([], 0.0, []),
        ([(-5.0, 40.0)], 40.0, []),
        # Armed anew with the same power, or long before: nothing moved.
        ([(-5.0, 40.0), (20.0, 40.0)], 40.0, []),
        ([(-9.0, 10.0), (-5.0, 40.0)], 40.0, []),
        # Acknowledged in the window: from there on.
        ([(15.0, 40.0)], 30.0, [(15.0, 40.0)]),
        ([(-5.0, 40.0), (30.0, 20.0)], 30.0, [(0.0, 40.0), (30.0, 20.0)]),
        # Disarmed in it, and after its end.
        ([(-5.0, 40.0), (45.0, 0.0)], 30.0, [(0.0, 40.0), (45.0, 0.0)]),
        ([(-5.0, 40.0), (60.0, 0.0)], 40.0, []),
        # The older one was heard of only after the newer one: it was over by then.
        ([(40.0, 100.0), (30.0, 20.0)], 10.0, [(30.0, 20.0)]),
        ([(-5.0, 0.0)], 0.0, []),
    ],
)
def test_it_holds_from_its_acknowledgement_to_the_next(
    rows: list[tuple[float, float]], mean_kw: float, moves: list[tuple[float, float]]
) -> None:
    found_kw, found = share_over(WINDOW, [(after(at_s), power_kw) for at_s, power_kw in rows])
    assert found_kw == pytest.approx(mean_kw)
    assert found == tuple((after(at_s), power_kw) for at_s, power_kw in moves)


@given(power_kw=st.floats(0.001, 1e5), seconds=st.lists(st.floats(-60.0, 120.0), max_size=6))
def test_a_constant_share_is_its_own_mean_to_the_last_digit(power_kw: float, seconds: list[float]) -> None:
    rows = [(after(at_s), power_kw) for at_s in (-61.0, *seconds)]
    assert share_over(WINDOW, rows) == (power_kw, ())


@given(held)
def test_it_is_the_integral_of_what_was_held(rows: list[tuple[float, float]]) -> None:
    rows = sorted(rows)
    mean_kw, _ = share_over(WINDOW, [(after(at_s), power_kw) for at_s, power_kw in rows])
    # Sampled each 50 ms by the plain rule: the last one acknowledged by then.
    middles = np.arange(0.025, 60.0, 0.05)
    course = np.zeros_like(middles)
    for at_s, power_kw in rows:
        course[middles >= at_s] = power_kw
    most_kw = max((power_kw for _, power_kw in rows), default=0.0)
    assert mean_kw == pytest.approx(course.mean(), abs=1e-6 + most_kw * 0.05 / 60.0 * (len(rows) + 1))


@given(held, st.floats(0.0, 60.0))
def test_parts_of_a_window_add_up_to_the_whole(rows: list[tuple[float, float]], cut_s: float) -> None:
    cut = after(round(max(0.1, min(59.9, cut_s)), 3))
    parts = [Interval(WINDOW.starts_at, cut), Interval(cut, WINDOW.ends_at)]
    listed = [(after(at_s), power_kw) for at_s, power_kw in rows]
    energy = [share_over(part, listed)[0] * part.duration_s for part in (WINDOW, *parts)]
    assert energy[0] == pytest.approx(sum(energy[1:]), rel=1e-9, abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 59), st.floats(0.01, 1e3)), min_size=1, max_size=5),
    st.floats(-100.0, 100.0), st.floats(0.0, 50.0),
)  # fmt: skip
def test_the_entry_s_text_gives_the_share_again(
    rows: list[tuple[int, float]], baseline_kw: float, stream_kw: float
) -> None:
    mean_kw, moves = share_over(WINDOW, [(after(at_s), power_kw) for at_s, power_kw in sorted(rows)])
    booked = as_booked(ContractedShare("s", mean_kw, baseline_kw, moves, stream_kw))
    assert as_booked(booked) == booked
    assert booked.contracted_kw == pytest.approx(mean_kw, abs=5.001e-4)
    assert [at for at, _ in booked.moves] == [at for at, _ in moves]


def test_a_constant_course_is_judged_as_its_one_figure() -> None:
    rng = np.random.default_rng(1)
    frequency_hz = 49.6 + 0.05 * rng.standard_normal(500)
    battery_kw = 40.0 * rng.random(500)
    armed_kw = np.where(rng.random(500) < 0.9, 50.0, 0.0)
    record = SiteRecord(frequency_hz, battery_kw, np.ones(500), armed_kw)

    def judged(contracted_kw: float | np.ndarray) -> tuple[float | None, ...]:
        delivery = site_delivery(
            record, curve=curve_named("neso-dc-low"), nominal_hz=50.0, rate_hz=100.0, contracted_kw=contracted_kw,
            baseline_kw=0.0,
        )  # fmt: skip
        energy = float(np.nansum(delivery.required_kw))
        return delivery.available_ratio, worst_error_ratio(delivery, within_s=0.5), energy

    assert judged(np.full(500, 50.0)) == pytest.approx(judged(50.0))


def test_before_its_first_acknowledgement_a_site_owes_nothing_and_misses_nothing() -> None:
    share_kw = np.where(np.arange(400) < 100, 0.0, 50.0)
    record = SiteRecord(np.full(400, 49.5), share_kw.copy(), np.ones(400), np.full(400, 50.0))
    delivery = site_delivery(
        record, curve=curve_named("neso-dc-low"), nominal_hz=50.0, rate_hz=100.0, contracted_kw=share_kw,
        baseline_kw=0.0,
    )  # fmt: skip
    assert delivery.available_ratio == 1.0
    assert delivery.available.sum() == 300
    assert worst_error_ratio(delivery, within_s=0.5) == 0.0
    assert response_time_s(delivery, within_s=0.5) == 0.01


def test_what_was_for_a_stream_is_neither_given_nor_taken_by_the_curve() -> None:
    """The curve gives 20 kW; the stream beside it swings by 8 kW around zero."""
    stream_kw = 8.0 * np.sin(np.arange(500) / 30.0)
    record = SiteRecord(np.full(500, 49.5), 20.0 + stream_kw, np.ones(500), np.full(500, 20.0), stream_kw)
    delivery = site_delivery(
        record, curve=curve_named("neso-dc-low"), nominal_hz=50.0, rate_hz=100.0, contracted_kw=20.0, baseline_kw=0.0,
    )  # fmt: skip
    assert delivery.delivered_kw == pytest.approx(np.full(500, 20.0))
    assert worst_error_ratio(delivery, within_s=0.5) == pytest.approx(0.0, abs=1e-12)
