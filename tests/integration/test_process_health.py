"""Every long-running process tells the truth about itself: its health fails when the broker or the database is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from support.brokers import Broker, nats_broker
from support.manifests import a_manifest
from support.platform_processes import Platform, a_platform, wait_until
from support.postgres import postgres_database
from support.watchers import asked, gone

PROCESSES = {"ingest": "run_ingest", "host": "run_host", "dispatch": "run_dispatch"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Broker, str]]:
    """A platform of three processes on PostgreSQL and NATS."""
    folder = tmp_path_factory.mktemp("health")
    with (
        postgres_database() as url,
        nats_broker() as broker,
        a_platform(folder, broker.url, url, VPP_LOG_FORMAT="json") as platform,
    ):
        platform.set_up(a_manifest(1))
        for command in PROCESSES.values():
            platform.start(command)
        all_well(platform)
        yield platform, broker, url


def all_well(platform: Platform) -> None:
    for process in PROCESSES:
        wait_until(lambda p=process: gone(platform.folder, p) == set(), 60.0, f"{process} is well")


@pytest.mark.postgres
def test_a_broker_that_goes_and_comes_back_is_told_by_every_process(servers) -> None:
    platform, broker, _ = servers
    broker.kill()
    for process in PROCESSES:
        wait_until(lambda p=process: gone(platform.folder, p) == {"broker"}, 30.0, f"{process} misses the broker")
    broker.start()
    all_well(platform)
    assert "vpp_mqtt_connects_total 2.0" in asked(platform.folder, "ingest", "/metrics")[1]
    lines = [json.loads(line) for line in platform.log_of("run_ingest").splitlines()]
    assert {line["process"] for line in lines} >= {"ingest"}
    assert "link.down" in {line["event"] for line in lines}


@pytest.mark.postgres
def test_a_database_that_is_gone_is_told_by_every_process(servers) -> None:
    platform, _, url = servers
    server, name = url.rsplit("/", 1)
    with psycopg.connect(f"{server}/template1", autocommit=True) as administrator:
        administrator.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        for process in PROCESSES:
            wait_until(lambda p=process: "database" in gone(platform.folder, p), 30.0, f"{process} misses the database")
        administrator.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
    all_well(platform)


@pytest.mark.postgres
def test_a_process_that_was_killed_is_forgotten_by_its_watchers(servers) -> None:
    platform, _, _ = servers
    first = platform.processes[0]
    platform.kill(first)
    left = platform.folder / "observe" / f"ingest-{first.pid}.json"
    assert left.exists()
    second = platform.start("run_ingest")
    wait_until(lambda: gone(platform.folder, "ingest") == set(), 60.0, "the next ingest is well")
    assert not left.exists()
    assert platform.stop(second) == 0
    assert not list(left.parent.glob("ingest-*"))
