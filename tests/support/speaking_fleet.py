"""Sites that speak Sparkplug B over a real broker, twice a second, along a written story; for the console's tests."""

from __future__ import annotations

import math
import secrets
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sites.wire.edge_session import EdgeSession, RebirthRequested
from sites.wire.messages import Message
from sites.wire.metrics import ASSET_METRICS, NODE_METRICS, MetricType
from sites.wire.payload import Metric
from sites.wire.records import pack_samples
from sites.wire.topics import node_topic

KINDS = ("pcc", "battery", "pv", "load")
PERIOD_S = 0.5
FALL_S = 40.0
COLUMNS = "va_pu,vb_pu,vc_pu,ua_pu,ub_pu,uc_pu,feeder_open,decision,switch_open"


class SpeakingFleet:
    """Many sites behind one connection: the frequency dips again and again, one site is islanded."""

    def __init__(self, broker_url: str, site_ids: list[str], *, islanded: str) -> None:
        self.islanded = islanded
        self.sessions = {
            site_id: EdgeSession(site_id, "vpp", NODE_METRICS, {kind: ASSET_METRICS[kind] for kind in KINDS})
            for site_id in site_ids
        }
        # Sequence numbers must go out in their order: births on demand come from paho's thread.
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._granted = threading.Event()
        self._began_s = time.time()
        url = urlsplit(broker_url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"fleet-{secrets.token_hex(6)}")
        self._client.username_pw_set(url.username or "", url.password)
        self._client.on_connect = lambda *_: self._client.subscribe("spBv1.0/+/NCMD/+")
        self._client.on_subscribe = lambda *_: self._granted.set()
        self._client.on_message = lambda _client, _data, message: self._obey(message.topic, message.payload)
        self._client.connect(str(url.hostname), url.port or 1883)
        self._client.loop_start()
        assert self._granted.wait(10.0), "the fleet's connection was not accepted"
        self._thread = threading.Thread(target=self._speak, daemon=True)

    def start(self) -> None:
        """Bear all sites and speak until stopped."""
        for index, (site_id, session) in enumerate(self.sessions.items()):
            node, devices = self._values(index, site_id)
            self._publish(session.births(_now_ms(), node, devices))
        self._thread.start()

    def stop(self) -> None:
        """Fall silent."""
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._client.disconnect()
        self._client.loop_stop()

    def send_waveform(self) -> None:
        """Send the islanded site's record: the utility side collapses, the load bus stays."""
        trigger_us = round(time.time() * 1e6)
        rate_hz, before, rows = 10_000.0, 1_000, 5_000
        t_s = (np.arange(rows) - before) / rate_hz
        after = t_s >= 0.0
        fallen = t_s >= -0.0025
        phases = 2 * np.pi * np.arange(3)[None, :] / 3
        wave = np.sin(2 * np.pi * 50.0 * t_s[:, None] - phases)
        dip = np.where(fallen & ~after, 0.78, 1.0)[:, None]
        utility = wave * np.where(fallen, 0.75 * np.exp(-np.maximum(t_s, 0.0) / 0.012), 1.0)[:, None]
        digital = np.stack([fallen, after, t_s >= 0.0008], axis=1)
        samples = np.hstack([wave * dip, utility, digital]).astype(np.float32)
        values: list[tuple[str, MetricType, Any]] = [
            ("number", MetricType.INT64, 1),
            ("starts_at", MetricType.DATETIME, (trigger_us - 100_000) // 1000),
            ("trigger_at", MetricType.DATETIME, trigger_us // 1000),
            ("starts_at_us", MetricType.INT64, trigger_us - 100_000),
            ("trigger_at_us", MetricType.INT64, trigger_us),
            ("rate_hz", MetricType.DOUBLE, rate_hz),
            ("cause", MetricType.STRING, "loss_of_mains"),
            ("columns", MetricType.STRING, COLUMNS),
            ("samples", MetricType.BYTES, pack_samples(samples)),
        ]
        metrics = [Metric(f"waveform/{name}", type=kind, value=value) for name, kind, value in values]
        with self._lock:
            self._publish([self.sessions[self.islanded].stream_data(_now_ms(), None, metrics, False)])

    def send_nonsense(self) -> None:
        """Send what the ingest must refuse."""
        self._client.publish(node_topic("NDATA", self.islanded), b"\xff\xfe not a payload")

    def _obey(self, topic: str, payload: bytes) -> None:
        """Bear a site again when the host asks for it."""
        index, site_id = next((n, s) for n, s in enumerate(self.sessions) if s == topic.split("/")[3])
        with self._lock:
            events = self.sessions[site_id].receive(topic, payload, _now_ms())
            if any(isinstance(event, RebirthRequested) for event in events):
                node, devices = self._values(index, site_id)
                self._publish(self.sessions[site_id].births(_now_ms(), node, devices))

    def _speak(self) -> None:
        while not self._ends.wait(PERIOD_S - time.time() % PERIOD_S):
            for index, (site_id, session) in enumerate(self.sessions.items()):
                node, devices = self._values(index, site_id)
                with self._lock:
                    messages = [session.node_data(_now_ms(), node)]
                    messages += [session.device_data(_now_ms(), kind, values) for kind, values in devices.items()]
                    self._publish(messages)

    def _values(self, index: int, site_id: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        t_s = time.time() - self._began_s
        # Never flat for a whole second: the tests wait for figures that move.
        depth_hz = 0.02 + 0.22 * (1.0 - math.cos(2 * math.pi * t_s / FALL_S)) + 0.004 * math.sin(2.3 * t_s)
        is_islanded = site_id == self.islanded
        frequency_hz = 50.0 - depth_hz + 0.001 * math.sin(7.0 * t_s + index)
        share = 0.0 if is_islanded else min(1.0, max(0.0, (depth_hz - 0.015) / 0.485))
        rated_kw = 20.0 + 5.0 * (index % 7)
        required_kw, service_kw = rated_kw * share, rated_kw * share * (0.99 + 0.01 * math.sin(t_s + index))
        load_kw, pv_kw = -(8.0 + index % 5), 2.0 + index % 3
        battery_kw = -load_kw - pv_kw if is_islanded else service_kw
        node = {
            "frequency_hz": 50.0 if is_islanded else frequency_hz,
            "voltage_pu": 1.0 + 0.002 * math.sin(t_s + index),
            "mode": "islanded" if is_islanded else "grid_tied",
            "service_kw": service_kw,
            "required_kw": required_kw,
            "discharge_kw": rated_kw,
            "charge_kw": rated_kw,
            "usable_energy_kwh": 2.0 * rated_kw,
            "absorbable_energy_kwh": rated_kw,
        }
        devices = {
            "pcc": {"power_kw": 0.0 if is_islanded else -(load_kw + pv_kw + battery_kw)},
            "battery": {"power_kw": battery_kw, "soc_ratio": 0.62 + 0.04 * (index % 6), "temperature_c": 27.0},
            "pv": {"power_kw": pv_kw},
            "load": {"power_kw": load_kw},
        }
        return node, devices

    def _publish(self, messages: list[Message]) -> None:
        for message in messages:
            self._client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)


def _now_ms() -> int:
    return round(time.time() * 1000)
