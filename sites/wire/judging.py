"""How a value is judged by its declaration: type, range and time."""

from __future__ import annotations

from typing import NamedTuple

from sites.wire.errors import MetricTypeMismatch, TimestampInFuture, ValueOutOfRange
from sites.wire.metrics import MAX_TEXT_CHARS, NAMES_TEXT, MetricDeclaration, MetricType
from sites.wire.payload import Metric, Value, typed_value


class MetricValue(NamedTuple):
    """One accepted value."""

    value: Value
    """None: the site says that it does not know."""
    timestamp_ms: int
    is_historical: bool


def judged(metric: Metric, declaration: MetricDeclaration, *, at_ms: int, latest_ms: int) -> MetricValue:
    """Return a metric's value when type, range and time fit its declaration; raise the named error otherwise."""
    timestamp_ms = at_ms if metric.timestamp_ms is None else metric.timestamp_ms
    if timestamp_ms > latest_ms:
        raise TimestampInFuture(f"{declaration.name}: timestamp is {timestamp_ms} ms, accepted: up to {latest_ms}")
    kind = declaration.type
    try:
        value = typed_value(metric, kind)
    except MetricTypeMismatch as error:
        raise MetricTypeMismatch(f"{declaration.name}: {error}") from None
    if value is None:
        return MetricValue(None, timestamp_ms, metric.is_historical)
    low = declaration.low
    if low is not None:
        high = declaration.high
        # Not-a-number compares false with everything and is refused here too.
        if not low <= value <= high:  # type: ignore[operator]
            raise ValueOutOfRange(f"{declaration.name} is {value!r}, accepted: {low} to {high}")
    elif kind is MetricType.STRING:
        _judge_text(value, declaration)
    elif kind is MetricType.DATETIME and value > latest_ms:  # type: ignore[operator]
        raise TimestampInFuture(f"{declaration.name} is {value!r} ms, accepted: up to {latest_ms}")
    return MetricValue(value, timestamp_ms, metric.is_historical)


def _judge_text(value: Value, declaration: MetricDeclaration) -> None:
    text = str(value)
    if declaration.choices:
        if text not in declaration.choices:
            raise ValueOutOfRange(f"{declaration.name} is {text[:80]!r}, accepted: {', '.join(declaration.choices)}")
    elif declaration.names:
        if not NAMES_TEXT.match(text):
            accepted = "up to 200 of a-z 0-9 _ : , and blanks"
            raise ValueOutOfRange(f"{declaration.name} is {text[:80]!r}, accepted: {accepted}")
    elif len(text) > MAX_TEXT_CHARS:
        raise ValueOutOfRange(f"{declaration.name} has {len(text)} characters, accepted: up to {MAX_TEXT_CHARS}")
