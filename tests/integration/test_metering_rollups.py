"""Roll-ups of readings: what they hold, that late data makes them anew, and that readings under way are not missed."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from support.manifests import a_manifest
from support.meters import START, START_MS, a_batch

from sites.core.intervals import Interval
from sites.metering import operations
from sites.metering.history import history
from sites.metering.models import MinuteRollUp, QuarterRollUp, RollUpDue
from sites.metering.rollups import roll_up
from sites.registry.models import Site
from sites.registry.operations import enrol_sites

pytestmark = pytest.mark.django_db
HOUR = Interval(START, START + timedelta(hours=1))
AT = START + timedelta(hours=1)
NAN = math.nan
NAMES = ("power_kw", "soc_ratio")


@pytest.fixture
def site() -> Site:
    enrol_sites(manifest=a_manifest(1), program="neso-dc-low", at=START)
    return Site.objects.get()


def store(
    site: Site, *values: tuple[float, tuple[float, ...]], names: tuple[str, ...] = ("power_kw", "soc_ratio")
) -> None:
    """Store (second, values) of the battery."""
    readings = [(site.pk, "battery", names, round(START_MS + s * 1_000), START_MS, row) for s, row in values]
    batch = a_batch(readings=readings)
    batch.due = {(site.partition, item[3] // 60_000) for item in readings}
    operations.store_batch(batch=batch, states={}, at=AT)


def spans(metric: str, resolution: str = "1min") -> list[tuple[int, float, float, float, float]]:
    """Return (minute, count, mean, least, greatest) of the steps in which something was measured."""
    asked = {f"battery/{metric}": ""}
    found = history(site=Site.objects.get(), metrics=asked, period=HOUR, resolution=resolution)
    step_min = found.step // timedelta(minutes=1)
    (series,) = found.series
    columns = (series.counts, series.means, series.lows, series.highs)
    return [(step * step_min, *(float(column[step]) for column in columns)) for step in np.flatnonzero(series.counts)]


def rolled(at: timedelta = timedelta(hours=1), oldest: timedelta = timedelta(0)) -> int:
    return roll_up(at=START + at, oldest=START + oldest).rows


def test_minutes_and_quarters_hold_count_mean_least_and_greatest(site: Site) -> None:
    store(site, (0, (1.0, 0.5)), (59.999, (3.0, NAN)), (60, (10.0, NAN)), (14 * 60, (2.0, NAN)), (15 * 60, (5.0, 0.1)))
    assert rolled() == 6
    assert spans("power_kw") == [
        (0, 2, 2.0, 1.0, 3.0), (1, 1, 10.0, 10.0, 10.0), (14, 1, 2.0, 2.0, 2.0), (15, 1, 5.0, 5.0, 5.0),
    ]  # fmt: skip
    assert spans("power_kw", "15min") == [(0, 4, 4.0, 1.0, 10.0), (15, 1, 5.0, 5.0, 5.0)]
    # A value that the site did not know counts nowhere.
    assert spans("soc_ratio", "15min") == [(0, 1, 0.5, 0.5, 0.5), (15, 1, 0.1, 0.1, 0.1)]
    assert rolled() == 0


def test_late_data_changes_the_figures_by_revision_and_only_its_own(site: Site) -> None:
    store(site, (0, (1.0, 0.5)), (60, (2.0, 0.5)))
    rolled()
    store(site, (30, (9.0, 0.5)))
    assert rolled() == 2
    assert spans("power_kw") == [(0, 2, 5.0, 1.0, 9.0), (1, 1, 2.0, 2.0, 2.0)]
    assert spans("power_kw", "15min") == [(0, 3, 4.0, 1.0, 9.0)]
    assert list(MinuteRollUp.objects.order_by("starts_at").values_list("revision", flat=True)) == [1, 0]
    assert QuarterRollUp.objects.get().revision == 1


def test_a_repeat_changes_nothing(site: Site) -> None:
    store(site, (0, (1.0, 0.5)))
    rolled()
    store(site, (0, (7.0, 0.5)))
    assert rolled() == 0
    assert spans("power_kw") == [(0, 1, 1.0, 1.0, 1.0)]


def test_a_second_message_of_one_instant_is_counted_and_is_no_row(site: Site) -> None:
    batch = a_batch(readings=[(site.pk, "battery", NAMES, START_MS + s, START_MS, (7.0, 0.5)) for s in (0, 0, 1)])
    stored = operations.store_batch(batch=batch, states={}, at=AT)
    assert (stored.readings, stored.readings_repeated) == (2, 1)


def test_a_minute_is_made_when_it_has_ended_and_settled(site: Site) -> None:
    store(site, (30, (1.0, 0.5)))
    assert rolled(at=timedelta(seconds=74)) == 0
    assert rolled(at=timedelta(seconds=75)) == 2


def test_of_minutes_whose_readings_may_be_gone_the_figures_stay(site: Site) -> None:
    store(site, (0, (1.0, 0.5)), (1, (3.0, 0.5)))
    rolled()
    store(site, (2, (100.0, 0.5)))
    assert rolled(oldest=timedelta(minutes=1)) == 0
    assert spans("power_kw") == [(0, 2, 2.0, 1.0, 3.0)]
    assert not RollUpDue.objects.exists()


def test_a_metric_in_messages_of_two_shapes_is_one_figure(site: Site) -> None:
    store(site, (0, (1.0, 0.5)))
    store(site, (10, (5.0,)), names=("power_kw",))
    rolled()
    assert spans("power_kw") == [(0, 2, 3.0, 1.0, 5.0)]


def test_many_minutes_are_worked_off_in_pieces(site: Site) -> None:
    store(site, *[(60.0 * minute, (float(minute), 0.5)) for minute in range(23)])
    rolled()
    assert len(spans("power_kw")) == 23
    assert spans("power_kw", "15min") == [(0, 15, 7.0, 0.0, 14.0), (15, 8, 18.5, 15.0, 22.0)]


def test_roll_ups_of_minutes_have_an_end_and_those_of_quarters_stay(site: Site) -> None:
    store(site, (0, (1.0, 0.5)), (600, (1.0, 0.5)))
    rolled()
    assert operations.prune_roll_ups(before=START + timedelta(minutes=5)).rows == 1
    assert MinuteRollUp.objects.count() == 1
    assert QuarterRollUp.objects.count() == 1
