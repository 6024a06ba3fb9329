"""A process's door for watchers, asked over real sockets on loopback."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from sites.observability import metrics
from sites.observability.endpoint import Address, ObservabilityAddressError, watched
from sites.observability.health import Health

ANYWHERE = Address("127.0.0.1", 0)


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", ANYWHERE),
        ("192.0.2.7:9400", Address("192.0.2.7", 9400)),
        ("[::1]:1", Address("::1", 1)),
        ("off", None),
    ],
)
def test_addresses_that_are_accepted(text, address):
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["", "9400", ":9400", "host:", "host:port", "host:70000", "host:-1"])
def test_addresses_that_are_refused_by_name(text):
    with pytest.raises(ObservabilityAddressError, match="accepted: host:port, or off"):
        Address.parse(text)


def test_metrics_and_health_are_served_and_faults_are_named():
    health = Health("ingest")
    fault = ""
    health.watch("broker", lambda: fault)
    metrics.INGEST_ROWS.labels("reading").inc(3)
    with watched(health, ANYWHERE) as port:
        status, text = asked(port, "/metrics")
        assert status == 200
        assert 'vpp_ingest_rows_total{kind="reading"}' in text
        assert "vpp_mqtt_messages_total" in text
        assert asked(port, "/healthz") == (200, '{"process": "ingest", "status": "ok", "gone": {}}')
        fault = "broker cannot be reached"
        status, text = asked(port, "/healthz")
        assert status == 503
        assert json.loads(text)["gone"] == {"broker": "broker cannot be reached"}
        assert asked(port, "/etc/passwd")[0] == 404


def test_a_watcher_that_says_nothing_does_not_shut_out_the_next():
    with watched(Health("ingest"), ANYWHERE) as port, socket.create_connection(("127.0.0.1", port)):
        assert asked(port, "/healthz")[0] == 200


def test_each_process_says_where_it_listens_and_the_dead_are_forgotten(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f"ingest-{ended.pid}.json"
    left.write_text("[]")
    with watched(Health("ingest"), ANYWHERE, folder=tmp_path) as port:
        found = list(tmp_path.iterdir())
        assert found == [tmp_path / f"ingest-{os.getpid()}.json"]
        assert json.loads(found[0].read_text()) == [{"targets": [f"127.0.0.1:{port}"], "labels": {"process": "ingest"}}]
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_stops_the_start():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError), watched(Health("ingest"), Address("127.0.0.1", other.getsockname()[1])):
            pass
