"""The live aggregate: what is summed, what is left out, and its JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sites.metering.batches import LiveRow
from sites.metering.live import MAX_ISLANDED, LiveAggregate, aggregate

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def a_row(site_id: str = "site-0001", age_s: float = 0.0, **values) -> LiveRow:
    measured_at = AT - timedelta(seconds=age_s)
    return LiveRow(site_id, measured_at, measured_at, {"mode": "grid_tied", "frequency_hz": 50.0} | values)


def over(*rows: LiveRow, total: int = 10) -> LiveAggregate:
    return aggregate(rows, at=AT, fresh_within_s=10.0, sites_total=total)


def test_a_silent_site_counts_in_the_total_only() -> None:
    found = over(a_row(service_kw=5.0, age_s=10.0), a_row("old", service_kw=7.0, age_s=10.001))
    assert (found.sites_total, found.sites_fresh, found.service_kw) == (10, 1, 5.0)


def test_an_island_does_not_move_the_grids_frequency_but_is_named() -> None:
    found = over(a_row(frequency_hz=49.5), a_row("b", mode="islanded", frequency_hz=50.4), a_row("c", mode="islanding"))
    assert found.frequency_hz == 49.5
    assert found.islanded == ["b", "c"]
    assert found.by_mode == {"grid_tied": 1, "islanded": 1, "islanding": 1}


def test_no_site_has_no_frequency() -> None:
    assert json.loads(over().to_json())["frequency_hz"] is None


def test_values_not_sent_yet_add_nothing() -> None:
    assert over(a_row(service_kw=None, required_kw=None), a_row("b", service_kw=2.0)).service_kw == 2.0


def test_islanded_sites_are_named_up_to_a_bound_and_all_counted() -> None:
    found = over(*(a_row(f"s{n:03d}", mode="islanded") for n in range(80)))
    assert len(found.islanded) == MAX_ISLANDED
    assert found.islanded_total == 80


def test_the_json_has_the_fields_that_pages_read() -> None:
    said = json.loads(over(a_row(service_kw=1.23456, required_kw=2.0)).to_json())
    assert said == {
        "at": "2026-03-01T12:00:00.000+00:00",
        "sites_total": 10,
        "sites_fresh": 1,
        "by_mode": {"grid_tied": 1},
        "frequency_hz": 50.0,
        "service_kw": 1.235,
        "required_kw": 2.0,
        "discharge_kw": 0.0,
        "charge_kw": 0.0,
        "usable_energy_kwh": 0.0,
        "islanded": [],
        "islanded_total": 0,
    }


@given(powers=st.lists(st.floats(-1e5, 1e5), max_size=20), split=st.integers(0, 20))
def test_the_sums_of_two_workers_are_the_sum_over_all(powers: list[float], split: int) -> None:
    rows = [a_row(f"s{index}", service_kw=power) for index, power in enumerate(powers)]
    parts = over(*rows[:split]).service_kw + over(*rows[split:]).service_kw
    assert abs(parts - over(*rows).service_kw) < 1e-6 * (1 + sum(map(abs, powers)))
