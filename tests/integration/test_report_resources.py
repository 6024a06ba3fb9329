"""What an operator may be told of: its own programs, and their sites where they are released and few enough."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from markets import reporting
from markets.models import Program
from sites.registry.models import Enrollment, Site

AT = datetime(2026, 3, 1, tzinfo=UTC)


def names(*, with_sites):
    return [resource.name for resource in reporting.resources(operator="north", with_sites=with_sites)]


@pytest.fixture
def enrolled(db):
    """Return what enrolls so many sites."""
    for operator in ("north", "south"):
        Program.objects.create(
            name=f"{operator}-low", operator=operator, market_context="c", product="neso-dc-low", signal_sign=-1,
            currency="GBP", sign_note="negative: into the grid",
        )  # fmt: skip

    def enroll(count):
        for number in range(count):
            site = Site.objects.create(
                site_id=f"site-{number:03d}", name="s", grid_zone="GB", nominal_hz=50.0, nominal_voltage_v=230.0,
                loss_of_link="hold", partition=0, enrolled_at=AT,
            )  # fmt: skip
            Enrollment.objects.create(site=site, program="neso-dc-low", since=AT)

    return enroll


def test_sites_are_told_one_by_one_only_where_that_is_set(enrolled):
    enrolled(2)
    assert names(with_sites=False) == ["north-low"]
    assert names(with_sites=True) == ["north-low", "north-low:site-000", "north-low:site-001"]


def test_a_single_site_has_its_own_values(enrolled):
    enrolled(2)
    _, first, _ = reporting.resources(operator="north", with_sites=True)
    snapshot = reporting.snapshot(resource=first, at=AT, fresh_within_s=60.0, dropout_margin=0.02)
    assert [site.site_id for site in snapshot.sites] == ["site-000"]
    assert reporting.site_count(resource=first) == 1


def test_too_many_sites_are_told_together(enrolled):
    enrolled(reporting.MAX_RESOURCES)
    assert names(with_sites=True) == ["north-low"]
