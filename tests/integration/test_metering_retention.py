"""Old readings are deleted in bounded pieces; what the books rest on is not."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO

import numpy as np
import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from support.manifests import a_manifest
from support.meters import START, a_batch, a_record, an_interval

from sites.metering import operations
from sites.metering.models import HighRateRecord, MeterInterval, Reading
from sites.registry.models import Asset, Site
from sites.registry.operations import enrol_sites

pytestmark = pytest.mark.django_db
LIMIT = START + timedelta(hours=1)
AT = START + timedelta(hours=2)


@pytest.fixture
def site() -> Site:
    enrol_sites(manifest=a_manifest(1), program="neso-dc-low", at=START)
    return Site.objects.get()


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def store_readings(site: Site, *received: datetime) -> None:
    """Store one reading for each instant of reception, in that order."""
    count = Reading.objects.count()
    readings = [
        (site.pk, "", ("frequency_hz",), ms(START + timedelta(seconds=count + n)), ms(at), (50.0,))
        for n, at in enumerate(received)
    ]
    operations.store_batch(batch=a_batch(readings=readings), states={}, at=AT)


def left() -> list[datetime]:
    return list(Reading.objects.order_by("measured_at").values_list("received_at", flat=True))


def test_only_readings_before_the_instant_go_and_the_second_time_none(site: Site) -> None:
    old = [LIMIT - timedelta(seconds=n) for n in range(25, 0, -1)]
    store_readings(site, *old, LIMIT, LIMIT + timedelta(seconds=1))
    assert operations.prune_readings(before=LIMIT, at=AT, batch_rows=10).rows == 25
    assert left() == [LIMIT, LIMIT + timedelta(seconds=1)]
    assert operations.prune_readings(before=LIMIT, at=AT, batch_rows=10).rows == 0


def test_it_stops_at_what_is_young_instead_of_reading_the_whole_table(site: Site) -> None:
    store_readings(site, *[LIMIT + timedelta(seconds=n) for n in range(100)])
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert operations.prune_readings(before=LIMIT, at=AT, batch_rows=10).rows == 0
    assert len(queries) == 1


def test_rows_of_a_clock_that_was_ahead_do_not_keep_the_others(site: Site) -> None:
    store_readings(site, *[AT + timedelta(days=n) for n in range(1, 20)], LIMIT - timedelta(seconds=1))
    assert operations.prune_readings(before=LIMIT, at=AT, batch_rows=5).rows == 1
    assert len(left()) == 19


def test_an_instant_in_the_future_is_refused(site: Site) -> None:
    store_readings(site, START)
    with pytest.raises(ValueError, match="accepted: up to"):
        operations.prune_readings(before=AT + timedelta(seconds=1), at=AT)
    assert len(left()) == 1


def test_the_command_keeps_the_configured_days_and_all_numbered_data(site: Site, settings) -> None:
    settings.READING_DAYS = 3
    now = timezone.now().replace(microsecond=0)
    asset = Asset.objects.get(site=site, name="battery")
    items = [an_interval(asset, 1), a_record(site, 1, np.zeros((10, 2)), starts_at=START)]
    operations.store_batch(batch=a_batch(*items), states={}, at=AT)
    store_readings(site, now - timedelta(days=4), now - timedelta(days=2))
    told = StringIO()
    call_command("prune_readings", stdout=told)
    assert told.getvalue().startswith("1 rows from before ")
    assert left() == [now - timedelta(days=2)]
    assert (MeterInterval.objects.count(), HighRateRecord.objects.count()) == (1, 1)
