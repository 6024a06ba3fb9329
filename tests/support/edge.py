"""A simulated fleet as a real process, and a host that talks to it over a real broker."""

from __future__ import annotations

import json
import os
import queue
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from support.brokers import Broker

from sites.core.assignments import Assignment
from sites.core.curves import curve_named
from sites.wire.commands import device_command, node_command
from sites.wire.host_events import DeviceBorn, DeviceData, NodeBorn, NodeData, NodeDied, RebirthNeeded, Refused
from sites.wire.host_session import HostSession
from sites.wire.messages import Message, state_message
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.signature import public_key_of, seal
from sites.wire.topics import device_topic, node_topic, partition_filters

CHECKOUT = Path(__file__).resolve().parents[2]
HOST_ID = "vpp"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def an_assignment(
    site_id: str,
    *,
    sequence: int,
    power_kw: float,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    baseline_kw: float = 0.0,
) -> Assignment:
    """An assignment of GB Dynamic Containment low; from two seconds ahead for ten minutes unless said."""
    now = datetime.now(UTC)
    curve = curve_named("neso-dc-low")
    return Assignment(
        assignment_id=f"A-{site_id}-{sequence}",
        site_id=site_id,
        sequence=sequence,
        dispatch_id="DC-test",
        curve_name=curve.name,
        direction=curve.direction,
        points=curve.points,
        power_kw=power_kw,
        baseline_kw=baseline_kw,
        starts_at=starts_at or now + timedelta(seconds=2),
        ends_at=ends_at or now + timedelta(minutes=10),
    )


class Host:
    """The platform's end of the wire: HostSession over MQTT, with everything it heard kept in memory."""

    def __init__(self, broker: Broker, seed: bytes) -> None:
        self._broker = broker
        self._seed = seed
        self._session = HostSession(16_000_000, 60.0)
        self._lock = threading.RLock()
        self._client: mqtt.Client | None = None
        self.forget_births()
        self.deaths: set[str] = set()
        self.refused: list[Refused] = []
        self.node_data_count: dict[str, int] = defaultdict(int)
        self.report_count: dict[str, int] = defaultdict(int)
        self.report_at_s: dict[str, float] = {}
        self.intervals: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
        self.repeats: list[tuple[str, str, int]] = []
        """Rows that came again with another content."""
        self.records: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.waveforms: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.marked: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Self:
        self.reconnect()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_offline()

    # --- connection ------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """Connect, subscribe and say that the host is online."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"host-{secrets.token_hex(4)}")
        client.username_pw_set(self._broker.user, self._broker.password)
        ready = threading.Event()
        client.on_connect = lambda c, *_: c.subscribe([(f, 0) for f in partition_filters(range(64))])
        client.on_subscribe = lambda *_: ready.set()
        client.on_message = lambda _c, _d, message: self._heard(message.topic, message.payload)
        client.connect("127.0.0.1", self._broker.port)
        client.loop_start()
        assert ready.wait(10.0), "the host's subscriptions were not answered"
        self._client = client
        self.publish_message(state_message(HOST_ID, True, now_ms()))

    def forget_connection(self) -> None:
        """Drop a connection whose broker is gone."""
        if self._client is not None:
            self._client.loop_stop()
            self._client = None

    def go_offline(self) -> None:
        """Say that the host is offline and disconnect."""
        if self._client is None:
            return
        self.publish_message(state_message(HOST_ID, False, now_ms()))
        self._client.disconnect()
        self.forget_connection()

    def forget_births(self) -> None:
        """Forget who is born, to see who is born next."""
        self.born: dict[str, dict[str, Any]] = {}
        self.devices: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
        self.node_values: dict[str, dict[str, Any]] = defaultdict(dict)

    def wait(self, condition: Callable[[], bool], *, within_s: float) -> None:
        """Wait for a condition; fail when it does not come true in time."""
        deadline_s = time.monotonic() + within_s
        while True:
            with self._lock:
                if condition():
                    return
            assert time.monotonic() < deadline_s, f"not within {within_s} s; refused here: {self.refused[-3:]}"
            time.sleep(0.005)

    # --- out -------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        assert self._client is not None
        self._client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(10.0)

    def publish_message(self, message: Message) -> None:
        self.publish(message.topic, message.payload, message.qos, message.retain)

    def send_envelope(self, site_id: str, envelope: bytes) -> None:
        self.publish_message(device_command(site_id, "control", now_ms(), {"desired": envelope}))

    def send_desired(self, assignment: Assignment) -> None:
        self.send_envelope(assignment.site_id, seal(assignment.to_bytes(), self._seed))

    def send_metrics(self, site_id: str, metrics: list[Metric]) -> None:
        self.publish(self.desired_topic(site_id), encode_payload(Payload(now_ms(), None, metrics)))

    def arm(self, assignment: Assignment) -> float:
        """Send an assignment, wait until its hash is reported and return how long that took [s]."""
        sent_s = time.monotonic()
        self.send_desired(assignment)
        site_id = assignment.site_id
        self.wait(
            lambda: self.devices[site_id]["control"].get("reported/hash") == assignment.content_hash, within_s=10.0
        )
        return self.report_at_s[site_id] - sent_s

    def send_marks(self, site_id: str) -> None:
        """Tell a site that its intervals are stored as far as they came without a hole."""
        values: dict[str, int] = {}
        for (owner, asset), rows in self.intervals.items():
            if owner == site_id:
                values[f"stored_through/{asset}"] = self.marked[site_id, asset] = max(rows)
        self.publish_message(node_command(site_id, now_ms(), values))

    @staticmethod
    def command_topic(site_id: str) -> str:
        return node_topic("NCMD", site_id)

    @staticmethod
    def desired_topic(site_id: str) -> str:
        return device_topic("DCMD", site_id, "control")

    # --- in --------------------------------------------------------------------------------------

    def last_number(self, site_id: str, asset: str) -> int:
        return max(self.intervals[site_id, asset], default=0)

    def interval_ends_ms(self, site_id: str, asset: str) -> int:
        rows = self.intervals[site_id, asset]
        return int(rows[max(rows)]["ends_at"]) if rows else 0

    def _heard(self, topic: str, payload: bytes) -> None:
        with self._lock:
            for event in self._session.receive(topic, payload, now_ms()):
                self._take(event)

    def _take(self, event: object) -> None:
        match event:
            case NodeBorn(site_id=site_id, values=values):
                self.born[site_id] = {name: metric.value for name, metric in values.items()}
                self.node_values[site_id] = dict(self.born[site_id])
                self._tell_mark(site_id, "record", "waveform")
            case DeviceBorn(site_id=site_id, device=device, values=values):
                self.devices[site_id][device] = {name: metric.value for name, metric in values.items()}
                if device != "control":
                    self._tell_mark(site_id, device)
            case NodeData(site_id=site_id, values=values):
                flat = {name: metric.value for name, metric in values.items()}
                if "record/number" in flat:
                    self.records[site_id].append(flat)
                elif "waveform/number" in flat:
                    self.waveforms[site_id].append(flat)
                else:
                    self.node_values[site_id].update(flat)
                    self.node_data_count[site_id] += 1
            case DeviceData(site_id=site_id, device=device, values=values):
                flat = {name: metric.value for name, metric in values.items()}
                if "interval/number" in flat:
                    self._take_interval(site_id, device, flat, values["interval/number"].is_historical)
                else:
                    self.devices[site_id][device].update(flat)
                    if device == "control":
                        self.report_count[site_id] += 1
                        self.report_at_s[site_id] = time.monotonic()
            case NodeDied(site_id=site_id):
                self.deaths.add(site_id)
            case RebirthNeeded(site_id=site_id):
                if self._client is not None:
                    message = self._session.rebirth_command(site_id, now_ms())
                    self._client.publish(message.topic, message.payload)
            case Refused():
                self.refused.append(event)

    def _tell_mark(self, site_id: str, *streams: str) -> None:
        """Answer a birth as the platform does: a new outbox may not number its rows before."""
        values = {f"stored_through/{stream}": self.marked.get((site_id, stream), 0) for stream in streams}
        if self._client is not None:
            message = node_command(site_id, now_ms(), values)
            self._client.publish(message.topic, message.payload)

    def _take_interval(self, site_id: str, asset: str, flat: dict[str, Any], historical: bool) -> None:
        row = {name.removeprefix("interval/"): value for name, value in flat.items()}
        number = row.pop("number")
        held = self.intervals[site_id, asset].get(number)
        if held is not None and {**held, "historical": 0} != {**row, "historical": 0}:
            self.repeats.append((site_id, asset, number))
        if held is None:
            self.intervals[site_id, asset][number] = row | {"historical": historical}


class Simulator:
    """``vpp-edge simulate`` as its own process."""

    def __init__(
        self, broker: Broker, sites: int, seed: bytes, folder: Path, interval_s: int, keep_stored_days: int = 0
    ) -> None:
        self._broker = broker
        self.folder = folder
        self._arguments = [
            *("--sites", str(sites), "--seed", "7", "--host-id", HOST_ID, "--interval-s", str(interval_s)),
            *("--platform-key", public_key_of(seed).hex(), "--runtime-dir", str(folder)),
            *("--keep-stored-days", str(keep_stored_days)),
        ]
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self.restart()

    def restart(self) -> None:
        """Start the process (again) over the same runtime folder."""
        with (self.folder / "simulate.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sites.edge", "simulate", *self._arguments],
                cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=os.environ | {"VPP_EDGE_BROKER_URL": self._broker.edge_url},
            )  # fmt: skip
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def say(self, line: str) -> None:
        """Give the simulation a script line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def wait_for(self, event: str, *, within_s: float) -> dict[str, Any]:
        """Return the next event of a kind; fail with the log's end when it does not come in time."""
        deadline_s = time.monotonic() + within_s
        while True:
            try:
                found = self.events.get(timeout=max(0.01, min(0.2, deadline_s - time.monotonic())))
            except queue.Empty:
                ended = self.process.poll()
                if ended is not None or time.monotonic() > deadline_s:
                    raise AssertionError(
                        f"no {event!r} within {within_s} s, status {ended}, seen {self.seen[-3:]}:\n"
                        f"{self.log_text[-3000:]}"
                    ) from None
                continue
            self.seen.append(found)
            if found["event"] == event:
                return found

    def kill(self) -> None:
        """End it without a goodbye (SIGKILL)."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10.0)

    def stop(self) -> None:
        """End it in order; kill it when it does not go."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(15.0)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def log_text(self) -> str:
        """What it logged so far."""
        return (self.folder / "simulate.log").read_text(errors="replace")

    def waiting_numbers(self, stream: str) -> dict[str, list[int]]:
        """Return the numbers of a stream that wait in the outbox, by site."""
        connection = sqlite3.connect(f"file:{self.folder / 'outbox.sqlite3'}?mode=ro", uri=True)
        try:
            found: dict[str, list[int]] = defaultdict(list)
            rows = connection.execute("SELECT site_id, number FROM outbox WHERE stream = ? ORDER BY number", (stream,))
            for site_id, number in rows:
                found[site_id].append(number)
            return found
        finally:
            connection.close()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.events.put(json.loads(line))


@contextmanager
def simulator(broker: Broker, sites: int, seed: bytes, folder: Path, *, interval_s: int) -> Iterator[Simulator]:
    """Run a simulation for as long as the block lasts."""
    running = Simulator(broker, sites, seed, folder, interval_s)
    try:
        yield running
    finally:
        running.stop()
