"""Metering that was stored by an earlier version keeps its meaning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_the_net_of_a_service_becomes_one_way_and_comes_back() -> None:
    executor = MigrationExecutor(connection)
    latest = executor.loader.graph.leaf_nodes()
    # The registry too: what it requires of an asset today was not asked then.
    then = [("metering", "0002_readings_by_message"), ("registry", "0002_role_groups")]
    executor.migrate(then)
    before = executor.loader.project_state(then).apps
    site = before.get_model("registry", "Site").objects.create(
        site_id="s", name="s", grid_zone="GB", nominal_hz=50.0, nominal_voltage_v=230.0, partition=0, enrolled_at=START
    )
    asset = before.get_model("registry", "Asset").objects.create(site=site, name="battery", kind="battery", rated_kw=1)
    intervals = before.get_model("metering", "MeterInterval").objects
    for number, net in enumerate((7, -9, 0), 1):
        intervals.create(
            asset=asset, number=number, starts_at=START, ends_at=START + timedelta(minutes=1), into_bus_uwh=10,
            from_bus_uwh=10, service_uwh=net, register_into_uwh=0, register_from_uwh=0, received_at=START,
        )  # fmt: skip

    executor = MigrationExecutor(connection)
    executor.migrate([("metering", "0003_interval_service")])
    after = executor.loader.project_state([("metering", "0003_interval_service")]).apps
    rows = after.get_model("metering", "MeterInterval").objects.order_by("number")
    kept = rows.values_list("service_into_uwh", "service_from_uwh", "services", "time_quality")
    assert list(kept) == [(7, 0, [], "unknown"), (0, 9, [], "unknown"), (0, 0, [], "unknown")]

    executor = MigrationExecutor(connection)
    executor.migrate([("metering", "0002_readings_by_message")])
    assert list(intervals.order_by("number").values_list("service_uwh", flat=True)) == [7, -9, 0]
    intervals.all().delete()
    MigrationExecutor(connection).migrate(latest)
