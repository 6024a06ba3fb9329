"""Simulated sites on a real broker: births, data, assignments end to end, a broker that is killed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from support.brokers import Broker
from support.edge import Host, Simulator, an_assignment, simulator

from sites.edge.studies.waveform_files import read_wave_file
from sites.wire.metrics import DESIRED, MetricType
from sites.wire.payload import Metric
from sites.wire.records import unpack_samples
from sites.wire.signature import seal

SITES = 20
SEED = bytes(range(32))
OTHER_SEED = bytes(range(1, 33))


@pytest.fixture(scope="module")
def host(broker: Broker) -> Iterator[Host]:
    with Host(broker, SEED) as connected:
        yield connected


@pytest.fixture(scope="module")
def fleet(broker: Broker, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with simulator(broker, SITES, SEED, tmp_path_factory.mktemp("edge"), interval_s=2) as running:
        running.wait_for("ready", within_s=60.0)
        yield running


def test_every_site_is_born_with_its_devices(fleet: Simulator, host: Host) -> None:
    assert len(host.born) == SITES
    for site_id in host.born:
        devices = host.devices[site_id]
        assert {"pcc", "battery", "load", "control"} <= set(devices)
        assert devices["battery"]["capacity_kwh"] > 0.0
        assert devices["control"]["reported/state"] == "idle"


def test_live_data_comes_once_a_second_from_each_site(fleet: Simulator, host: Host) -> None:
    before = dict(host.node_data_count)
    started_s = time.monotonic()
    host.wait(lambda: all(host.node_data_count[s] - before.get(s, 0) >= 4 for s in host.born), within_s=15.0)
    assert 2.5 <= time.monotonic() - started_s <= 8.0
    for values in host.node_values.values():
        assert 49.5 < values["frequency_hz"] < 50.5
        assert values["mode"] == "grid_tied"


def test_an_assignment_is_armed_and_reported_with_its_hash(fleet: Simulator, host: Host) -> None:
    site_id = sorted(host.born)[0]
    assignment = an_assignment(site_id, sequence=1, power_kw=host.node_values[site_id]["discharge_kw"] * 0.5)
    latency_s = host.arm(assignment)
    report = host.devices[site_id]["control"]
    assert report["reported/state"] == "armed"
    assert report["reported/hash"] == assignment.content_hash
    assert report["reported/sequence"] == 1
    assert latency_s < 1.0
    # A repeat is answered again and changes nothing.
    reports = host.report_count[site_id]
    host.send_desired(assignment)
    host.wait(lambda: host.report_count[site_id] > reports, within_s=5.0)
    assert host.devices[site_id]["control"]["reported/hash"] == assignment.content_hash


def test_a_foreign_signature_is_refused_by_name(fleet: Simulator, host: Host) -> None:
    site_id = sorted(host.born)[1]
    assignment = an_assignment(site_id, sequence=1, power_kw=1.0)
    reports = host.report_count[site_id]
    host.send_envelope(site_id, seal(assignment.to_bytes(), OTHER_SEED))
    host.wait(lambda: host.report_count[site_id] > reports, within_s=5.0)
    report = host.devices[site_id]["control"]
    assert (report["reported/state"], report["reported/refusal"]) == ("refused", "unsigned")
    assert report["reported/refused_hash"] == assignment.content_hash
    assert report["reported/hash"] == ""


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"power_kw": 99_000.0}, "out_of_envelope"),
        ({"ends_in_s": -5.0, "starts_in_s": -60.0}, "expired"),
        ({"body_site": "site-9999"}, "wrong_site"),
    ],
)
def test_an_assignment_that_does_not_fit_is_refused_by_name(
    fleet: Simulator, host: Host, change: dict[str, object], refusal: str
) -> None:
    site_id = sorted(host.born)[2]
    reports = host.report_count[site_id]
    fields = {"power_kw": 0.5, "starts_in_s": 2.0, "ends_in_s": 600.0, "body_site": site_id} | change
    now = datetime.now(UTC)
    assignment = an_assignment(
        str(fields["body_site"]),
        sequence=int(time.time()),
        power_kw=float(fields["power_kw"]),  # type: ignore[arg-type]
        starts_at=now + timedelta(seconds=float(fields["starts_in_s"])),  # type: ignore[arg-type]
        ends_at=now + timedelta(seconds=float(fields["ends_in_s"])),  # type: ignore[arg-type]
    )
    host.send_envelope(site_id, seal(assignment.to_bytes(), SEED))
    host.wait(lambda: host.report_count[site_id] > reports, within_s=5.0)
    assert host.devices[site_id]["control"]["reported/refusal"] == refusal


def test_nonsense_is_survived(fleet: Simulator, host: Host) -> None:
    site_id = sorted(host.born)[3]
    for topic_of in (host.command_topic, host.desired_topic):
        host.publish(topic_of(site_id), b"\xff\xff nonsense")
        host.publish(topic_of(site_id), b"\x00" * 200_000)
    host.send_metrics(site_id, [Metric(DESIRED, type=MetricType.STRING, value="text")])
    host.send_metrics(site_id, [Metric("no such thing", type=MetricType.INT64, value=1)])
    latency_s = host.arm(an_assignment(site_id, sequence=1, power_kw=0.5))
    assert latency_s < 2.0
    assert fleet.process.poll() is None


def test_a_lost_feeder_islands_its_site_and_leaves_a_waveform(fleet: Simulator, host: Host) -> None:
    site_id = sorted(host.born)[5]
    opens_at_s = time.time() + 1.0
    fleet.say(f"open-feeder {site_id} at {opens_at_s}")
    host.wait(lambda: bool(host.waveforms[site_id]), within_s=15.0)
    waveform = host.waveforms[site_id][0]
    assert waveform["waveform/number"] == 1
    assert 0 <= waveform["waveform/trigger_at_us"] - opens_at_s * 1e6 < 50_000
    columns = str(waveform["waveform/columns"]).split(",")
    samples = unpack_samples(waveform["waveform/samples"], len(columns))
    assert len(samples) == 5000
    assert samples[-1, columns.index("switch_open")] == 1.0
    (kept,) = (fleet.folder / "events").glob(f"{site_id}_*.cfg")
    found = read_wave_file(kept)
    # The same samples, in volts.
    assert np.corrcoef(found.volts[0], samples[:, 0])[0, 1] > 0.9999
    host.wait(lambda: host.node_values[site_id]["mode"] == "islanded", within_s=5.0)
    fleet.say(f"dance {site_id}")
    assert fleet.wait_for("refused", within_s=5.0)["error"] == "script_line_invalid"


def test_a_killed_broker_costs_no_interval(fleet: Simulator, host: Host, broker: Broker) -> None:
    host.wait(lambda: all(host.last_number(s, "battery") >= 2 for s in host.born), within_s=20.0)
    broker.kill()
    host.forget_connection()
    down_from_ms = time.time() * 1000.0
    time.sleep(6.0)  # the broker stays away for three intervals
    broker.start()
    host.reconnect()
    up_from_ms = time.time() * 1000.0
    for site_id in sorted(host.born):
        host.wait(
            lambda site_id=site_id: host.interval_ends_ms(site_id, "battery") > up_from_ms + 2000.0, within_s=40.0
        )
    for site_id in host.born:
        for asset in ("pcc", "battery", "load"):
            intervals = host.intervals[site_id, asset]
            # What ended while the broker was away follows the newest interval within a second or two.
            host.wait(lambda held=intervals: sorted(held) == list(range(1, max(held) + 1)), within_s=10.0)
            rows = [intervals[number] for number in sorted(intervals)]
            # Seamless in time, and the registers add up to the last unit.
            for earlier, later in itertools.pairwise(rows):
                assert later["starts_at"] == earlier["ends_at"]
                assert later["register_into_uwh"] - earlier["register_into_uwh"] == later["into_bus_uwh"]
                assert later["register_from_uwh"] - earlier["register_from_uwh"] == later["from_bus_uwh"]
            assert any(row["historical"] for row in rows if down_from_ms < row["ends_at"] < up_from_ms)


def test_marks_of_the_platform_empty_the_outbox(fleet: Simulator, host: Host) -> None:
    site_id = sorted(host.born)[0]
    assert fleet.waiting_numbers("battery")[site_id][0] == 1
    host.send_marks(site_id)
    mark = host.marked[site_id, "battery"]
    host.wait(lambda: min(fleet.waiting_numbers("battery")[site_id], default=mark + 1) > mark, within_s=10.0)
    # Another site's rows are still there.
    assert fleet.waiting_numbers("battery")[sorted(host.born)[1]][0] == 1


def test_a_restart_goes_on_numbering_and_arms_again(fleet: Simulator, host: Host, broker: Broker) -> None:
    site_id = sorted(host.born)[4]
    assignment = an_assignment(site_id, sequence=1, power_kw=0.5)
    host.arm(assignment)
    last = host.last_number(site_id, "battery")
    fleet.kill()
    host.forget_births()
    fleet.restart()
    fleet.wait_for("ready", within_s=60.0)
    host.wait(lambda: host.devices[site_id]["control"]["reported/hash"] == assignment.content_hash, within_s=10.0)
    host.wait(lambda: host.last_number(site_id, "battery") >= last + 2, within_s=20.0)
    intervals = host.intervals[site_id, "battery"]
    assert sorted(intervals) == list(range(1, max(intervals) + 1))


def test_an_orderly_stop_tells_each_sites_death(fleet: Simulator, host: Host) -> None:
    host.deaths.clear()
    fleet.say("stop")
    assert fleet.process.wait(20.0) == 0
    host.wait(lambda: len(host.deaths) == SITES, within_s=10.0)
