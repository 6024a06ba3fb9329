"""Sites that hold what they are asked to: real edge sessions, signatures and judgement on one MQTT connection."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sites.core.assignments import Assignment, Refusal, assignment_from_bytes, judge
from sites.core.envelope import OperatingEnvelope
from sites.wire.edge_session import DeviceCommand, EdgeSession, RebirthRequested
from sites.wire.messages import Message
from sites.wire.metrics import CONTROL_METRICS, NODE_METRICS
from sites.wire.signature import open_envelope


class ArmedSite:
    """One site: its session, what it holds, and every sequence that it took, in order."""

    def __init__(self, site_id: str, platform_keys: list[bytes], discharge_kw: float) -> None:
        self.site_id = site_id
        self.session = EdgeSession(site_id, "vpp", NODE_METRICS, {"control": CONTROL_METRICS})
        self.platform_keys = platform_keys
        self.envelope = OperatingEnvelope(site_id, datetime.now(UTC), discharge_kw, discharge_kw, 1e4, 1e4)
        self.held: Assignment | None = None
        self.refused: tuple[str, str, int] = ("", "", 0)
        self.received: list[int] = []
        self.contents: dict[int, set[str]] = {}
        """Content hashes of what came under each sequence."""
        self.taken: list[int] = []
        self.locked_out = False
        self.answers = True
        """Whether its reports go out: a site whose way up is cut still receives."""

    def births(self) -> list[Message]:
        return self.session.births(_now_ms(), {}, {"control": self.reported()})

    def reported(self) -> dict[str, object]:
        refused_hash, refusal, refused_sequence = self.refused
        return {
            "reported/state": "armed" if self.held else "idle",
            "reported/hash": self.held.content_hash if self.held else "",
            "reported/sequence": self.held.sequence if self.held else 0,
            "reported/refused_hash": refused_hash,
            "reported/refusal": refusal,
            "reported/refused_sequence": refused_sequence,
        }

    def receive(self, topic: str, payload: bytes) -> list[Message]:
        """Return what the site answers to a command."""
        answers: list[Message] = []
        for event in self.session.receive(topic, payload, _now_ms()):
            if isinstance(event, RebirthRequested):
                answers += self.births()
            elif isinstance(event, DeviceCommand):
                envelope = event.metrics["desired"]
                assert isinstance(envelope, bytes)
                self._take(assignment_from_bytes(open_envelope(envelope, self.platform_keys)))
                answers.append(self.session.device_data(_now_ms(), "control", self.reported()))
            else:
                raise AssertionError(f"{self.site_id} refused a command: {event}")
        return answers if self.answers else []

    def _take(self, assignment: Assignment) -> None:
        self.received.append(assignment.sequence)
        self.contents.setdefault(assignment.sequence, set()).add(assignment.content_hash)
        refusal = judge(
            assignment, held=self.held, envelope=self.envelope, locked_out=self.locked_out, at=datetime.now(UTC)
        )
        if refusal is not None:
            self.refuse(assignment, refusal)
        elif self.held is None or assignment.sequence > self.held.sequence:
            self.held = assignment
            self.taken.append(assignment.sequence)

    def refuse(self, assignment: Assignment, refusal: Refusal) -> None:
        self.refused = (assignment.content_hash, refusal.value, assignment.sequence)


class ArmedSites:
    """Many sites behind one connection with the edge's rights, served by a thread of its own."""

    def __init__(self, broker_url: str, platform_key: bytes, site_ids: list[str], discharge_kw: float) -> None:
        self.sites = {site_id: ArmedSite(site_id, [platform_key], discharge_kw) for site_id in site_ids}
        self.faults: list[BaseException] = []
        self.most_held_kw = 0.0
        """The most that all sites together have held at any instant."""
        self._lock = threading.Lock()
        self._filters_open = 0
        self._ready = threading.Event()
        url = urlsplit(broker_url)
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"sites-{secrets.token_hex(6)}")
        self.client.username_pw_set(url.username or "", url.password)
        self.client.max_queued_messages_set(0)
        self.client.on_connect = lambda *_: self._subscribe()
        self.client.on_subscribe = lambda *_: self._subscribed()
        self.client.on_message = lambda _client, _data, message: self._receive(message.topic, message.payload)
        self.client.connect(str(url.hostname), url.port or 1883)
        self.client.loop_start()
        assert self._ready.wait(20.0), "the sites' connection was not accepted"

    def _subscribe(self) -> None:
        filters = [("spBv1.0/+/NCMD/+", 0), ("spBv1.0/+/DCMD/+/+", 0)]
        self.client.subscribe(filters)

    def _subscribed(self) -> None:
        self.bear()
        self._ready.set()

    def bear(self) -> None:
        """Send all births."""
        for site in self.sites.values():
            self._publish(site.births())

    def answer_again(self) -> None:
        """Let every site's reports go out again, from the next command on."""
        with self._lock:
            for site in self.sites.values():
                site.answers = True

    def _receive(self, topic: str, payload: bytes) -> None:
        site = self.sites.get(topic.split("/")[3])
        if site is None:
            return
        try:
            with self._lock:
                answers = site.receive(topic, payload)
                held_kw = math.fsum(site.held.power_kw for site in self.sites.values() if site.held)
                self.most_held_kw = max(self.most_held_kw, held_kw)
        except BaseException as error:  # noqa: BLE001 - told by the test that waits
            self.faults.append(error)
            return
        self._publish(answers)

    def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            self.client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)

    def wait_until(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        """Return when the condition holds; fail with the sites' faults otherwise."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert not self.faults, self.faults
            assert time.monotonic() < deadline, f"not within {within_s} s"
            time.sleep(0.01)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
