"""The numbered rows of a site as metrics: intervals, record chunks, waveforms."""

from __future__ import annotations

from typing import Final

import numpy as np

from sites.edge.control.exchange import RECORD_COLUMNS, RECORD_RATE_HZ, CapturedWaveform
from sites.edge.link.meter import ClosedInterval
from sites.edge.link.outbox import RECORD_STREAM, WAVEFORM_STREAM
from sites.edge.link.record_chunks import Chunk
from sites.wire.metrics import RESENT, RESENT_METRICS, MetricType
from sites.wire.payload import Metric, decode_payload, encode_payload
from sites.wire.records import pack_samples

MAX_ROW_BYTES: Final = 16_000_000


def device_of(stream: str) -> str | None:
    """Return the device that a stream's rows belong to; None for the site's own streams."""
    return None if stream in {RECORD_STREAM, WAVEFORM_STREAM} else stream


def record_metrics(chunk: Chunk, number: int) -> list[Metric]:
    """Return one chunk of the 100 Hz record."""
    return [
        Metric("record/number", type=MetricType.INT64, value=number),
        Metric("record/starts_at", type=MetricType.DATETIME, value=chunk.starts_at_us // 1000),
        Metric("record/rate_hz", type=MetricType.DOUBLE, value=RECORD_RATE_HZ),
        Metric("record/columns", type=MetricType.STRING, value=",".join(RECORD_COLUMNS)),
        Metric("record/samples", type=MetricType.BYTES, value=pack_samples(chunk.rows)),
    ]


def waveform_metrics(waveform: CapturedWaveform, number: int) -> list[Metric]:
    """Return one captured waveform."""
    return [
        Metric("waveform/number", type=MetricType.INT64, value=number),
        Metric("waveform/starts_at", type=MetricType.DATETIME, value=waveform.starts_at_us // 1000),
        Metric("waveform/trigger_at", type=MetricType.DATETIME, value=waveform.trigger_at_us // 1000),
        Metric("waveform/starts_at_us", type=MetricType.INT64, value=waveform.starts_at_us),
        Metric("waveform/trigger_at_us", type=MetricType.INT64, value=waveform.trigger_at_us),
        Metric("waveform/rate_hz", type=MetricType.DOUBLE, value=waveform.rate_hz),
        Metric("waveform/cause", type=MetricType.STRING, value=waveform.cause),
        Metric("waveform/columns", type=MetricType.STRING, value=",".join(waveform.columns)),
        Metric("waveform/samples", type=MetricType.BYTES, value=pack_samples(waveform.samples)),
    ]


def empty_payload(payload: bytes) -> bytes:
    """Return a record's or waveform's payload without its samples, its number and instants kept."""
    content = decode_payload(payload, max_bytes=MAX_ROW_BYTES)
    for metric in content.metrics:
        if metric.name in {"record/samples", "waveform/samples"}:
            metric.value = pack_samples(np.empty((0, 1), np.float32))
    return encode_payload(content)


def resent_metrics(**answer: int | str) -> list[Metric]:
    """Return the answer to a request for rows."""
    types = {declaration.name: declaration.type for declaration in RESENT_METRICS}
    return [Metric(RESENT + name, type=types[RESENT + name], value=value) for name, value in answer.items()]


def interval_metrics(interval: ClosedInterval, number: int) -> list[Metric]:
    """Return one metering interval of an asset."""
    whole = {
        "number": number,
        "into_bus_uwh": interval.into_bus_uwh,
        "from_bus_uwh": interval.from_bus_uwh,
        "service_into_uwh": interval.service_into_uwh,
        "service_from_uwh": interval.service_from_uwh,
        "fuel_ul": interval.fuel_ul,
        "register_into_uwh": interval.register_into_uwh,
        "register_from_uwh": interval.register_from_uwh,
    }
    metrics = [Metric(f"interval/{name}", type=MetricType.INT64, value=value) for name, value in whole.items()]
    for name, at_ms in (("starts_at", interval.starts_at_ms), ("ends_at", interval.ends_at_ms)):
        metrics.append(Metric(f"interval/{name}", type=MetricType.DATETIME, value=at_ms))
    if interval.services:
        names, ins, outs = ([service[column] for service in interval.services] for column in range(3))
        metrics += [
            Metric("interval/served", type=MetricType.STRING_ARRAY, value=names),
            Metric("interval/served_into_uwh", type=MetricType.INT64_ARRAY, value=ins),
            Metric("interval/served_from_uwh", type=MetricType.INT64_ARRAY, value=outs),
        ]
    for name, value in (("quality", interval.quality.value), ("time_quality", interval.time_quality.value)):
        metrics.append(Metric(f"interval/{name}", type=MetricType.STRING, value=value))
    return metrics
