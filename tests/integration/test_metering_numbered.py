"""Storing numbered streams: what a batch leaves in the tables."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.manifests import a_manifest
from support.meters import START, START_MS, a_batch, a_record, an_interval

from sites.core.intervals import Interval
from sites.metering import audit, marks, operations, queries
from sites.metering.batches import MAX_KEPT_REFUSALS, Batch
from sites.metering.models import (
    HighRateRecord,
    LiveState,
    MeterInterval,
    Reading,
    RefusalCount,
    RefusedMessage,
    RefusedNumber,
    StreamMark,
)
from sites.metering.numbered import StreamState
from sites.registry.models import Asset, Site
from sites.registry.operations import enrol_sites

pytestmark = pytest.mark.django_db


@pytest.fixture
def battery() -> Asset:
    enrol_sites(manifest=a_manifest(2), program="neso-dc-low", at=START)
    return Asset.objects.get(site__site_id="site-0001", name="battery")


class Worker:
    """A worker's memory of its streams."""

    def __init__(self) -> None:
        self.states: dict = {}

    def store(self, batch: Batch) -> operations.Stored:
        stored = operations.store_batch(batch=batch, states=self.states, at=timezone.now())
        self.states |= stored.states
        return stored


def mark_of(asset: Asset) -> int:
    mark = StreamMark.objects.filter(site=asset.site, stream=asset.name).first()
    return mark.stored_through if mark else 0


class TestNumbers:
    def test_numbers_without_a_hole_move_the_mark(self, battery: Asset) -> None:
        Worker().store(a_batch(*(an_interval(battery, number) for number in (1, 2, 3))))
        assert mark_of(battery) == 3

    def test_the_mark_stops_before_a_hole_and_jumps_when_it_is_filled(self, battery: Asset) -> None:
        worker = Worker()
        worker.store(a_batch(*(an_interval(battery, number) for number in (1, 2, 4, 5))))
        assert mark_of(battery) == 2
        worker.store(a_batch(an_interval(battery, 3)))
        assert mark_of(battery) == 5

    def test_a_restarted_worker_fills_the_hole_from_the_tables(self, battery: Asset) -> None:
        Worker().store(a_batch(*(an_interval(battery, number) for number in (1, 3, 4))))
        Worker().store(a_batch(an_interval(battery, 2)))
        assert mark_of(battery) == 4

    def test_a_stream_that_starts_above_one_has_mark_zero(self, battery: Asset) -> None:
        stored = Worker().store(a_batch(an_interval(battery, 7)))
        assert stored.states[battery.site_id, "battery"].stored_through == 0

    def test_repeats_change_nothing_and_are_told_again(self, battery: Asset) -> None:
        worker = Worker()
        worker.store(a_batch(an_interval(battery, 1)))
        stored = worker.store(a_batch(an_interval(battery, 1), an_interval(battery, 1)))
        assert (stored.numbered, stored.repeated) == (0, 2)
        assert stored.states[battery.site_id, "battery"].stored_through == 1
        assert MeterInterval.objects.count() == 1
        assert not RefusalCount.objects.exists()

    def test_other_content_under_one_number_is_a_revision_and_counted(self, battery: Asset) -> None:
        worker = Worker()
        worker.store(a_batch(an_interval(battery, 1)))
        worker.store(a_batch(an_interval(battery, 1, into_bus_uwh=999)))
        worker.store(a_batch(an_interval(battery, 1)))
        rows = MeterInterval.objects.order_by("revision").values_list("revision", "into_bus_uwh")
        assert list(rows) == [(0, 1_000), (1, 999)]
        assert queries.refusals().counts == {"number_revised": 1}

    def test_the_latest_revision_is_the_one_that_counts(self, battery: Asset) -> None:
        worker = Worker()
        worker.store(a_batch(an_interval(battery, 1), an_interval(battery, 2)))
        worker.store(a_batch(an_interval(battery, 1, into_bus_uwh=400)))
        (energy,) = queries.interval_energy(period=Interval(START, START + timedelta(hours=1)))
        assert (energy.into_bus_uwh, energy.intervals) == (1_400, 2)

    def test_revisions_of_one_number_are_bounded(self, battery: Asset) -> None:
        worker = Worker()
        for value in range(20):
            worker.store(a_batch(an_interval(battery, 1, into_bus_uwh=value)))
        assert MeterInterval.objects.count() == 16
        assert queries.refusals().counts["revision_limit"] == 4

    def test_a_register_that_runs_backward_makes_the_interval_questionable(self, battery: Asset) -> None:
        Worker().store(a_batch(an_interval(battery, 1), an_interval(battery, 2, register_into_uwh=999)))
        assert list(MeterInterval.objects.order_by("number").values_list("quality", flat=True)) == [
            "good",
            "questionable",
        ]

    def test_a_backward_register_is_seen_after_a_restart_too(self, battery: Asset) -> None:
        Worker().store(a_batch(an_interval(battery, 1)))
        Worker().store(a_batch(an_interval(battery, 2, register_into_uwh=999)))
        assert MeterInterval.objects.get(number=2).quality == "questionable"

    def test_a_worker_starts_with_what_it_would_have_looked_up(
        self, battery: Asset, django_assert_num_queries: Any
    ) -> None:
        other = Asset.objects.get(site__site_id="site-0002", name="battery")
        worker = Worker()
        worker.store(a_batch(*(an_interval(battery, number) for number in (1, 2))))
        worker.store(
            a_batch(
                an_interval(battery, 2, register_into_uwh=2_500),
                a_record(battery.site, 2, np.ones((5, 2)), starts_at=START),
            )
        )
        worker.store(a_batch(*(an_interval(other, number) for number in (1, 3))))
        with django_assert_num_queries(3):
            states = marks.stream_states(partitions=range(64))
        assert states[battery.site_id, "battery"] == StreamState(2, has_above=False, last=(2, 2_500, 0))
        assert states[battery.site_id, "record"] == StreamState(0, has_above=True)
        assert states[battery.site_id, "waveform"] == StreamState(0, has_above=False)
        assert states[other.site_id, "battery"] == StreamState(1, has_above=True)
        assert marks.stream_states(partitions=set(range(64)) - {battery.site.partition}).keys() >= {
            (other.site_id, "pcc")
        }

    def test_the_first_batch_of_such_a_worker_asks_nothing_more_of_streams_without_a_hole(
        self, battery: Asset, django_assert_max_num_queries: Any
    ) -> None:
        batteries = list(Asset.objects.filter(name="battery"))
        Worker().store(a_batch(*(an_interval(asset, 1) for asset in batteries)))
        worker = Worker()
        worker.states = marks.stream_states(partitions=range(64))
        # Savepoint and its end, the rows, the marks.
        with django_assert_max_num_queries(5):
            worker.store(a_batch(*(an_interval(asset, 2) for asset in batteries)))
        assert [mark_of(asset) for asset in batteries] == [2, 2]

    def test_a_register_that_runs_backward_is_seen_by_a_worker_that_starts(self, battery: Asset) -> None:
        Worker().store(a_batch(an_interval(battery, 1, register_into_uwh=5_000)))
        worker = Worker()
        worker.states = marks.stream_states(partitions=range(64))
        worker.store(a_batch(an_interval(battery, 2, register_into_uwh=4_999)))
        assert MeterInterval.objects.get(number=2).quality == "questionable"

    def test_a_number_refused_for_good_does_not_hold_the_stream(self, battery: Asset) -> None:
        batch = a_batch(an_interval(battery, 1), an_interval(battery, 3))
        batch.refused_numbers[battery.site_id, "battery", 2] = "interval_invalid"
        Worker().store(batch)
        assert mark_of(battery) == 3
        assert RefusedNumber.objects.get().number == 2
        assert [(gap.first, gap.last, gap.reason) for gap in audit.gaps()] == [(2, 2, "interval_invalid")]

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        order=st.permutations(list(range(1, 13))),
        cuts=st.lists(st.integers(0, 12), max_size=4),
        restarts=st.lists(st.booleans(), min_size=6, max_size=6),
        seed=st.integers(0, 1_000),
    )
    def test_any_order_repeats_and_restarts_end_the_same(
        self, battery: Asset, order: list[int], cuts: list[int], restarts: list[bool], seed: int
    ) -> None:
        MeterInterval.objects.all().delete()
        StreamMark.objects.all().delete()
        worker, rng = Worker(), random.Random(seed)
        bounds = [0, *sorted(cuts), len(order)]
        for index, (start, end) in enumerate(pairwise(bounds)):
            numbers = order[start:end] + rng.sample(order[:end], min(end, 3))
            worker.store(a_batch(*(an_interval(battery, number) for number in numbers)))
            seen = set(order[:end])
            expected = next(number for number in range(14) if number + 1 not in seen)
            assert mark_of(battery) == expected
            if restarts[index]:
                worker = Worker()
                worker.states = marks.stream_states(partitions=range(64))
        assert list(MeterInterval.objects.order_by("number").values_list("number", "revision")) == [
            (number, 0) for number in range(1, 13)
        ]
        assert mark_of(battery) == 12


class TestOtherRows:
    def test_records_come_back_as_one_array_with_absolute_times(self, battery: Asset) -> None:
        site = battery.site
        first = np.arange(2_000, dtype=np.float32).reshape(1_000, 2)
        worker = Worker()
        worker.store(a_batch(a_record(site, 2, first[500:], starts_at=START + timedelta(seconds=5))))
        worker.store(a_batch(a_record(site, 1, first[:500], starts_at=START)))
        period = Interval(START + timedelta(seconds=1), START + timedelta(seconds=9))
        (record,) = queries.records_of(period=period)
        assert np.array_equal(record.samples, first[100:900])
        assert record.at_us[0] == queries.us_of(period.starts_at)
        assert set(np.diff(record.at_us)) == {10_000}
        assert record.column("battery_kw")[0] == 201.0

    def test_a_record_with_other_samples_is_a_revision(self, battery: Asset) -> None:
        worker = Worker()
        for value in (1.0, 1.0, 2.0):
            worker.store(a_batch(a_record(battery.site, 1, np.full((10, 2), value), starts_at=START)))
        assert list(HighRateRecord.objects.order_by("revision").values_list("revision", flat=True)) == [0, 1]
        (record,) = queries.records_of(period=Interval(START, START + timedelta(seconds=1)))
        assert record.samples.max() == 2.0

    def test_a_reading_that_stands_already_stays(self, battery: Asset) -> None:
        reading = (battery.site_id, "", ("frequency_hz",), START_MS, START_MS, (50.0,))
        worker = Worker()
        worker.store(Batch(readings=[reading, reading]))
        worker.store(Batch(readings=[(*reading[:5], (49.0,))]))
        row = Reading.objects.get()
        assert (row.values, row.measured_at, row.shape.names) == ((50.0,), START, "frequency_hz")

    def test_a_flood_of_refusals_is_counted_but_kept_only_in_part(self, battery: Asset, monkeypatch) -> None:
        monkeypatch.setattr(operations, "KEPT_REFUSALS", 250)
        for _ in range(3):
            batch = Batch()
            for _ in range(1_000):
                batch.refuse(
                    error="payload_malformed", topic="t\x00", detail="d" * 999, payload=b"x" * 9_999, received_at=START
                )
            assert len(batch.refusals) == MAX_KEPT_REFUSALS
            Worker().store(batch)
        assert RefusedMessage.objects.count() <= 250
        assert queries.refusals().counts == {"payload_malformed": 3_000}
        row = RefusedMessage.objects.first()
        assert row is not None
        assert (row.size_bytes, len(row.payload), len(row.detail)) == (9_999, 4_096, 400)

    def test_a_failing_transaction_leaves_nothing_and_can_be_repeated(self, battery: Asset, monkeypatch) -> None:
        batch = a_batch(
            an_interval(battery, 1), readings=[(battery.site_id, "", ("frequency_hz",), START_MS, START_MS, (50.0,))]
        )
        worker = Worker()
        with monkeypatch.context() as broken:
            broken.setattr(operations, "_add_counts", lambda counts: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                worker.store(batch)
        assert not MeterInterval.objects.exists()
        assert not Reading.objects.exists()
        worker.store(batch)
        assert mark_of(battery) == 1


class TestAudit:
    def test_names_holes_at_the_start_and_inside(self, battery: Asset) -> None:
        Worker().store(a_batch(*(an_interval(battery, number) for number in (3, 4, 8))))
        assert [(gap.stream, gap.first, gap.last) for gap in audit.gaps()] == [("battery", 1, 2), ("battery", 5, 7)]

    def test_a_period_limits_the_holes(self, battery: Asset) -> None:
        Worker().store(a_batch(*(an_interval(battery, number) for number in (1, 3, 10))))
        period = Interval(START, START + timedelta(minutes=2))
        assert [(gap.first, gap.last) for gap in audit.gaps(period=period)] == [(2, 2)]

    def test_uncovered_time_is_told_for_every_enrolled_asset(self, battery: Asset) -> None:
        Worker().store(a_batch(an_interval(battery, 1), an_interval(battery, 3)))
        holes = audit.missing_intervals(period=Interval(START, START + timedelta(minutes=3)))
        mine = [hole for hole in holes if (hole.site_id, hole.asset) == ("site-0001", "battery")]
        assert [(hole.starts_at, hole.ends_at) for hole in mine] == [
            (START + timedelta(minutes=1), START + timedelta(minutes=2))
        ]
        assert len(holes) == 6

    def test_a_bus_that_adds_up_within_rounding_is_no_imbalance(self, battery: Asset) -> None:
        site = battery.site
        pcc, load = site.assets.get(name="pcc"), site.assets.get(name="load")
        items = [
            an_interval(battery, 1, into_bus_uwh=400),
            an_interval(pcc, 1, into_bus_uwh=605),
            an_interval(load, 1, into_bus_uwh=0, from_bus_uwh=1_000),
        ]
        worker = Worker()
        worker.store(a_batch(*items))
        period = Interval(START, START + timedelta(minutes=1))
        assert audit.conservation(period=period) == []
        worker.store(a_batch(an_interval(pcc, 1, into_bus_uwh=607)))
        (imbalance,) = audit.conservation(period=period)
        assert (imbalance.residual_uwh, imbalance.tolerance_uwh) == (7, 6)

    def test_sums_beyond_64_bits_are_exact_and_stop_nobody(self, battery: Asset) -> None:
        pcc = battery.site.assets.get(name="pcc")
        rows = [an_interval(battery, number, into_bus_uwh=2**62 + 1, service_from_uwh=2**62) for number in (1, 2, 3)]
        Worker().store(a_batch(*rows, an_interval(pcc, 1, into_bus_uwh=605)))
        period = Interval(START, START + timedelta(minutes=3))
        by_asset = {row.asset: row for row in queries.interval_energy(period=period)}
        assert by_asset["battery"].into_bus_uwh == 3 * (2**62 + 1)
        assert by_asset["battery"].service_from_uwh == 3 * 2**62
        assert by_asset["pcc"].into_bus_uwh == 605
        assert audit.conservation(period=period)[0].residual_uwh == 2**62 + 1 + 605

    def test_a_bus_with_an_asset_missing_is_an_imbalance(self, battery: Asset) -> None:
        Worker().store(a_batch(an_interval(battery, 1, into_bus_uwh=0)))
        (imbalance,) = audit.conservation(period=Interval(START, START + timedelta(minutes=1)))
        assert (imbalance.assets, imbalance.assets_enrolled) == (1, 3)

    def test_the_command_names_site_interval_and_what_is_off(self, battery: Asset, capsys) -> None:
        Worker().store(a_batch(an_interval(battery, 1, into_bus_uwh=400)))
        period = ("--from", START.isoformat(), "--to", (START + timedelta(minutes=1)).isoformat())
        with pytest.raises(SystemExit) as ended:
            call_command("audit_gaps", *period, "--energy")
        assert ended.value.code == 1
        told = capsys.readouterr().out
        assert f"{battery.site.site_id}: bus is off by 400 uWh from 2" in told
        assert "accepted: up to 2 uWh and 3 assets, found 1" in told

    def test_the_command_needs_a_period_for_energy(self) -> None:
        with pytest.raises(CommandError, match="--energy needs --from and --to"):
            call_command("audit_gaps", "--energy")

    def test_the_nightly_command_looks_at_whole_hours_that_are_over(self, battery: Asset, capsys, monkeypatch) -> None:
        Worker().store(a_batch(an_interval(battery, 1, into_bus_uwh=400)))
        later = START.replace(minute=0, second=0, microsecond=0) + timedelta(hours=2, minutes=5)
        monkeypatch.setattr("sites.metering.management.commands.audit_gaps.timezone.now", lambda: later)
        with pytest.raises(SystemExit):
            call_command("audit_gaps", "--energy", "--hours", "1")
        assert "bus is off by 400 uWh" in capsys.readouterr().out
        # An hour on, that one lies before the period; what is missing in the next one is told instead.
        monkeypatch.setattr(
            "sites.metering.management.commands.audit_gaps.timezone.now", lambda: later + timedelta(hours=1)
        )
        with pytest.raises(SystemExit):
            call_command("audit_gaps", "--energy", "--hours", "1")
        told = capsys.readouterr().out
        assert "bus is off" not in told
        assert "no interval from" in told

    @pytest.mark.parametrize(
        "words", [("--hours", "0"), ("--hours", "1", "--from", "2026-01-01T00:00Z", "--to", "2026-01-02T00:00Z")]
    )
    def test_hours_that_are_none_are_refused(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match="accepted"):
            call_command("audit_gaps", *words)


class TestLive:
    def envelope_row(self, site: Site, **values) -> LiveState:
        fields = {
            "measured_at": START, "received_at": START, "mode": "grid_tied", "discharge_kw": 10.0, "charge_kw": 8.0,
            "usable_energy_kwh": 5.0, "absorbable_energy_kwh": 4.0,
        }  # fmt: skip
        return LiveState.objects.create(site=site, **(fields | values))

    def envelopes(self, at=START) -> list[str]:
        return [e.site_id for e in queries.fleet_envelopes(at=at, fresh_within_s=10.0, program="neso-dc-low")]

    def test_a_fresh_site_of_the_program_has_an_envelope(self, battery: Asset) -> None:
        self.envelope_row(battery.site)
        (envelope,) = queries.fleet_envelopes(at=START, fresh_within_s=10.0, program="neso-dc-low")
        assert (envelope.discharge_kw, envelope.absorbable_energy_kwh) == (10.0, 4.0)
        assert queries.fleet_envelopes(at=START, fresh_within_s=10.0, program="other") == []

    def test_a_site_is_counted_on_for_no_more_than_its_enrolled_battery(self, battery: Asset) -> None:
        claimed = dict.fromkeys(("discharge_kw", "charge_kw", "usable_energy_kwh", "absorbable_energy_kwh"), 90_000.0)
        self.envelope_row(battery.site, **claimed)
        (envelope,) = queries.fleet_envelopes(at=START, fresh_within_s=10.0, program="neso-dc-low")
        assert (envelope.discharge_kw, envelope.charge_kw) == (100.0, 100.0)
        assert (envelope.usable_energy_kwh, envelope.absorbable_energy_kwh) == (100.0, 100.0)

    def test_an_old_row_is_not_counted_on(self, battery: Asset) -> None:
        self.envelope_row(battery.site)
        assert self.envelopes(START + timedelta(seconds=10)) == ["site-0001"]
        assert self.envelopes(START + timedelta(seconds=11)) == []

    @pytest.mark.parametrize("values", [{"mode": "islanded"}, {"discharge_kw": None}])
    def test_an_island_and_a_silent_controller_give_nothing(self, battery: Asset, values: dict) -> None:
        self.envelope_row(battery.site, **values)
        assert self.envelopes() == []
