"""What every process counts, under one name each, for Prometheus.

Declared here once, so that a page of alerts can be written against a page of names. No label ever holds a site's id:
ten thousand of them would be ten thousand series each; a single site's state is on its page and in the log.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

REGISTRY: Final = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_ANSWER_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_AGE_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)


# --- MQTT: every process that holds connections --------------------------------------------------
@dataclass(slots=True)
class Traffic:
    """Plain numbers, counted on the event loop: a counter with a lock costs a microsecond a message."""

    up: int = 0
    """Connections with all subscriptions granted."""
    connects: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    """Of payloads."""
    bytes_out: int = 0
    certificate_ends_s: float = math.inf
    """When the newest connection's certificate or its broker's ends, whichever is first [s since the epoch]."""


MQTT: Final = Traffic()


class _TrafficCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("vpp_mqtt_connections_up", "MQTT connections with all subscriptions granted", MQTT.up)
        yield CounterMetricFamily("vpp_mqtt_connects", "times a connection came up", MQTT.connects)
        if math.isfinite(MQTT.certificate_ends_s):
            yield GaugeMetricFamily(
                "vpp_mqtt_certificate_ends_timestamp_seconds",
                "when our certificate or the broker's ends, whichever is first",
                MQTT.certificate_ends_s,
            )
        messages = CounterMetricFamily("vpp_mqtt_messages", "MQTT messages", labels=["direction"])
        size = CounterMetricFamily("vpp_mqtt_payload_bytes", "bytes of MQTT payloads", labels=["direction"])
        for direction, count, length in (
            ("in", MQTT.messages_in, MQTT.bytes_in),
            ("out", MQTT.messages_out, MQTT.bytes_out),
        ):
            messages.add_metric([direction], count)
            size.add_metric([direction], length)
        yield messages
        yield size


REGISTRY.register(_TrafficCollector())

# --- ingest --------------------------------------------------------------------------------------
INGEST_ROWS: Final = Counter(
    "vpp_ingest_rows", "rows committed; of what is repeated, those that stood already", ["kind"], registry=REGISTRY
)
INGEST_REFUSED: Final = Counter("vpp_ingest_refused", "messages or metrics refused", ["error"], registry=REGISTRY)
INGEST_INBOX: Final = Gauge("vpp_ingest_inbox_messages", "messages that wait to be read", registry=REGISTRY)
INGEST_QUARANTINED: Final = Gauge("vpp_ingest_quarantined_sites", "sites that are cut off", registry=REGISTRY)
INGEST_OUTBOXES: Final = Gauge(
    "vpp_ingest_site_outboxes", "sites by the state of their outbox, as they tell it", ["state"], registry=REGISTRY
)
INGEST_WRITE_S: Final = Histogram(
    "vpp_ingest_write_seconds", "time of one batch in the database", buckets=_ANSWER_S, registry=REGISTRY
)
INGEST_AGE_S: Final = Histogram(
    "vpp_ingest_age_seconds", "age of a batch's oldest message when it was committed", buckets=_AGE_S, registry=REGISTRY
)
INGEST_REBIRTHS: Final = Counter("vpp_ingest_rebirths_asked", "births asked for", registry=REGISTRY)

# --- host ----------------------------------------------------------------------------------------
HOST_ONLINE: Final = Gauge("vpp_host_online", "1 while STATE says online", registry=REGISTRY)

# --- dispatch ------------------------------------------------------------------------------------
DISPATCH_LEADS: Final = Gauge("vpp_dispatch_leads", "1 while this process holds the lease", registry=REGISTRY)
DISPATCH_SENT: Final = Counter("vpp_dispatch_assignments_sent", "assignments sent, repeats included", registry=REGISTRY)
DISPATCH_REPORTS: Final = Counter("vpp_dispatch_reports", "reports that came back", ["outcome"], registry=REGISTRY)
DISPATCH_FAILED: Final = Counter("vpp_dispatch_failed", "dispatches that could not be armed", registry=REGISTRY)
STREAMS_UNHEARD: Final = Gauge(
    "vpp_streams_unheard", "setpoint streams in their window whose signal nobody sends", registry=REGISTRY
)
FLEET_KW: Final = Gauge(
    "vpp_fleet_kilowatts", "promised, firm and upper power of the open dispatches", ["figure"], registry=REGISTRY
)

# --- OpenADR -------------------------------------------------------------------------------------
OPENADR_REGISTERED: Final = Gauge(
    "vpp_openadr_registered", "1 while an operator's VTN knows us", ["operator"], registry=REGISTRY
)
OPENADR_EXCHANGES: Final = Counter(
    "vpp_openadr_exchanges", "registrations, lists and polls at a VTN", ["operator", "outcome"], registry=REGISTRY
)
OPENADR_EVENTS: Final = Counter("vpp_openadr_events", "events decided", ["operator", "decision"], registry=REGISTRY)
VTN_CALLS: Final = Counter("vpp_vtn_calls", "webhook calls of our VTN", ["outcome"], registry=REGISTRY)

# --- web -----------------------------------------------------------------------------------------
WEB_REQUEST_S: Final = Histogram(
    "vpp_web_request_seconds", "time of one answer", ["route", "status"], buckets=_ANSWER_S, registry=REGISTRY
)

# --- at a site -----------------------------------------------------------------------------------
EDGE_BORN: Final = Gauge("vpp_edge_sites_born", "sites of this process whose births were sent", registry=REGISTRY)
EDGE_OUTBOX_ROWS: Final = Gauge("vpp_edge_outbox_rows", "rows that are kept at the site", registry=REGISTRY)
EDGE_OUTBOX_USED: Final = Gauge(
    "vpp_edge_outbox_used_ratio", "share of the bound that records and waveforms take", registry=REGISTRY
)
EDGE_OUTBOX_AGE_S: Final = Gauge(
    "vpp_edge_outbox_oldest_seconds", "age of the oldest row that waits for more than a minute", registry=REGISTRY
)
EDGE_OUTBOX_DROPPED: Final = Gauge(
    "vpp_edge_outbox_dropped", "rows whose samples were given up so far", ["stream"], registry=REGISTRY
)
EDGE_OUTBOX_UNWRITABLE: Final = Gauge(
    "vpp_edge_outbox_unwritable", "1 while the disk takes nothing more", registry=REGISTRY
)
EDGE_DROPPED: Final = Gauge("vpp_edge_messages_dropped", "messages dropped at a full queue so far", registry=REGISTRY)
EDGE_REFUSED: Final = Gauge("vpp_edge_refused", "messages and assignments refused so far", registry=REGISTRY)
EDGE_CONTROL_AGE_S: Final = Gauge("vpp_edge_control_age_seconds", "age of the last measured values", registry=REGISTRY)
EDGE_SAMPLES_LATE: Final = Gauge("vpp_edge_samples_late", "late or overrun control ticks so far", registry=REGISTRY)
