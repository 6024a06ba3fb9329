"""Sorting wire events into a batch: rows, refusals, bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.core.management.base import CommandError

from sites.metering import batches
from sites.metering.batches import Batch, LiveRow, split
from sites.metering.management.processes import parse_partitions
from sites.metering.sorting import Arrival, Sorter
from sites.metering.streams import IntervalItem, RecordItem, WaveformItem
from sites.registry.queries import SiteKeys
from sites.wire.host_events import DeviceBorn, DeviceData, NodeData
from sites.wire.judging import MetricValue
from sites.wire.records import pack_samples

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)
US = MS * 1000


def sorted_in(
    values: dict[str, Any],
    *,
    device: str = "",
    site_id: str = "s1",
    at_ms: int = MS,
    is_historical: bool = False,
    sorter: Sorter | None = None,
    born: bool = False,
    is_ahead: bool = False,
) -> tuple[Batch, Sorter]:
    """Return the batch that one event's values end in."""
    sorter = sorter or Sorter(directory={"s1": SiteKeys(7, {"battery": 70, "genset": 71}, 3)}, max_clock_ahead_s=60.0)
    metrics = {name: MetricValue(value, at_ms, is_historical) for name, value in values.items()}
    event: Any = NodeData(site_id, metrics, at_ms)
    if device:
        event = (DeviceBorn if born else DeviceData)(site_id, device, metrics, at_ms)
    batch = Batch()
    sorter.add(Arrival(event, "topic", b"payload", AT, batch, is_ahead))
    return batch, sorter


def interval(**changes: Any) -> dict[str, Any]:
    fields = {
        "number": 3, "starts_at": MS - 60_000, "ends_at": MS, "into_bus_uwh": 5, "from_bus_uwh": 6,
        "service_into_uwh": 7, "service_from_uwh": 9, "served": ["DC-2", "DC-1"], "served_into_uwh": [3, 4],
        "served_from_uwh": [9, 0], "time_quality": "unsynchronized", "fuel_ul": 0,
        "register_into_uwh": 50, "register_from_uwh": 60, "quality": "good",
    } | changes  # fmt: skip
    return {f"interval/{name}": value for name, value in fields.items() if value is not None}


def record(**changes: Any) -> dict[str, Any]:
    samples = pack_samples(np.zeros((1_000, 2), dtype=np.float32))
    fields = {"number": 1, "starts_at": MS - 10_000, "rate_hz": 100.0, "columns": "a,b", "samples": samples} | changes
    return {f"record/{name}": value for name, value in fields.items()}


class TestLive:
    def test_numbers_become_readings_and_live_values(self) -> None:
        batch, sorter = sorted_in({"frequency_hz": 49.9, "mode": "grid_tied"})
        assert batch.readings == [(7, "", ("frequency_hz",), MS, MS, (49.9,))]
        assert batch.due == {(3, MS // 60_000)}
        assert sorter.live[7].values == {"frequency_hz": 49.9, "mode": "grid_tied"}
        assert batch.live[7].site_id == "s1"

    def test_an_assets_values_go_to_its_columns(self) -> None:
        sorter = sorted_in({"power_kw": 4.0, "soc_ratio": 0.5}, device="battery")[1]
        batch, _ = sorted_in({"power_kw": 0.0, "running": False}, device="genset", sorter=sorter)
        assert sorter.live[7].values == {
            "battery_kw": 4.0, "soc_ratio": 0.5, "genset_kw": 0.0, "genset_running": False,
        }  # fmt: skip
        assert batch.readings == [(7, "genset", ("power_kw", "running"), MS, MS, (0.0, 0.0))]

    def test_historical_values_are_stored_but_do_not_show_as_live(self) -> None:
        batch, sorter = sorted_in({"frequency_hz": 49.9}, is_historical=True)
        assert len(batch.readings) == 1
        assert sorter.live == {}

    def test_a_late_message_does_not_put_old_values_over_new_ones(self) -> None:
        sorter = sorted_in({"frequency_hz": 50.0})[1]
        batch, _ = sorted_in({"frequency_hz": 49.0}, at_ms=MS - 5_000, sorter=sorter)
        assert sorter.live[7].values["frequency_hz"] == 50.0
        assert batch.live == {}
        assert len(batch.readings) == 1

    def test_an_unknown_value_is_shown_as_unknown(self) -> None:
        batch, sorter = sorted_in({"frequency_hz": None})
        assert batch.readings == []
        assert sorter.live[7].values == {"frequency_hz": None}

    def test_the_nameplate_in_a_birth_is_not_a_reading(self) -> None:
        batch, _ = sorted_in({"power_kw": 1.0, "rated_kw": 50.0}, device="battery", born=True)
        assert [row[2] for row in batch.readings] == [("power_kw",)]
        assert not batch.counts

    def test_the_control_device_is_the_dispatchers(self) -> None:
        assert sorted_in({"reported/state": "armed"}, device="control")[0].is_empty

    @pytest.mark.parametrize(
        ("values", "device", "site_id", "at_ms", "error"),
        [
            ({"frequency_hz": 50.0}, "", "s2", MS, "site_unknown"),
            ({"power_kw": 1.0}, "charger", "s1", MS, "asset_unknown"),
            ({"color": 1.0}, "", "s1", MS, "metric_unknown"),
            ({"frequency_hz": "x"}, "", "s1", MS, "metric_type_mismatch"),
            ({"frequency_hz": float("inf")}, "", "s1", MS, "value_out_of_range"),
            ({"mode": "dancing"}, "", "s1", MS, "value_out_of_range"),
            ({"frequency_hz": 50.0}, "", "s1", MS + 60_001, "timestamp_in_future"),
            ({"frequency_hz": 50.0}, "", "s1", 0, "value_out_of_range"),
            ({"frequency_hz": 50.0}, "", "s1", 2**62, "value_out_of_range"),
        ],
    )
    def test_what_cannot_be_stored_is_refused_by_name(self, values, device, site_id, at_ms, error) -> None:
        batch, _ = sorted_in(values, device=device, site_id=site_id, at_ms=at_ms)
        assert dict(batch.counts) == {error: 1}
        assert batch.readings == []
        assert batch.refusals[0].payload == b"payload"

    def test_a_faulty_value_is_refused_alone(self) -> None:
        batch, _ = sorted_in({"color": 1.0, "frequency_hz": 50.0})
        assert [row[2] for row in batch.readings] == [("frequency_hz",)]

    def test_an_unknown_site_makes_the_worker_look_into_the_registry_again(self) -> None:
        assert sorted_in({"frequency_hz": 50.0}, site_id="s2")[1].unknown_seen


class TestNumbered:
    def test_an_interval_becomes_an_item(self) -> None:
        batch, _ = sorted_in(interval(), device="battery", is_historical=True)
        (item,) = batch.numbered
        assert isinstance(item, IntervalItem)
        assert (item.asset_pk, item.stream, item.number, item.is_historical) == (70, "battery", 3, True)
        assert (item.service_into_uwh, item.service_from_uwh) == (7, 9)
        assert item.services == (("DC-1", 4, 0), ("DC-2", 3, 9))
        assert item.time_quality == "unsynchronized"
        assert (item.starts_at, item.ends_at) == (AT - timedelta(minutes=1), AT)

    @pytest.mark.parametrize(
        "changes",
        [
            {"ends_at": MS - 60_000},
            {"ends_at": MS - 60_001},
            {"starts_at": MS - 31 * 86_400_000 - 1},
            {"into_bus_uwh": -1},
            {"from_bus_uwh": None},
            {"register_into_uwh": 2**63},
            # A minute at 100 MW holds 1,667 kWh.
            {"into_bus_uwh": 1_667 * 10**9},
            # While a clock catches up it may hold twelve of them.
            {"into_bus_uwh": 20_001 * 10**9, "time_quality": "stepped"},
            {"service_into_uwh": -1},
            {"service_from_uwh": 1_667 * 10**9},
            {"service_uwh": -(2**62)},
            {"served": ["DC-1"]},
            {"served": ["DC-1", "DC-1"]},
            {"served": ["DC-1", ""]},
            {"served": ["DC-1", "D\n"]},
            {"served_into_uwh": [3, 400]},
            {"served_from_uwh": [-1, 9]},
            {"served": [f"DC-{n}" for n in range(17)], "served_into_uwh": [0] * 17, "served_from_uwh": [0] * 17},
            {"fuel_ul": 2_000 * 10**6},
            {"fuel_ul": 1.5},
            {"quality": "fine"},
            {"starts_at": 0},
        ],
    )
    def test_content_that_can_never_be_accepted_settles_its_number(self, changes: dict[str, Any]) -> None:
        batch, _ = sorted_in(interval(**changes), device="battery")
        assert dict(batch.counts) == {"interval_invalid": 1}
        assert batch.refused_numbers == {(7, "battery", 3): "interval_invalid"}
        assert batch.numbered == []

    @pytest.mark.parametrize(
        "changes",
        [
            # 50 MW for ten minutes, in the minute in which a clock that was set back caught up.
            {"into_bus_uwh": 8_334 * 10**9, "time_quality": "stepped"},
            # An uplink that was away for a month.
            {"starts_at": MS - 31 * 86_400_000, "into_bus_uwh": 10**15, "quality": "questionable"},
        ],
    )
    def test_what_is_unusual_and_measured_is_taken(self, changes: dict[str, Any]) -> None:
        batch, _ = sorted_in(interval(**changes), device="battery", is_historical=True)
        assert (len(batch.numbered), batch.refused_numbers) == (1, {})

    @pytest.mark.parametrize(("net", "ways"), [(-7, (0, 7)), (5, (5, 0)), (0, (0, 0))])
    def test_a_site_of_version_1_tells_the_net_of_its_service(self, net: int, ways: tuple[int, int]) -> None:
        former = dict.fromkeys(("service_into_uwh", "service_from_uwh", "served", "served_into_uwh", "served_from_uwh"))
        batch, _ = sorted_in(interval(**former, service_uwh=net, time_quality=None), device="battery")
        (item,) = batch.numbered
        assert isinstance(item, IntervalItem)
        assert (item.service_into_uwh, item.service_from_uwh, item.services) == (*ways, ())
        assert item.time_quality == "unknown"

    @pytest.mark.parametrize(
        ("late_s", "is_historical", "told"),
        [(0, False, "synchronized"), (29, False, "synchronized"), (31, False, "disputed"), (-3, False, "disputed"),
         (10_000, True, "synchronized")],
    )  # fmt: skip
    def test_an_interval_that_comes_as_it_happens_shows_a_wrong_clock(
        self, late_s: int, is_historical: bool, told: str
    ) -> None:
        ends_ms = MS - late_s * 1000
        changes = {"starts_at": ends_ms - 60_000, "ends_at": ends_ms, "time_quality": "synchronized"}
        batch, _ = sorted_in(interval(**changes), device="battery", is_historical=is_historical)
        (item,) = batch.numbered
        assert isinstance(item, IntervalItem)
        assert (item.time_quality, item.received_at) == (told, AT)

    @pytest.mark.parametrize("changes", [{"number": 0}, {"number": None}, {"number": 2**53 + 1}, {"number": True}])
    def test_without_its_number_nothing_is_settled(self, changes: dict[str, Any]) -> None:
        batch, _ = sorted_in(interval(**changes), device="battery")
        assert dict(batch.counts) == {"interval_invalid": 1}
        assert batch.refused_numbers == {}

    def test_an_interval_of_the_future_may_come_again(self) -> None:
        batch, _ = sorted_in(interval(starts_at=MS + 61_000, ends_at=MS + 121_000), device="battery")
        assert dict(batch.counts) == {"timestamp_in_future": 1}
        assert batch.refused_numbers == {}

    def test_fields_that_the_wire_left_out_for_the_future_do_not_settle_the_number(self) -> None:
        batch, _ = sorted_in(interval(starts_at=None), device="battery", is_ahead=True)
        assert batch.is_empty

    def test_a_record_ends_after_its_rows(self) -> None:
        batch, _ = sorted_in(record())
        (item,) = batch.numbered
        assert isinstance(item, RecordItem)
        assert (item.starts_at, item.ends_at, item.columns) == (AT - timedelta(seconds=10), AT, ("a", "b"))

    @pytest.mark.parametrize(
        "changes",
        [{"samples": b"junk"}, {"samples": pack_samples(np.zeros((0, 2)))}, {"columns": "a,a"}, {"columns": "a,b,c"},
         {"rate_hz": 0.0}, {"rate_hz": float("nan")}],
    )  # fmt: skip
    def test_a_record_that_does_not_unpack_is_refused(self, changes: dict[str, Any]) -> None:
        assert dict(sorted_in(record(**changes))[0].counts) == {"record_invalid": 1}

    def test_a_waveform_keeps_its_microseconds(self) -> None:
        values = {
            "number": 1, "starts_at_us": US - 99_999, "trigger_at_us": US - 1, "rate_hz": 10_000.0, "cause": "loss",
            "columns": "va_pu", "samples": pack_samples(np.zeros((10, 1))), "starts_at": 0, "trigger_at": 0,
        }  # fmt: skip
        (item,) = sorted_in({f"waveform/{name}": value for name, value in values.items()})[0].numbered
        assert isinstance(item, WaveformItem)
        assert AT - item.trigger_at == timedelta(microseconds=1)
        assert AT - item.starts_at == timedelta(microseconds=99_999)

    @pytest.mark.parametrize(("values", "device"), [(interval(), ""), (record(), "battery")])
    def test_a_stream_in_the_wrong_place_is_refused(self, values: dict[str, Any], device: str) -> None:
        batch, _ = sorted_in(values, device=device)
        assert dict(batch.counts) == {"metric_unknown": 1}
        assert batch.refused_numbers == {}


class TestBounds:
    def test_the_oldest_readings_are_dropped_first_and_counted(self, monkeypatch) -> None:
        monkeypatch.setattr(batches, "MAX_READINGS", 3)
        batch = Batch()
        batch.take_readings([(1, "", ("m",), MS, MS, (float(value),)) for value in range(5)])
        assert [row[5] for row in batch.readings] == [(2.0,), (3.0,), (4.0,)]
        assert batch.counts["reading_dropped"] == 2

    def test_numbered_data_beyond_the_bound_stays_with_its_site(self, monkeypatch) -> None:
        monkeypatch.setattr(batches, "MAX_NUMBERED", 1)
        batch, _ = sorted_in(interval(), device="battery")
        assert len(batch.numbered) == 1
        (item,) = batch.numbered
        batch.take_numbered(item)
        assert len(batch.numbered) == 1
        assert batch.counts["numbered_deferred"] == 1

    def test_a_sealed_batch_does_not_change_with_the_live_values(self) -> None:
        batch, sorter = sorted_in({"frequency_hz": 50.0})
        sealed = batch.sealed()
        sorted_in({"frequency_hz": 49.0}, sorter=sorter)
        assert sealed.live[7].values == {"frequency_hz": 50.0}

    def test_splitting_ends_at_single_rows_and_loses_none(self) -> None:
        batch = Batch(
            readings=[(1, "", ("m",), MS, MS, (float(value),)) for value in range(5)],
            live={pk: LiveRow("s", AT, AT) for pk in range(3)},
            refused_numbers={(1, "battery", number): "interval_invalid" for number in range(2)},
        )
        batch.refuse(error="x", topic="", detail="", payload=b"", received_at=AT)
        pending, single = [batch], []
        while pending:
            parts = split(part := pending.pop())
            if parts is None:
                single.append(part)
            else:
                pending += parts
        assert sum(len(part.readings) for part in single) == 5
        assert sum(len(part.live) for part in single) == 3
        assert sum(len(part.refused_numbers) for part in single) == 2
        assert sum(len(part.refusals) for part in single) == 1
        assert sum(part.counts["x"] for part in single) == 1


def test_partitions_are_read_as_ranges() -> None:
    assert parse_partitions("0-2, 5,63") == (0, 1, 2, 5, 63)


@pytest.mark.parametrize("text", ["", "64", "3-1", "a", "-1", "0-64"])
def test_partitions_out_of_range_are_named(text: str) -> None:
    with pytest.raises(CommandError, match=r"accepted: numbers and ranges within 0-63"):
        parse_partitions(text)
