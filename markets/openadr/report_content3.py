"""Reports of OpenADR 3 as content: what an event's reportDescriptors ask for, and the body of a report; pure.

Consumption is positive, as OpenADR has it. A value that is missing has no payload but its DATA_QUALITY, which says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from markets.core.report_orders import Descriptor, PlannedReport, ReportRefused, planned
from markets.core.reports import METERED, Figure, Quantity, Status, Trust
from markets.openadr.ven3.reading import duration, instant, whole

AGGREGATED: Final = "AGGREGATED_REPORT"
"""The specification's name for all resources together."""
REFUSED: Final = "REPORT_REFUSED"
"""Payload type of ours that tells why a report is not made: OpenADR 3 has no word for it, and leaves private types."""
METERED_FROM_S: Final = 60.0
"""The meter book's intervals last a minute [s]."""
MAX_REPORTS: Final = 10_000
"""Reports on one event."""


@dataclass(frozen=True, slots=True)
class PayloadType:
    """What stands behind a report payload type."""

    quantity: Quantity
    units: str
    reading_type: str


TYPES: Final = {
    "READING": PayloadType(Quantity.POWER, "KW", "DIRECT_READ"),
    "USAGE": PayloadType(Quantity.ENERGY, "KWH", "SUMMED"),
    "DEMAND": PayloadType(Quantity.MEAN_POWER, "KW", "MEAN"),
    "BASELINE": PayloadType(Quantity.BASELINE, "KW", "ESTIMATED"),
    "UP_REGULATION_AVAILABLE": PayloadType(Quantity.UP_AVAILABLE, "KW", "DIRECT_READ"),
    "DOWN_REGULATION_AVAILABLE": PayloadType(Quantity.DOWN_AVAILABLE, "KW", "DIRECT_READ"),
    "STORAGE_USABLE_CAPACITY": PayloadType(Quantity.STORAGE_CAPACITY, "KWH", "DIRECT_READ"),
    "STORAGE_CHARGE_LEVEL": PayloadType(Quantity.CHARGE_LEVEL, "PERCENT", "DIRECT_READ"),
    "STORAGE_MAX_DISCHARGE_POWER": PayloadType(Quantity.DISCHARGE_POWER, "KW", "DIRECT_READ"),
    "STORAGE_MAX_CHARGE_POWER": PayloadType(Quantity.CHARGE_POWER, "KW", "DIRECT_READ"),
    "OPERATING_STATE": PayloadType(Quantity.STATUS, "", "DIRECT_READ"),
}
_FACTORS: Final = {"W": ("KW", 1000.0), "MW": ("KW", 0.001), "WH": ("KWH", 1000.0), "MWH": ("KWH", 0.001)}
"""Units that may be asked for in place of ours, and how many of them are one of ours."""
_QUALITY: Final = {Trust.GOOD: "OK", Trust.PART: "ESTIMATED", Trust.MISSING: "MISSING"}
"""OpenADR 3's data quality words, from memory of its definition document; it has none for a part of the sites."""

Values = Mapping[str, Mapping[Quantity, Figure | Status]]
"""Values by resource name."""


@dataclass(frozen=True, slots=True)
class EventReport:
    """One report on an event, as it is to be made."""

    event_id: str
    payload_type: str
    units: str
    is_aggregate: bool
    due_at: datetime
    intervals: tuple[tuple[int, datetime, datetime], ...]
    """Id, start and end of each interval of the event that it holds."""

    @property
    def quantity(self) -> Quantity:
        """What it tells."""
        return TYPES[self.payload_type].quantity

    @property
    def is_metered(self) -> bool:
        """Tell whether it comes from the meter book and not from live values."""
        return self.quantity in METERED

    @property
    def digest(self) -> str:
        """SHA-256 over what is reported: what a changed event leaves as it was is not told twice."""
        spans = [(one, starts.isoformat(), ends.isoformat()) for one, starts, ends in self.intervals]
        content = json.dumps([self.payload_type, self.units, self.is_aggregate, spans])
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A descriptor that no report is made for."""

    event_id: str
    payload_type: str
    refused: ReportRefused

    @property
    def digest(self) -> str:
        """SHA-256 over the refusal."""
        return hashlib.sha256(json.dumps([REFUSED, self.payload_type, str(self.refused)]).encode()).hexdigest()


def reports_on(event: Mapping[str, Any]) -> list[EventReport | Refusal]:
    """Return the reports that an event's descriptors ask for, and those of them that are refused."""
    raw = event.get("reportDescriptors")
    event_id = str(event.get("id") or "")
    found: list[EventReport | Refusal] = []
    # An event that was emptied is over; there is nothing to say on it.
    if not isinstance(raw, list) or not event.get("intervals"):
        return found
    for one in raw:
        kind = str(one.get("payloadType") or "")[:128] if isinstance(one, Mapping) else ""
        try:
            found += _of_descriptor(event_id, one, event)
        except ReportRefused as refused:
            found.append(Refusal(event_id, kind, refused))
    return found


def _of_descriptor(event_id: str, raw: object, event: Mapping[str, Any]) -> list[EventReport]:
    descriptor, spans = descriptor_of(raw), event_intervals(event)
    kind = TYPES[descriptor.payload_type]
    if kind.quantity in METERED and any((ends - starts).total_seconds() < METERED_FROM_S for _, starts, ends in spans):
        raise ReportRefused("rate_too_fast", f"an interval below {METERED_FROM_S:g} s, accepted: a minute and more")
    plans: list[PlannedReport] = planned(descriptor, [(starts, ends) for _, starts, ends in spans])
    if len(plans) > MAX_REPORTS:
        raise ReportRefused("too_many_reports", f"{len(plans)} on one event, accepted: {MAX_REPORTS}")
    units = descriptor.units or kind.units
    return [
        EventReport(
            event_id, descriptor.payload_type, units, descriptor.is_aggregate, plan.due_at,
            tuple(spans[plan.first : plan.end]),
        )
        for plan in plans
    ]  # fmt: skip


def descriptor_of(raw: object) -> Descriptor:
    """Read a reportDescriptor; raises ReportRefused by name."""
    if not isinstance(raw, Mapping):
        raise ReportRefused("descriptor_invalid", f"a {type(raw).__name__}, accepted: an object")
    payload_type = str(raw.get("payloadType") or "").strip().upper()
    if payload_type not in TYPES:
        raise ReportRefused("payload_type_unknown", f"{payload_type[:64]!r}, accepted: {', '.join(sorted(TYPES))}")
    ours = TYPES[payload_type].units
    units = str(raw.get("units") or ours).strip().upper()
    if units != ours and _FACTORS.get(units, ("",))[0] != ours:
        accepted = ", ".join([ours, *(name for name, (base, _) in _FACTORS.items() if base == ours)])
        raise ReportRefused("units_unsupported", f"{units[:32]!r} for {payload_type}, accepted: {accepted}")
    counts = {}
    for name, default in (("startInterval", -1), ("numIntervals", -1), ("frequency", -1), ("repeat", 1)):
        value = raw.get(name)
        count = default if value is None else whole(value)
        if count is None:
            raise ReportRefused("descriptor_invalid", f"{name} is {str(value)[:40]!r}, accepted: a whole number")
        counts[name] = count
    return Descriptor(
        payload_type=payload_type,
        units=units,
        is_aggregate=raw.get("aggregate") is True,
        start_interval=counts["startInterval"],
        num_intervals=counts["numIntervals"],
        is_historical=raw.get("historical") is not False,
        frequency=counts["frequency"],
        repeat=counts["repeat"],
    )


def event_intervals(event: Mapping[str, Any]) -> list[tuple[int, datetime, datetime]]:
    """Return (id, start, end) of an event's intervals, one after the other where they name no start of their own.

    Raises ReportRefused when a start or a duration is missing, or an end is none that a date can name.
    """
    period = event.get("intervalPeriod")
    period = period if isinstance(period, Mapping) else {}
    begins = instant(period.get("start"))
    if begins is None or begins.year <= 1:
        begins = instant(event.get("createdDateTime"))
    found = []
    for number, raw in enumerate(event.get("intervals") or []):
        own = raw.get("intervalPeriod") if isinstance(raw, Mapping) else None
        own = own if isinstance(own, Mapping) else {}
        own_start = instant(own.get("start"))
        begins = own_start if own_start is not None and own_start.year > 1 else begins
        length = duration(own.get("duration")) or duration(period.get("duration"))
        if begins is None or not length:
            raise ReportRefused("event_interval_unknown", f"interval {number}, accepted: with start and duration")
        try:
            ends = begins + length
        except OverflowError:
            raise ReportRefused(
                "duration_endless", f"interval {number}, accepted: an end that a date can name"
            ) from None
        interval_id = whole(raw.get("id")) if isinstance(raw, Mapping) else None
        found.append((number if interval_id is None else interval_id, begins, ends))
        begins = ends
    return found


def report_body(
    report: EventReport, values: Sequence[Values], *, event: Mapping[str, Any], ven_name: str, version: str
) -> dict[str, Any]:
    """Return the body of a report; ``values`` are those of its intervals, in order."""
    names = list(dict.fromkeys(name for held in values for name in held))
    resources = [
        {
            "resourceName": name,
            "intervals": [
                {
                    "id": interval_id,
                    "intervalPeriod": {"start": _instant_text(starts), "duration": _duration_text(ends - starts)},
                    "payloads": _payloads(report, held.get(name, {}).get(report.quantity)),
                }
                for (interval_id, starts, ends), held in zip(report.intervals, values, strict=True)
            ],
        }
        for name in names
    ]
    described = {"payloadType": report.payload_type, "readingType": TYPES[report.payload_type].reading_type}
    if report.units:
        described["units"] = report.units
    return _body(event, ven_name, version, report.payload_type, resources, [described])


def refusal_body(refusal: Refusal, *, event: Mapping[str, Any], ven_name: str, version: str) -> dict[str, Any]:
    """Return the report that tells why another is not made: the payload type asked for, the name, what is accepted."""
    values = [refusal.payload_type, refusal.refused.name, refusal.refused.detail[:500]]
    interval = {"id": 0, "payloads": [{"type": REFUSED, "values": values}]}
    return _body(event, ven_name, version, REFUSED, [{"resourceName": ven_name, "intervals": [interval]}], [])


def _body(
    event: Mapping[str, Any],
    ven_name: str,
    version: str,
    name: str,
    resources: list[dict[str, Any]],
    described: list[dict[str, Any]],
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "eventID": str(event["id"]), "clientName": ven_name, "reportName": name, "resources": resources,
    }  # fmt: skip
    if described:
        tag = {} if version == "3.0.1" else {"objectType": "REPORT_PAYLOAD_DESCRIPTOR"}
        body["payloadDescriptors"] = [{**tag, **one} for one in described]
    if version == "3.0.1":
        body["programID"] = str(event.get("programID") or "")
    return body


def _payloads(report: EventReport, value: Figure | Status | None) -> list[dict[str, Any]]:
    told: list[float | str] = []
    trust = Trust.MISSING
    if isinstance(value, Status) and value.state is not None:
        told = [value.state.value]
        trust = Trust.GOOD if value.sites == value.sites_total else Trust.PART
    elif isinstance(value, Figure) and value.value is not None:
        factor = _FACTORS[report.units][1] if report.units in _FACTORS else 1.0
        # Nine digits after the point: beyond is the noise of sums.
        told, trust = [round(value.value * factor, 9) + 0.0], value.trust
    quality = {"type": "DATA_QUALITY", "values": [_QUALITY[trust]]}
    return [{"type": report.payload_type, "values": told}, quality] if told else [quality]


def _instant_text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _duration_text(length: timedelta) -> str:
    return f"PT{length.total_seconds():.15g}S"
