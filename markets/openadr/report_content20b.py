"""Reports of OpenADR 2.0b as content: what we offer, what is asked of us, what a report says; pure.

Consumption is positive, as OpenADR has it. A value that is missing is told as not-a-number with its quality, never left
out and never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from lxml import etree
from openleadr import enums

from markets.core.report_orders import FASTEST_S, LONGEST_HISTORY, SLOWEST_S, Asked, ReportRefused, Specifier
from markets.core.reports import Figure, Quantity, Status, Trust
from markets.openadr.vtn20b.reading import EI, PYLD, XCAL
from markets.openadr.vtn20b.writing import duration_text, instant_text
from markets.openadr.vtn20b.xmldsig import OADR

USAGE: Final = "telemetry-usage"
STATUS: Final = "telemetry-status"
HISTORY: Final = "history-usage"
METADATA: Final = "METADATA"
"""Report specifier that asks for the list of our reports."""
_HISTORY_FASTEST_S: Final = 60
"""The meter book's intervals last a minute."""
_STREAM: Final = "urn:ietf:params:xml:ns:icalendar-2.0:stream"
_NAMES: Final = {"oadr": OADR, "ei": EI, "pyld": PYLD, "xcal": XCAL, "strm": _STREAM}

REFUSAL_CODES: Final = {
    "report_unknown": enums.STATUS_CODES.INVALID_ID,
    "report_point_unknown": enums.STATUS_CODES.INVALID_ID,
    "order_id_invalid": enums.STATUS_CODES.INVALID_ID,
    "report_request_unknown": enums.STATUS_CODES.INVALID_ID,
    "report_request_unreadable": enums.STATUS_CODES.INVALID_DATA,
}
"""OpenADR's code for a refusal; any other is a report that is not supported (461)."""

_QUALITY: Final = {
    Trust.GOOD: "Quality Good - Non Specific",
    Trust.PART: "Quality Uncertain - Non Specific",
    Trust.MISSING: "No Quality - No Value",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One rID: a quantity of a resource."""

    quantity: Quantity
    report_type: str
    reading_type: str
    measurement: str
    """``powerReal`` [kW], ``energyReal`` [kWh], or empty for a status."""


_POINTS: Final[dict[str, tuple[str, tuple[Point, ...]]]] = {
    USAGE: (
        "TELEMETRY_USAGE",
        (
            Point(Quantity.POWER, "usage", "Direct Read", "powerReal"),
            Point(Quantity.BASELINE, "baseline", "Direct Read", "powerReal"),
            Point(Quantity.SERVICE, "deltaDemand", "Direct Read", "powerReal"),
            Point(Quantity.UP_AVAILABLE, "upRegulationCapacityAvailable", "Direct Read", "powerReal"),
            Point(Quantity.DOWN_AVAILABLE, "downRegulationCapacityAvailable", "Direct Read", "powerReal"),
            Point(Quantity.STORED_ENERGY, "storedEnergy", "Direct Read", "energyReal"),
        ),
    ),
    STATUS: ("TELEMETRY_STATUS", (Point(Quantity.STATUS, "x-resourceStatus", "x-notApplicable", ""),)),
    HISTORY: (
        "HISTORY_USAGE",
        (
            Point(Quantity.ENERGY, "usage", "Summed", "energyReal"),
            Point(Quantity.MEAN_POWER, "avgDemand", "Mean", "powerReal"),
        ),
    ),
}
REPORT_NAMES: Final = {specifier: name for specifier, (name, _) in _POINTS.items()}
QUANTITIES: Final = {point.quantity for _, points in _POINTS.values() for point in points}


def point_id(resource: str, quantity: Quantity) -> str:
    """Return the rID of a quantity of a resource."""
    return f"{resource}/{quantity.value}"


def parts_of(r_id: str) -> tuple[str, Quantity]:
    """Return the resource and quantity of an rID of ours."""
    resource, _, quantity = r_id.rpartition("/")
    return resource, Quantity(quantity)


def specifiers(resources: Iterable[str]) -> dict[str, Specifier]:
    """Return what may be asked for, by report specifier."""
    names = list(resources)
    found = {}
    for specifier, (_, points) in _POINTS.items():
        is_history = specifier == HISTORY
        found[specifier] = Specifier(
            name=specifier,
            points=frozenset(point_id(name, point.quantity) for name in names for point in points),
            is_history=is_history,
            fastest_s=_HISTORY_FASTEST_S if is_history else FASTEST_S,
            slowest_s=86_400 if is_history else SLOWEST_S,
        )
    return found


def offers(resources: Sequence[tuple[str, str]], *, hertz: int, at: datetime) -> list[dict[str, Any]]:
    """Return the reports of an oadrRegisterReport for (resource, market context) pairs."""
    offered = specifiers(name for name, _ in resources)
    return [
        {
            "report_specifier_id": specifier,
            "report_name": f"METADATA_{name}",
            "report_request_id": "0",
            "created_date_time": at,
            "duration": LONGEST_HISTORY if specifier == HISTORY else timedelta(seconds=SLOWEST_S),
            "report_descriptions": [
                {
                    "r_id": point_id(resource, point.quantity),
                    "report_data_source": {"resource_id": resource},
                    "report_type": point.report_type,
                    "reading_type": point.reading_type,
                    "measurement": _measurement(point.measurement, hertz),
                    "market_context": market_context,
                    "sampling_rate": {
                        "min_period": timedelta(seconds=offered[specifier].fastest_s),
                        "max_period": timedelta(seconds=offered[specifier].slowest_s),
                        "on_change": False,
                    },
                }
                for resource, market_context in resources
                for point in points
            ],
        }
        for specifier, (name, points) in _POINTS.items()
    ]


def _measurement(name: str, hertz: int) -> dict[str, Any] | None:
    if not name:
        return None
    described: dict[str, Any] = {"ns": "power", "name": name, "scale": "k"}
    if name == "energyReal":
        return described | {"description": "RealEnergy", "unit": "Wh"}
    attributes = {"hertz": hertz, "voltage": 400, "ac": True}
    return described | {"description": "RealPower", "unit": "W", "power_attributes": attributes}


def asked_of(raw: Mapping[str, Any]) -> Asked:
    """Return a report request as openleadr read it; raises ReportRefused for one that is not readable."""
    specifier = raw.get("report_specifier")
    if not isinstance(specifier, Mapping):
        raise ReportRefused("report_request_unreadable", "no reportSpecifier")
    wanted = specifier.get("specifier_payloads") or []
    points = [str(one.get("r_id") or "") for one in (wanted if isinstance(wanted, list) else [wanted])]
    interval = specifier.get("report_interval")
    # openleadr leaves the properties in place where it does not unpack them.
    period = interval.get("properties", interval) if isinstance(interval, Mapping) else {}
    start = period.get("dtstart")
    return Asked(
        order_id=str(raw.get("report_request_id") or "").strip(),
        specifier=str(specifier.get("report_specifier_id") or ""),
        points=tuple(points),
        granularity_s=_seconds(specifier.get("granularity"), "granularity") or 0.0,
        back_s=_seconds(specifier.get("report_back_duration"), "reportBackDuration") or 0.0,
        starts_at=start if isinstance(start, datetime) and start.tzinfo is not None else None,
        duration_s=_seconds(period.get("duration"), "reportInterval"),
    )


def _seconds(value: object, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        value = value.get("duration")
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise ReportRefused("report_request_unreadable", f"{name} is {str(value)[:40]!r}, accepted: a duration")
    return value.total_seconds()


@dataclass(frozen=True, slots=True)
class Told:
    """One value of a report."""

    r_id: str
    at: datetime
    """The instant of a sample, or the start of an interval."""
    value: Figure | Status | None
    """None: no sample was taken; told as missing."""
    duration_s: int | None = None


def update_object(
    *,
    request_id: str,
    report_id: str,
    order_id: str,
    specifier: str,
    told: Sequence[Told],
    created_at: datetime,
    ven_id: str,
) -> Any:
    """Return the oadrSignedObject element of an oadrUpdateReport with one report.

    Written here because openleadr's form carries numbers only: no status and no quality.
    """
    signed = etree.Element(f"{{{OADR}}}oadrSignedObject", {f"{{{OADR}}}Id": "oadrSignedObject"}, nsmap=_NAMES)
    update = _child(signed, OADR, "oadrUpdateReport")
    update.set(f"{{{EI}}}schemaVersion", "2.0b")
    _child(update, PYLD, "requestID", request_id)
    report = _child(update, OADR, "oadrReport")
    if told:
        _child(_child(report, XCAL, "dtstart"), XCAL, "date-time", instant_text(min(one.at for one in told)))
        intervals = _child(report, _STREAM, "intervals")
        for one in told:
            _interval(intervals, one)
    _child(report, EI, "eiReportID", report_id)
    _child(report, EI, "reportRequestID", order_id)
    _child(report, EI, "reportSpecifierID", specifier)
    _child(report, EI, "reportName", REPORT_NAMES[specifier])
    _child(report, EI, "createdDateTime", instant_text(created_at))
    _child(update, EI, "venID", ven_id)
    return signed


def _interval(parent: Any, told: Told) -> None:
    interval = _child(parent, EI, "interval")
    _child(_child(interval, XCAL, "dtstart"), XCAL, "date-time", instant_text(told.at))
    if told.duration_s is not None:
        length = duration_text(timedelta(seconds=told.duration_s))
        _child(_child(interval, XCAL, "duration"), XCAL, "duration", length)
    payload = _child(interval, OADR, "oadrReportPayload")
    _child(payload, EI, "rID", told.r_id)
    if isinstance(told.value, Status) and told.value.is_online is not None:
        status = _child(payload, OADR, "oadrPayloadResourceStatus")
        _child(status, OADR, "oadrOnline", "true" if told.value.is_online else "false")
        _child(status, OADR, "oadrManualOverride", "true" if told.value.is_overridden else "false")
        part = told.value.sites < told.value.sites_total
        _child(payload, OADR, "oadrDataQuality", _QUALITY[Trust.PART if part else Trust.GOOD])
        return
    figure = told.value if isinstance(told.value, Figure) else None
    if figure is not None and figure.value is not None:
        _child(payload, EI, "confidence", str(figure.coverage_percent))
        # Nine digits after the point: beyond is the noise of sums.
        _child(_child(payload, EI, "payloadFloat"), EI, "value", repr(round(figure.value, 9) + 0.0))
        _child(payload, OADR, "oadrDataQuality", _QUALITY[figure.trust])
        return
    _child(payload, EI, "confidence", "0")
    _child(_child(payload, EI, "payloadFloat"), EI, "value", "NaN")
    _child(payload, OADR, "oadrDataQuality", _QUALITY[Trust.MISSING])


def _child(parent: Any, namespace: str, name: str, text: str | None = None) -> Any:
    child = etree.SubElement(parent, f"{{{namespace}}}{name}")
    child.text = text
    return child
