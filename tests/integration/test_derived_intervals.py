"""Registers of a gateway that is not ours: kept, made into intervals, and settled on only where a class is declared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from support.carbon_book import MINUTE, a_site

from carbon.meters import fleet_meters
from markets.evidence import site_evidence
from sites.core.intervals import Interval
from sites.metering.batches import Batch
from sites.metering.derived import Made, derive_intervals
from sites.metering.models import MeterInterval, Reading, RegisterBase, StreamMark
from sites.metering.operations import store_batch
from sites.metering.sorting import Arrival, Sorter
from sites.registry.operations import map_gateway
from sites.registry.queries import site_directory
from sites.wire.host_session import HostSession
from sites.wire.metrics import MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.topics import device_topic, node_topic, partition_of

pytestmark = pytest.mark.django_db
SITE = "plant-7"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES: list[dict[str, Any]] = [
    {"device": "METER", "metric": "imp", "asset": "pcc", "as": "register_into_kwh", "unit": "Wh"},
    {"device": "METER", "metric": "exp", "asset": "pcc", "as": "register_from_kwh", "unit": "Wh"},
]


class Gateway:
    """Its messages through the host's session, the sorter and the database."""

    def __init__(self, rules: list[dict[str, Any]]) -> None:
        map_gateway(name="acme", rules=rules, site_ids=[SITE])
        self.host, self.seq = HostSession(100_000, 60.0), 0
        self.learn()
        self.say("NBIRTH", None, NOW, Metric("bdSeq", type=MetricType.UINT64, value=1))
        births = [Metric(name, alias, MetricType.INT64, None) for name, alias in (("imp", 1), ("exp", 2), ("other", 3))]
        self.say("DBIRTH", "METER", NOW, *births)

    def learn(self) -> None:
        directory = site_directory(partitions=[partition_of(SITE)])
        self.sorter = Sorter(directory, 60.0)
        self.host.use_gateways({name: keys.gateway for name, keys in directory.items() if keys.gateway is not None})

    def say(self, kind: str, device: str | None, at: datetime, *metrics: Metric) -> None:
        topic = node_topic(kind, SITE) if device is None else device_topic(kind, SITE, device)
        payload = encode_payload(Payload(round(at.timestamp() * 1000), self.seq, list(metrics)))
        self.seq += 1
        batch = Batch()
        for event in self.host.receive(topic, payload, round(at.timestamp() * 1000)):
            if hasattr(event, "values"):
                self.sorter.add(Arrival(event, topic, payload, at, batch))
        assert batch.refusals == []
        store_batch(batch=batch, states={}, at=at)

    def read(self, second: int, imp_wh: int, exp_wh: int = 0) -> None:
        registers = (
            Metric(alias=1, type=MetricType.INT64, value=imp_wh),
            Metric(alias=2, type=MetricType.INT64, value=exp_wh),
        )
        self.say("DDATA", "METER", NOW + timedelta(seconds=second), *registers)


def after(second: int) -> datetime:
    return NOW + timedelta(seconds=second)


def the_intervals() -> list[tuple[int, int, int, int, str, str]]:
    rows = MeterInterval.objects.filter(asset__name="pcc").order_by("number")
    return [
        (
            row.number, round((row.ends_at - NOW).total_seconds()), row.into_bus_uwh // 10**6,
            row.from_bus_uwh // 10**6, row.quality, row.time_quality,
        )
        for row in rows
    ]  # fmt: skip


@pytest.fixture
def site() -> None:
    made = a_site(SITE, genset=False)
    made.partition = partition_of(SITE)
    made.save()


@pytest.mark.usefixtures("site")
class TestMaking:
    def test_minutes_are_made_once_and_numbered_and_add_up(self) -> None:
        gateway = Gateway(RULES)
        for second in range(0, 301, 20):
            gateway.read(second, 1_000_000 + 10 * second, 5 * (second // 60))
        assert derive_intervals(at=after(300)) == Made(3, 0)
        assert derive_intervals(at=after(300)) == Made(0, 0)
        assert derive_intervals(at=after(390)) == Made(2, 0)
        assert the_intervals() == [
            (n, 60 * n, 600, 5, "unproven", "sampled") for n in range(1, 6)
        ]  # fmt: skip
        last = MeterInterval.objects.get(number=5)
        assert (last.register_into_uwh, last.register_from_uwh) == (1_003_000 * 10**6, 25 * 10**6)
        # Our own edge would number its rows behind these.
        assert StreamMark.objects.get(stream="pcc").stored_through == 5

    def test_the_command_that_rolls_up_makes_them(self) -> None:
        gateway = Gateway(RULES)
        for second in (0, 60, 120):
            gateway.read(second, second)
        out = StringIO()
        call_command("roll_up", stdout=out)
        # Long ago: all that was read within the last day, which is nothing here.
        assert "0 intervals from registers" in out.getvalue()

    def test_a_reading_that_is_late_moves_energy_to_the_next_interval_and_loses_none(self) -> None:
        gateway = Gateway(RULES)
        for second in (0, 60, 110, 180):
            gateway.read(second, 1_000 + second)
        assert derive_intervals(at=after(270)).intervals == 3
        gateway.read(119, 1_119)
        gateway.read(240, 1_240)
        derive_intervals(at=after(400))
        assert [row[:3] for row in the_intervals()] == [(1, 60, 60), (2, 120, 50), (3, 180, 70), (4, 240, 60)]

    def test_another_register_is_not_taken_for_the_same_meter(self) -> None:
        gateway = Gateway(RULES)
        for second in (0, 60, 120):
            gateway.read(second, 1_000 + second)
        assert derive_intervals(at=after(240)) == Made(2, 0)
        map_gateway(name="acme", rules=[RULES[0] | {"metric": "other"}, RULES[1]], site_ids=[SITE])
        assert derive_intervals(at=after(300)) == Made(0, 1)
        assert RegisterBase.objects.get().into_uwh is None
        # What came by the older rules until they were read everywhere.
        gateway.read(310, 1_310)
        gateway.learn()
        gateway.say("NBIRTH", None, after(370), Metric("bdSeq", type=MetricType.UINT64, value=2))
        gateway.say("DBIRTH", "METER", after(370), Metric("other", 1, MetricType.INT64, 1_400),
                    Metric("exp", 2, MetricType.INT64, 0))  # fmt: skip
        gateway.read(430, 1_430)
        assert derive_intervals(at=after(600)) == Made(1, 0)
        assert the_intervals()[-1][:3] == (3, 480, 30)

    def test_what_no_nameplate_allows_is_a_hole(self) -> None:
        gateway = Gateway(RULES)
        # The PCC is rated 100 kW: 3.3 kWh a minute at twice that.
        for second, wh in ((0, 0), (60, 3_000), (120, 7_000), (180, 8_000)):
            gateway.read(second, wh)
        assert derive_intervals(at=after(300)) == Made(2, 1)
        assert [row[1:3] for row in the_intervals()] == [(60, 3_000), (180, 1_000)]

    def test_a_site_without_rules_for_registers_is_left_alone(self) -> None:
        Gateway([])
        assert derive_intervals(at=after(300)) == Made(0, 0)
        assert RegisterBase.objects.count() == 0


@pytest.mark.usefixtures("site")
class TestSettling:
    def meters(self, rules: list[dict[str, Any]]) -> Any:
        gateway = Gateway(rules)
        for second in range(0, 241, 60):
            gateway.read(second, 1_000 + second, 0)
        derive_intervals(at=after(400))
        assert Reading.objects.filter(asset="pcc").count() == 5
        (meters,) = fleet_meters(period=Interval(NOW, NOW + 4 * MINUTE), site_ids=[SITE]).sites
        return meters

    def test_without_a_declared_class_the_carbon_book_sees_a_hole(self) -> None:
        meters = self.meters(RULES)
        assert [(hole.asset, hole.period.duration_s) for hole in meters.holes if hole.asset == "pcc"] == [
            ("pcc", 240.0)
        ]
        assert the_intervals()[0][4] == "unproven"

    def test_with_a_class_for_each_register_it_counts(self) -> None:
        meters = self.meters([rule | {"meter_class": "B"} for rule in RULES])
        assert [hole for hole in meters.holes if hole.asset == "pcc"] == []
        assert sum(step.flows["pcc"].into_uwh for step in meters.steps) == 240 * 10**6
        assert the_intervals()[0][4:] == ("derived", "sampled")

    def test_a_class_for_one_of_two_registers_proves_neither(self) -> None:
        self.meters([RULES[0] | {"meter_class": "B"}, RULES[1]])
        assert the_intervals()[0][4] == "unproven"

    def test_no_service_is_settled_on_an_unproven_battery(self) -> None:
        battery = [rule | {"asset": "battery"} for rule in RULES]
        for rules, count in ((battery, 0), ([rule | {"meter_class": "1"} for rule in battery], 1)):
            MeterInterval.objects.all().delete()
            RegisterBase.objects.all().delete()
            Reading.objects.all().delete()
            gateway = Gateway(rules)
            gateway.read(0, 0)
            gateway.read(60, 100)
            derive_intervals(at=after(400))
            assert MeterInterval.objects.count() == 1
            found = site_evidence(site_id=SITE, window=Interval(NOW, NOW + MINUTE), dispatch_id="DC-1")
            assert len(found.intervals) == count
            # Nobody at the site tells service from own use: there is none to be paid.
            assert (found.service_into_uwh, found.service_from_uwh) == (0, 0)
