"""A baseline for people and for programs: lines of text, and a document for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Any

from markets.core.baselines.method import Adjustment, AdjustmentKind, Baseline, BaselineInterval, Inputs


def baseline_document(baseline: Baseline, inputs: Inputs) -> dict[str, Any]:
    """Return a baseline with the rule behind it; powers in kW with consumption positive, instants in UTC."""
    adjustment = baseline.adjustment
    return {
        "method": baseline.rule.name,
        "title": baseline.rule.title,
        "rule": baseline.rule.text,
        "certainty": baseline.rule.certainty.value,
        "source": baseline.rule.source,
        "sign": "consumption positive; a saving is baseline less measured",
        "zone": str(inputs.calendar.zone),
        "resolution_s": inputs.meter.resolution_s,
        "event": {"starts_at": _utc(inputs.event.starts_at), "ends_at": _utc(inputs.event.ends_at)},
        "intervals": [_interval(row) for row in baseline.intervals],
        "adjustment": None if adjustment is None else _adjustment(adjustment),
        "days_used": [day.isoformat() for day in baseline.days_used],
        "days_excluded": [
            {"day": row.day.isoformat(), "reason": row.reason.value, "detail": row.detail}
            for row in baseline.days_excluded
        ],
        "saving_kwh": _number(baseline.saving_kwh),
        "gap_share": _number(baseline.gap_share),
        "notes": list(baseline.notes),
    }


def baseline_lines(baseline: Baseline, inputs: Inputs) -> Iterator[str]:
    """Yield a baseline as text: rule, days, adjustment, one line for each reading, total."""
    rule, zone = baseline.rule, inputs.calendar.zone
    yield f"{rule.title} [{rule.name}], certainty {rule.certainty.value}"
    yield f"  {rule.text}"
    yield f"  source: {rule.source}"
    yield (
        f"event {_local(inputs.event.starts_at, zone)} to {_local(inputs.event.ends_at, zone)} ({zone}), "
        f"readings of {inputs.meter.resolution_s} s, consumption positive"
    )
    if baseline.days_used:
        yield f"days used ({len(baseline.days_used)}): {', '.join(day.isoformat() for day in baseline.days_used)}"
    for left in baseline.days_excluded:
        yield f"day left out: {left.day.isoformat()} {left.reason.value}{f' ({left.detail})' if left.detail else ''}"
    if baseline.adjustment is not None:
        yield _adjustment_line(baseline.adjustment, zone)
    yield from baseline.notes
    has_limit = any(row.limit_kw is not None for row in baseline.intervals)
    heading = f"{'from':<25} {'baseline kW':>12} {'measured kW':>12} {'saving kW':>12} {'saving kWh':>12}"
    yield f"{heading} {'limit kW':>12} kept" if has_limit else heading
    for row in baseline.intervals:
        figures = (row.baseline_kw, row.measured_kw, row.saving_kw, row.saving_kwh)
        line = f"{_local(row.period.starts_at, zone):<25} {' '.join(_cell(value) for value in figures)}"
        kept = {True: "yes", False: "no", None: "-"}[row.is_kept]
        yield f"{line} {_cell(row.limit_kw)} {kept}" if has_limit else line
    gaps = f", {baseline.gap_share:.1%} of the event without a reading" if baseline.gap_share else ""
    yield f"saving of the event: {baseline.saving_kwh:.3f} kWh{gaps}"


def _interval(row: BaselineInterval) -> dict[str, Any]:
    document: dict[str, Any] = {
        "starts_at": _utc(row.period.starts_at),
        "ends_at": _utc(row.period.ends_at),
        "baseline_kw": _number(row.baseline_kw),
        "measured_kw": _number(row.measured_kw),
        "saving_kw": _number(row.saving_kw),
        "saving_kwh": _number(row.saving_kwh),
    }
    if row.limit_kw is not None:
        document |= {"limit_kw": _number(row.limit_kw), "is_kept": row.is_kept}
    return document


def _adjustment(adjustment: Adjustment) -> dict[str, Any]:
    return {
        "kind": adjustment.kind.value,
        "raw": _number(adjustment.raw),
        "applied": _number(adjustment.applied),
        "cap": adjustment.cap,
        "is_capped": adjustment.is_capped,
        "window": {"starts_at": _utc(adjustment.window.starts_at), "ends_at": _utc(adjustment.window.ends_at)},
        "note": adjustment.note,
    }


def _adjustment_line(adjustment: Adjustment, zone: tzinfo) -> str:
    unit = "" if adjustment.kind is AdjustmentKind.RATIO else " kW"
    raw = "unknown" if adjustment.raw is None else f"{adjustment.raw:.4f}{unit}"
    cap = "no cap" if adjustment.cap is None else f"cap {1 - adjustment.cap:.2f} to {1 + adjustment.cap:.2f}"
    said = f" ({adjustment.note})" if adjustment.note else ""
    return (
        f"adjustment by {adjustment.kind.value}: {raw} measured, {adjustment.applied:.4f}{unit} applied, {cap}; "
        f"{_local(adjustment.window.starts_at, zone)} to {_local(adjustment.window.ends_at, zone)}{said}"
    )


def _utc(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _local(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).isoformat(timespec="seconds")


def _number(value: float | None) -> float | None:
    # Nine digits after the point: beyond is the noise of sums, and -0.0 is nothing.
    return None if value is None else round(value, 9) + 0.0


def _cell(value: float | None) -> str:
    return f"{'-':>12}" if value is None else f"{value + 0.0:>12.3f}"
