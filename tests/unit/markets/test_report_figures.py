"""Figures told to an operator: OpenADR's sign, and what is missing stays missing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.reports import (
    Figure,
    OperatingState,
    Quantity,
    SiteEnergy,
    SiteValues,
    Terms,
    Trust,
    live_figure,
    metered_figure,
    status_of,
)
from sites.core.envelope import OperatingEnvelope

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TERMS = Terms(sustain_s=3600.0, dropout_margin=0.1)


def a_site(name="a", *, fresh=True, mode="grid_tied", pcc=10.0, service=0.0, soc=0.5, room=(50.0, 40.0, 30.0, 20.0)):
    envelope = OperatingEnvelope(name, AT, *room) if room else None
    return SiteValues(name, fresh, mode, pcc, service, soc, 100.0, envelope)


class TestSign:
    """Inside, power into the bus is positive: import at the connection, delivered service at the battery."""

    def test_import_is_consumption_and_positive(self):
        assert live_figure(Quantity.POWER, [a_site(pcc=10.0)], TERMS).value == 10.0

    def test_export_is_negative(self):
        assert live_figure(Quantity.POWER, [a_site(pcc=-10.0)], TERMS).value == -10.0

    def test_power_given_to_the_grid_is_less_consumption(self):
        assert live_figure(Quantity.SERVICE, [a_site(service=25.0)], TERMS).value == -25.0

    def test_power_taken_for_a_service_is_more_consumption(self):
        assert live_figure(Quantity.SERVICE, [a_site(service=-25.0)], TERMS).value == 25.0

    @pytest.mark.parametrize(
        ("pcc", "service", "baseline"), [(-15.0, 25.0, 10.0), (35.0, -25.0, 10.0), (4.0, 0.0, 4.0)]
    )
    def test_the_baseline_is_the_connection_without_the_service(self, pcc, service, baseline):
        assert live_figure(Quantity.BASELINE, [a_site(pcc=pcc, service=service)], TERMS).value == baseline

    @pytest.mark.parametrize(("into", "out", "kwh"), [(2, 0, 2.0), (0, 2, -2.0), (1, 3, -2.0)])
    def test_energy_is_import_less_export(self, into, out, kwh):
        energies = [SiteEnergy("a", into * 10**9, out * 10**9, 900.0)]
        assert metered_figure(Quantity.ENERGY, energies, sites_total=1, interval_s=900.0).value == kwh
        assert metered_figure(Quantity.MEAN_POWER, energies, sites_total=1, interval_s=900.0).value == 4 * kwh

    @given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
    def test_power_is_baseline_plus_what_the_service_changes(self, pcc, service):
        sites = [a_site(pcc=pcc, service=service)]
        power, baseline, change = (
            live_figure(quantity, sites, TERMS).value
            for quantity in (Quantity.POWER, Quantity.BASELINE, Quantity.SERVICE)
        )
        assert power == pytest.approx(baseline + change, abs=1e-6)


class TestMissing:
    def test_a_silent_site_is_not_in_the_sum_and_that_is_told(self):
        figure = live_figure(Quantity.POWER, [a_site(pcc=10.0), a_site("b", fresh=False, pcc=99.0)], TERMS)
        assert figure == Figure(10.0, Trust.PART, 1, 2)
        assert figure.coverage_percent == 50

    @pytest.mark.parametrize(
        "quantity",
        [
            q
            for q in Quantity
            if q not in {Quantity.ENERGY, Quantity.MEAN_POWER, Quantity.STATUS, Quantity.STORAGE_CAPACITY}
        ],
    )
    def test_nothing_known_is_no_zero(self, quantity):
        figure = live_figure(quantity, [a_site(fresh=False)], TERMS)
        assert (figure.value, figure.trust) == (None, Trust.MISSING)

    def test_no_site_at_all_is_missing(self):
        assert live_figure(Quantity.POWER, [], TERMS) == Figure(None, Trust.MISSING, 0, 0)

    def test_a_fresh_site_without_the_value_is_missing(self):
        assert live_figure(Quantity.BASELINE, [a_site(service=None)], TERMS).trust is Trust.MISSING

    def test_capacity_is_enrolled_and_known_of_a_silent_site(self):
        assert live_figure(Quantity.STORAGE_CAPACITY, [a_site(fresh=False)], TERMS).value == 100.0

    def test_an_hour_that_is_metered_in_part_is_missing_and_not_less(self):
        part = metered_figure(Quantity.ENERGY, [SiteEnergy("a", 10**9, 0, 3000.0)], sites_total=1, interval_s=3600.0)
        assert (part.value, part.trust) == (None, Trust.MISSING)

    def test_a_metered_zero_is_a_zero(self):
        assert metered_figure(
            Quantity.ENERGY, [SiteEnergy("a", 0, 0, 3600.0)], sites_total=1, interval_s=3600.0
        ) == Figure(0.0, Trust.GOOD, 1, 1)

    def test_999_of_1000_sites_are_not_all(self):
        sites = [a_site(str(number), fresh=number > 0) for number in range(1000)]
        figure = live_figure(Quantity.POWER, sites, TERMS)
        assert (figure.coverage_percent, figure.trust) == (99, Trust.PART)


class TestAvailable:
    def test_up_is_bounded_by_energy_over_the_product_duration_less_the_margin(self):
        # 30 kWh over one hour are 30 kW, less than the headroom of 50 kW; 10 % are kept back.
        assert live_figure(Quantity.UP_AVAILABLE, [a_site()], TERMS).value == pytest.approx(27.0)

    def test_down_is_bounded_by_the_room_for_charging(self):
        assert live_figure(Quantity.DOWN_AVAILABLE, [a_site()], TERMS).value == pytest.approx(18.0)

    def test_an_island_gives_nothing_and_that_is_known(self):
        assert live_figure(Quantity.UP_AVAILABLE, [a_site(mode="islanded")], TERMS) == Figure(0.0, Trust.GOOD, 1, 1)

    def test_a_site_without_envelope_cannot_be_counted_on(self):
        assert live_figure(Quantity.UP_AVAILABLE, [a_site(room=None)], TERMS).trust is Trust.MISSING

    def test_charge_level_is_weighed_by_capacity(self):
        sites = [a_site("a", soc=0.2), SiteValues("b", True, "grid_tied", soc_ratio=0.8, capacity_kwh=300.0)]
        assert live_figure(Quantity.CHARGE_LEVEL, sites, TERMS).value == pytest.approx(65.0)


@pytest.mark.parametrize(
    ("sites", "online", "state"),
    [
        ([a_site()], True, OperatingState.NORMAL),
        ([a_site(service=5.0)], True, OperatingState.RUNNING_CURTAILED),
        ([a_site(service=-5.0)], True, OperatingState.RUNNING_HEIGHTENED),
        ([a_site(mode="islanded")], True, OperatingState.RUNNING_OPTED_OUT),
        ([a_site(mode="lockout")], False, OperatingState.ERROR),
        ([a_site(fresh=False)], None, None),
        ([], None, None),
    ],
)
def test_status(sites, online, state):
    status = status_of(sites)
    assert (status.is_online, status.state) == (online, state)


def test_maintenance_is_told_as_overridden():
    assert status_of([a_site(mode="maintenance"), a_site("b")]).is_overridden
