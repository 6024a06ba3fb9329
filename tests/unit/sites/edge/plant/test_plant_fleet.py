"""The synthetic fleet and its parameters."""

from __future__ import annotations

import dataclasses

import pytest

from sites.edge.plant.fleet import synthetic_fleet


def test_the_same_seed_gives_the_same_fleet() -> None:
    assert synthetic_fleet(40, 7) == synthetic_fleet(40, 7)
    assert synthetic_fleet(40, 7) != synthetic_fleet(40, 8)


def test_a_smaller_fleet_is_the_beginning_of_a_larger_one() -> None:
    assert synthetic_fleet(100, 1)[:10] == synthetic_fleet(10, 1)


def test_the_fleet_is_mixed_and_can_sustain_tens_of_kilowatts_a_site() -> None:
    fleet = synthetic_fleet(200, 1)
    assert {site.kind for site in fleet} == {"telecom", "cabinet", "data_center"}
    assert {site.phases for site in fleet} == {1, 3}
    assert [fleet[0].site_id, fleet[-1].site_id] == ["site-0001", "site-0200"]
    sustainable_kw = [
        min(site.pcs_kva, (site.soc_ratio * site.battery_kwh - site.reserve_kwh) / 0.25) for site in fleet
    ]
    assert all(kw > 0.0 for kw in sustainable_kw)
    assert 20.0 < sum(sustainable_kw) / len(fleet) < 60.0
    assert all(abs(site.meter_bias_hz) <= 0.01 for site in fleet)


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="accepted: 1 to 9999"):
        synthetic_fleet(count, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("phases", 2), ("nominal_hz", 16.7), ("switch_kind", "magic"), ("soc_ratio", 1.2), ("pcs_kva", float("nan"))],
)
def test_a_parameter_out_of_range_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"'site-0001': {name} is .*accepted"):
        dataclasses.replace(synthetic_fleet(1, 1)[0], **{name: value})
