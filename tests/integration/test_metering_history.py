"""Histories of a site's metrics: the grid, its gaps, the resolution chosen for a span, bounds; who may read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.conf import settings
from django.test import Client
from support.console_event import a_person
from support.manifests import a_manifest
from support.meters import START, START_MS, a_batch

from sites.core.intervals import Interval
from sites.metering import history as histories
from sites.metering import operations
from sites.metering.history import MAX_STEPS, STEPS, TooMuch, history, resolution_for
from sites.metering.rollups import roll_up
from sites.registry.models import Site
from sites.registry.operations import enrol_sites

pytestmark = pytest.mark.django_db
NAN = math.nan
ADDRESS = "/api/v1/sites/site-0001/history/"


@pytest.fixture
def site() -> Site:
    enrol_sites(manifest=a_manifest(2), program="neso-dc-low", at=START)
    return Site.objects.get(site_id="site-0001")


def store(site: Site, asset: str, names: tuple[str, ...], *values: tuple[float, tuple[float, ...]]) -> None:
    """Store (second, values)."""
    readings = [(site.pk, asset, names, round(START_MS + s * 1_000), START_MS, row) for s, row in values]
    batch = a_batch(readings=readings)
    batch.due = {(site.partition, item[3] // 60_000) for item in readings}
    operations.store_batch(batch=batch, states={}, at=START)


def means(site: Site, metric: str, first_s: float, last_s: float, resolution: str = "1s") -> list[float | None]:
    period = Interval(START + timedelta(seconds=first_s), START + timedelta(seconds=last_s))
    (series,) = history(site=site, metrics={metric: "kW"}, period=period, resolution=resolution).series
    return [None if math.isnan(mean) else mean for mean in series.means]


class TestGrid:
    def test_each_second_has_its_place_and_a_second_without_a_value_is_a_gap(self, site: Site) -> None:
        store(site, "battery", ("power_kw", "soc_ratio"), (0, (1.0, 0.5)), (1.999, (2.0, NAN)), (4, (NAN, 0.4)))
        assert means(site, "battery/power_kw", 0, 5) == [1.0, 2.0, None, None, None]
        assert means(site, "battery/soc_ratio", 0, 5) == [0.5, None, None, None, 0.4]

    def test_the_first_step_holds_the_start_and_the_end_is_not_read(self, site: Site) -> None:
        store(site, "", ("frequency_hz",), (0, (49.0,)), (1, (50.0,)), (2, (51.0,)))
        assert means(site, "frequency_hz", 0.5, 2) == [49.0, 50.0]
        assert means(site, "frequency_hz", 0.5, 2.001) == [49.0, 50.0, 51.0]

    def test_values_of_one_second_are_one_figure_with_least_and_greatest(self, site: Site) -> None:
        store(site, "battery", ("power_kw",), (0, (1.0,)), (0.5, (4.0,)))
        store(site, "battery", ("power_kw", "soc_ratio"), (0.25, (-2.0, 0.5)))
        period = Interval(START, START + timedelta(seconds=1))
        (series,) = history(site=site, metrics={"battery/power_kw": "kW"}, period=period, resolution="1s").series
        assert [float(column[0]) for column in (series.counts, series.means, series.lows, series.highs)] == [
            3,
            1,
            -2,
            4,
        ]

    def test_another_sites_and_another_assets_values_stay_out(self, site: Site) -> None:
        other = Site.objects.get(site_id="site-0002")
        store(other, "battery", ("power_kw",), (0, (9.0,)))
        store(site, "pcc", ("power_kw",), (0, (8.0,)))
        assert means(site, "battery/power_kw", 0, 1) == [None]

    @pytest.mark.parametrize(("resolution", "minutes"), [("1min", 1), ("15min", 15)])
    def test_roll_ups_give_what_the_readings_give(self, site: Site, resolution: str, minutes: int) -> None:
        rng = np.random.default_rng(5)
        values = [(s, (float(rng.normal()), NAN)) for s in range(0, 3_600, 7)]
        store(site, "battery", ("power_kw", "soc_ratio"), *values)
        roll_up(at=START + timedelta(hours=2), oldest=START)
        found = means(site, "battery/power_kw", 0, 3_600, resolution)
        step_s = minutes * 60
        by_hand = [[row[0] for s, row in values if s // step_s == n] for n in range(3_600 // step_s)]
        assert found == pytest.approx([sum(part) / len(part) for part in by_hand])


class TestResolution:
    @pytest.mark.parametrize(
        ("hours", "age_days", "resolution"),
        [
            (1, 0.1, "1s"), (1.2, 0.1, "1min"), (24, 1, "1min"), (66, 3, "1min"), (67, 3, "15min"), (720, 30, "15min"),
            # An hour of which the readings are deleted already.
            (1, 8, "1min"), (1, 91, "15min"),
        ],
    )  # fmt: skip
    def test_the_finest_that_one_answer_holds_and_that_is_still_kept(
        self, hours: float, age_days: float, resolution: str
    ) -> None:
        starts_at = START - timedelta(days=age_days)
        period = Interval(starts_at, starts_at + timedelta(hours=hours))
        kept = {"1s": START - timedelta(days=7), "1min": START - timedelta(days=90)}
        assert resolution_for(period, kept_since=kept) == resolution

    @pytest.mark.parametrize("resolution", list(STEPS))
    def test_more_steps_than_one_answer_holds_are_refused_with_the_longest_span(
        self, site: Site, resolution: str
    ) -> None:
        period = Interval(START, START + STEPS[resolution] * MAX_STEPS + timedelta(seconds=1))
        with pytest.raises(TooMuch, match=rf"4001 steps of {resolution}, accepted: up to 4000 \([0-9.]+ h\)"):
            history(site=site, metrics={"frequency_hz": "Hz"}, period=period, resolution=resolution)

    def test_more_readings_than_one_answer_reads_are_refused(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(histories, "MAX_ROWS", 3)
        for asset in ("pcc", "battery"):
            store(site, asset, ("power_kw",), (0, (1.0,)), (0.5, (2.0,)))
        period = Interval(START, START + timedelta(seconds=1))
        asked = {"pcc/power_kw": "kW", "battery/power_kw": "kW"}
        with pytest.raises(TooMuch, match="accepted: a shorter period"):
            history(site=site, metrics=asked, period=period, resolution="1s")
        history(site=site, metrics={"pcc/power_kw": "kW"}, period=period, resolution="1s")


def browser(role: str) -> Client:
    client = Client()
    client.force_login(a_person(role, owns=["site-0001"]))
    return client


def at(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


class TestApi:
    def test_series_stand_on_one_grid_with_units_and_null_for_a_gap(self, site: Site) -> None:
        store(site, "battery", ("power_kw", "soc_ratio"), (0, (-1.25, 0.5)), (2, (3.0, NAN)))
        store(site, "", ("frequency_hz",), (1, (49.98765432,)))
        asked = {"metric": ["battery/power_kw", "frequency_hz"], "from": at(0), "to": at(3), "resolution": "1s"}
        found = browser("owner").get(ADDRESS, asked).json()
        assert found == {
            "site_id": "site-0001", "starts_at": at(0), "resolution": "1s", "step_s": 1, "steps": 3,
            "series": [
                {
                    "metric": "battery/power_kw", "unit": "kW", "mean": [-1.25, None, 3.0], "low": [-1.25, None, 3.0],
                    "high": [-1.25, None, 3.0], "count": [1, 0, 1],
                },
                {
                    "metric": "frequency_hz", "unit": "Hz", "mean": [None, 49.9877, None],
                    "low": [None, 49.9877, None], "high": [None, 49.9877, None], "count": [0, 1, 0],
                },
            ],
        }  # fmt: skip

    def test_without_a_period_it_is_the_last_hour_by_the_second_and_one_figure_may_do(self, site: Site) -> None:
        found = browser("auditor").get(ADDRESS, {"metric": "frequency_hz", "figure": "mean"}).json()
        assert (found["resolution"], found["steps"]) in {("1s", 3_600), ("1s", 3_601)}
        assert found["series"][0].keys() == {"metric", "unit", "mean"}
        ended_s = (datetime.now(UTC) - datetime.fromisoformat(found["starts_at"])).total_seconds()
        assert ended_s == pytest.approx(3_600, abs=30)

    def test_an_hour_whose_readings_are_gone_comes_by_the_minute(self, site: Site) -> None:
        ends_at = datetime.now(UTC) - timedelta(days=settings.READING_DAYS)
        asked = {
            "metric": "frequency_hz",
            "from": (ends_at - timedelta(hours=1)).isoformat(),
            "to": ends_at.isoformat(),
        }
        assert browser("dispatcher").get(ADDRESS, asked).json()["resolution"] == "1min"

    @pytest.mark.parametrize(
        ("change", "field", "says"),
        [
            ({"metric": []}, "metric", "given 0 times, accepted: 1 to 8"),
            ({"metric": ["frequency_hz"] * 2}, "metric", "given 2 times"),
            ({"metric": "frequency"}, "metric", "'frequency', accepted: absorbable_energy_kwh, battery/power_kw, "),
            ({"metric": "battery/rated_kw"}, "metric", "accepted: "),
            ({"metric": "genset/power_kw"}, "metric", "accepted: "),
            ({"from": "yesterday"}, "from", "accepted: an ISO 8601 instant with its offset"),
            ({"from": "2026-03-01T12:00:00"}, "from", "with its offset"),
            ({"from": "0001-01-01T00:00:00+12:00"}, "from", "from 2000 on"),
            ({"to": "9999-12-31T23:59:59-12:00"}, "to", "accepted: "),
            ({"from": at(3)}, "from", "accepted: before to"),
            ({"resolution": "5min"}, "resolution", "'5min', accepted: auto, 1s, 1min, 15min"),
            ({"from": at(-86_400), "resolution": "1s"}, "from", "86403 steps of 1s, accepted: up to 4000 (1.111 h)"),
            ({"figure": "median"}, "figure", "accepted: mean, low, high, count"),
            ({"color": "red"}, "color", "is not known, accepted: figure, from, metric, resolution, to"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_served_is_named_with_what_is_accepted(
        self, site: Site, change: dict[str, object], field: str, says: str
    ) -> None:
        asked: dict[str, object] = {"metric": "frequency_hz", "from": at(0), "to": at(3)}
        answer = browser("dispatcher").get(ADDRESS, asked | change)
        assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (400, "parameter_invalid", field)
        assert says in answer.json()["detail"]
