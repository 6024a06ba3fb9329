"""Answers a VEN's message from the state in the database; no sockets here, no clock.

Each handler returns the oadrSignedObject to send, in canonical form. Who the VEN is has been proven before.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from openleadr import enums

from markets.openadr.vtn20b import operations, queries, reports
from markets.openadr.vtn20b.models import EventCopy, QueuedMessage, RequestedReport
from markets.openadr.vtn20b.operations import OptAnswer, Schedule
from markets.openadr.vtn20b.queries import KnownVen
from markets.openadr.vtn20b.reading import (
    Message,
    duration,
    duration_of,
    each,
    instant,
    number,
    own_text,
    text,
    truth,
    whole,
)
from markets.openadr.vtn20b.refusal import INVALID_ID, NOT_ALLOWED, NOT_AUTHORIZED, Refused, ReregistrationWanted
from markets.openadr.vtn20b.reports import Offer, Value
from markets.openadr.vtn20b.writing import response_object, signed_object

MAX_PUSH_URL: Final = 255
_PROFILES: Final = [{"profile_name": "2.0b", "transports": [{"transport_name": "simpleHttp"}]}]


@dataclass(frozen=True, slots=True)
class VtnConfig:
    """What one VTN says of itself; checked when made."""

    vtn_id: str
    poll_s: float = 10.0
    """Poll period asked of VENs [s]."""
    report_every_s: int = 60
    """Telemetry is asked for about this often [s]."""

    def __post_init__(self) -> None:
        # VENs of openleadr answer 452 to a vtnID in lower case.
        if not 0 < len(self.vtn_id) <= 64 or self.vtn_id.islower():
            raise ValueError(f"VPP_OWN_VTN_ID is {self.vtn_id!r}, accepted: 1 to 64 characters with a capital letter")
        if not 0 < self.poll_s <= 86_400:
            raise ValueError(f"VPP_OWN_VTN_POLL_S is {self.poll_s:g}, accepted: above 0 and up to 86400")


Handler = Callable[[VtnConfig, "KnownVen", Message, datetime], bytes]


def answer(config: VtnConfig, ven: KnownVen, message: Message, service: str, at: datetime) -> bytes:
    """Return the answer to a message that came to a service, such as ``EiEvent``; raises Refused by name."""
    found = _HANDLERS.get(message.kind)
    if found is None or found[0] != service:
        accepted = ", ".join(sorted(kind for kind, (name, _) in _HANDLERS.items() if name == service))
        raise Refused("wrong_endpoint", f"{message.kind} at {service}, accepted: {accepted}", code=459)
    if not ven.registration_id and message.kind not in _BEFORE_REGISTRATION:
        raise ReregistrationWanted(ven.ven_id)
    return found[1](config, ven, message, at)


def next_message(config: VtnConfig, ven: KnownVen, request_id: str, at: datetime) -> bytes:
    """Return what waits for a VEN: its events when one is due, else the oldest of its queue, else nothing."""
    if ven.pk in queries.due_vens(at=at):
        queued = operations.next_queued(ven_pk=ven.pk, at=at)
        if queued is None or queued.kind == "oadrDistributeEvent":
            if queued is not None:
                queued.delete()
            return event_list(config, ven, request_id, at)
        return _queued(ven, queued)
    return nothing(ven, request_id)


def event_list(config: VtnConfig, ven: KnownVen, request_id: str, at: datetime, limit: int | None = None) -> bytes:
    """Return the VEN's whole list of events, also when it is empty: an absent one is cancelled by that."""
    copies = operations.given_events(ven_pk=ven.pk, at=at, limit=limit)
    return signed_object(
        "oadrDistributeEvent",
        response=_good(request_id),
        request_id=f"E-{secrets.token_hex(8)}",
        vtn_id=config.vtn_id,
        events=[_event(copy, ven, at) for copy in copies],
    )


def reregistration(ven_id: str) -> bytes:
    """Return the request to register anew."""
    return signed_object("oadrRequestReregistration", ven_id=ven_id)


def nothing(ven: KnownVen, request_id: str = "") -> bytes:
    """Return the answer that says: good, and nothing waits."""
    return response_object(code=200, description="OK", request_id=request_id, ven_id=ven.ven_id)


def _good(request_id: str) -> dict[str, Any]:
    return {"response_code": 200, "response_description": "OK", "request_id": request_id}


def _event(copy: EventCopy, ven: KnownVen, at: datetime) -> dict[str, Any]:
    event = copy.event
    return {
        "event_descriptor": {
            "event_id": event.event_id,
            "modification_number": event.modification_number,
            "modification_date_time": event.changed_at,
            "priority": event.priority,
            "market_context": event.market_context,
            "created_date_time": event.created_at,
            "event_status": event.status(at),
            "test_event": event.is_test,
            "vtn_comment": event.comment or None,
        },
        "active_period": {
            "dtstart": event.starts_at,
            "duration": event.ends_at - event.starts_at,
            "ramp_up_period": timedelta(seconds=event.ramp_up_s) if event.ramp_up_s else None,
        },
        "event_signals": [
            {
                "signal_name": signal["signal_name"],
                "signal_type": signal["signal_type"],
                "signal_id": f"{event.event_id}-{index}",
                "measurement": _power(signal["scale"]) if signal["scale"] else None,
                "current_value": event.current_value(signal, at),
                "intervals": [
                    {"duration": timedelta(seconds=duration_s), "signal_payload": value}
                    for duration_s, value in signal["intervals"]
                ],
            }
            for index, signal in enumerate(event.signals)
        ],
        "targets": [{"ven_id": ven.ven_id}],
        "response_required": event.response_required,
    }


def _power(scale: str) -> dict[str, Any]:
    return {
        "ns": "power",
        "name": "powerReal",
        "description": "RealPower",
        "unit": "W",
        "scale": scale,
        "power_attributes": {"hertz": 50, "voltage": 230, "ac": True},
    }


def _queued(ven: KnownVen, queued: QueuedMessage) -> bytes:
    content = dict(queued.content)
    if queued.kind == "oadrCreateReport":
        requests = RequestedReport.objects.filter(report_request_id__in=content["report_request_ids"])
        content = {"report_requests": [_report_request(request) for request in requests]}
    elif queued.kind == "oadrCancelReport":
        content["report_to_follow"] = False
    return signed_object(queued.kind, request_id=queued.request_id, ven_id=ven.ven_id, **content)


def _report_request(request: RequestedReport) -> dict[str, Any]:
    interval = None
    if request.starts_at is not None:
        interval = {"dtstart": request.starts_at, "duration": timedelta(seconds=request.duration_s or 0)}
    return {
        "report_request_id": request.report_request_id,
        "report_specifier": {
            "report_specifier_id": request.report_specifier_id,
            "granularity": timedelta(seconds=request.granularity_s),
            "report_back_duration": timedelta(seconds=request.report_back_s),
            "report_interval": interval,
            "specifier_payloads": [{"r_id": r_id, "reading_type": reading} for r_id, reading in request.r_ids],
        },
    }


# --- OadrPoll --------------------------------------------------------------------------------------


def _poll(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    return next_message(config, ven, "", at)


# --- EiRegisterParty -------------------------------------------------------------------------------


def _query_registration(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    return _registered(config, ven, ven.registration_id, message)


def _create_registration(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    name, profile = text(message.body, "oadr:oadrVenName"), text(message.body, "oadr:oadrProfileName")
    if name != ven.ven_name:
        raise Refused("ven_name_not_yours", f"oadrVenName {name!r}", code=NOT_AUTHORIZED)
    if profile != "2.0b" or text(message.body, "oadr:oadrTransportName") != "simpleHttp":
        raise Refused("profile_not_served", "accepted: profile 2.0b over simpleHttp", code=NOT_ALLOWED)
    push_url = ""
    if not truth(message.body, "oadr:oadrHttpPullModel"):
        push_url = text(message.body, "oadr:oadrTransportAddress")
        parts = urlsplit(push_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise Refused("transport_address_invalid", f"{push_url!r}, accepted: https://host[:port][/path]")
    registration_id = operations.register(
        ven_pk=ven.pk,
        push_url=push_url,
        is_report_only=truth(message.body, "oadr:oadrReportOnly"),
        registration_id=text(message.body, "ei:registrationID"),
        at=at,
    )
    return _registered(config, ven, registration_id, message)


def _registered(config: VtnConfig, ven: KnownVen, registration_id: str, message: Message) -> bytes:
    return signed_object(
        "oadrCreatedPartyRegistration",
        response=_good(message.request_id),
        registration_id=registration_id or None,
        ven_id=ven.ven_id if registration_id else None,
        vtn_id=config.vtn_id,
        profiles=_PROFILES,
        requested_oadr_poll_freq=timedelta(seconds=config.poll_s),
    )


def _cancel_registration(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    registration_id = text(message.body, "ei:registrationID")
    operations.cancel_registration(ven_pk=ven.pk, registration_id=registration_id, at=at)
    return signed_object(
        "oadrCanceledPartyRegistration",
        response=_good(message.request_id),
        registration_id=registration_id,
        ven_id=ven.ven_id,
    )


def _left(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    operations.answered(ven_pk=ven.pk, kind="oadrCancelPartyRegistration")
    if text(message.body, "ei:eiResponse/ei:responseCode") == "200":
        operations.cancel_registration(ven_pk=ven.pk, registration_id=ven.registration_id, at=at)
    return nothing(ven)


def _acknowledged(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    return nothing(ven)


# --- EiEvent ---------------------------------------------------------------------------------------


def _request_event(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    limit = whole(message.body, "pyld:eiRequestEvent/pyld:replyLimit", default=0)
    return event_list(config, ven, message.request_id, at, limit or None)


def _created_event(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    answers = [
        OptAnswer(
            event_id=text(one, "ei:qualifiedEventID/ei:eventID"),
            modification_number=whole(one, "ei:qualifiedEventID/ei:modificationNumber"),
            opt_type=text(one, "ei:optType"),
            code=whole(one, "ei:responseCode"),
        )
        for one in each(message.body, "pyld:eiCreatedEvent/ei:eventResponses/ei:eventResponse")
    ]
    operations.keep_answers(ven_pk=ven.pk, answers=answers, at=at)
    return nothing(ven, text(message.body, "pyld:eiCreatedEvent/ei:eiResponse/pyld:requestID"))


# --- EiOpt -----------------------------------------------------------------------------------------


def _create_opt(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    body = message.body
    windows = []
    for one in each(body, "xcal:vavailability/xcal:components/xcal:available/xcal:properties"):
        starts_at = instant(one, "xcal:dtstart/xcal:date-time")
        length = duration(one, "xcal:duration/xcal:duration")
        if starts_at is None or not length:
            raise Refused("opt_window_invalid", "accepted: a start and a duration above 0")
        windows.append((starts_at, starts_at + length))
    number_text = text(body, "ei:qualifiedEventID/ei:modificationNumber")
    schedule = Schedule(
        opt_id=text(body, "ei:optID")[:128],
        opt_type=text(body, "ei:optType"),
        opt_reason=text(body, "ei:optReason")[:64],
        market_context=text(body, "emix:marketContext"),
        event_id=text(body, "ei:qualifiedEventID/ei:eventID"),
        modification_number=whole(body, "ei:qualifiedEventID/ei:modificationNumber") if number_text else None,
        windows=windows,
        targets=[{one.tag.rpartition("}")[2]: own_text(one)} for one in each(body, "ei:eiTarget/*")],
    )
    if not schedule.opt_id:
        raise Refused("opt_unknown", "optID is empty", code=INVALID_ID)
    operations.keep_schedule(ven_pk=ven.pk, schedule=schedule, at=at)
    return signed_object("oadrCreatedOpt", response=_good(message.request_id), opt_id=schedule.opt_id)


def _cancel_opt(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    opt_id = text(message.body, "ei:optID")
    operations.cancel_schedule(ven_pk=ven.pk, opt_id=opt_id, at=at)
    return signed_object("oadrCanceledOpt", response=_good(message.request_id), opt_id=opt_id)


# --- EiReport --------------------------------------------------------------------------------------


def _register_report(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    offers = [_offer(report) for report in each(message.body, "oadr:oadrReport")]
    requests = reports.keep_offers(ven_pk=ven.pk, offers=offers, every_s=config.report_every_s, at=at)
    return signed_object(
        "oadrRegisteredReport",
        response=_good(message.request_id),
        report_requests=[_report_request(request) for request in requests],
        ven_id=ven.ven_id,
    )


def _offer(report: Any) -> Offer:
    specifier_id = text(report, "ei:reportSpecifierID")
    if not 0 < len(specifier_id) <= 128:
        raise Refused("report_specifier_invalid", "accepted: 1 to 128 characters", code=INVALID_ID)
    length = duration(report, "xcal:duration/xcal:duration")
    descriptions = []
    for one in each(report, "oadr:oadrReportDescription"):
        # The quantity is the one child from a group of many names; it alone has units.
        quantity = next((child for child in one if _has_units(child)), None)
        shortest = _period(one, "oadrMinPeriod")
        descriptions.append(
            {
                "r_id": text(one, "ei:rID")[:128],
                "report_type": text(one, "ei:reportType"),
                "reading_type": text(one, "ei:readingType"),
                "resource_id": text(one, "ei:reportDataSource/ei:resourceID"),
                "measurement": "" if quantity is None else quantity.tag.rpartition("}")[2],
                "unit": "" if quantity is None else _child_text(quantity, "itemUnits"),
                "scale": "" if quantity is None else text(quantity, "scale:siScaleCode"),
                "min_period_s": shortest,
                "max_period_s": max(_period(one, "oadrMaxPeriod"), shortest),
            }
        )
    return Offer(
        report_specifier_id=specifier_id,
        report_name=text(report, "ei:reportName").removeprefix("METADATA_")[:64],
        duration_s=int(length.total_seconds()) if length is not None else None,
        descriptions=descriptions,
    )


def _period(description: Any, name: str) -> int:
    raw = text(description, f"oadr:oadrSamplingRate/oadr:{name}")
    return int(duration_of(raw).total_seconds()) if raw else 0


def _has_units(element: Any) -> bool:
    return any(child.tag.rpartition("}")[2] == "itemUnits" for child in element)


def _child_text(element: Any, name: str) -> str:
    return next((own_text(child) for child in element if child.tag.rpartition("}")[2] == name), "")


def _update_report(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    for report in each(message.body, "oadr:oadrReport"):
        begins = instant(report, "xcal:dtstart/xcal:date-time")
        values = []
        for interval in report.iter("{http://docs.oasis-open.org/ns/energyinterop/201110}interval"):
            measured_at = instant(interval, "xcal:dtstart/xcal:date-time") or begins
            if measured_at is None:
                raise Refused("report_interval_invalid", "neither the interval nor the report has a start")
            length = duration(interval, "xcal:duration/xcal:duration")
            length_s = int(length.total_seconds()) if length is not None else None
            values += [_value(one, measured_at, length_s) for one in each(interval, "oadr:oadrReportPayload")]
        reports.store_values(ven_pk=ven.pk, report_request_id=text(report, "ei:reportRequestID"), values=values, at=at)
    return signed_object("oadrUpdatedReport", response=_good(message.request_id), ven_id=ven.ven_id)


def _value(payload: Any, measured_at: datetime, duration_s: int | None) -> Value:
    quality = text(payload, "oadr:oadrDataQuality")[:64]
    status = next(each(payload, "oadr:oadrPayloadResourceStatus"), None)
    if status is not None:
        return Value(
            r_id=text(payload, "ei:rID"), at=measured_at, duration_s=duration_s, quality=quality,
            is_online=truth(status, "oadr:oadrOnline"), is_overridden=truth(status, "oadr:oadrManualOverride"),
        )  # fmt: skip
    kind = "ei:payloadInt" if next(each(payload, "ei:payloadInt"), None) is not None else "ei:payloadFloat"
    raw = text(payload, f"{kind}/ei:value")
    if raw in ("NaN", "INF", "-INF", "+INF"):
        # The schema's floats have them; a missing value is kept as missing.
        return Value(r_id=text(payload, "ei:rID"), at=measured_at, duration_s=duration_s, quality=quality or raw)
    value = number(payload, f"{kind}/ei:value")
    if not math.isfinite(value) or abs(value) > reports.MAX_ABS_VALUE:
        raise Refused("number_invalid", f"value is {raw}, accepted: up to {reports.MAX_ABS_VALUE:g}")
    return Value(r_id=text(payload, "ei:rID"), at=measured_at, duration_s=duration_s, value=value, quality=quality)


def _created_report(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    ids = [own_text(one) for one in each(message.body, "oadr:oadrPendingReports/ei:reportRequestID")]
    request_id = text(message.body, "ei:eiResponse/pyld:requestID")
    reports.confirm_reports(ven_pk=ven.pk, report_request_ids=ids, request_id=request_id)
    return nothing(ven, request_id)


def _canceled_report(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    request_id = text(message.body, "ei:eiResponse/pyld:requestID")
    reports.confirm_cancelled_report(ven_pk=ven.pk, request_id=request_id)
    return nothing(ven, request_id)


def _create_report(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    """A VEN asks us for a report: for the list of ours (METADATA), which it then gets; it is empty."""
    for one in each(message.body, "oadr:oadrReportRequest"):
        specifier_id = text(one, "ei:reportSpecifier/ei:reportSpecifierID")
        if specifier_id != "METADATA":
            detail = f"reportSpecifierID {specifier_id!r}, offered: METADATA"
            raise Refused("report_not_offered", detail, code=int(enums.STATUS_CODES.REPORT_NOT_SUPPORTED))
    reports.offer_ours(ven_pk=ven.pk, at=at)
    return signed_object("oadrCreatedReport", response=_good(message.request_id), pending_reports=[], ven_id=ven.ven_id)


def _registered_report(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    operations.answered(ven_pk=ven.pk, kind="oadrRegisterReport")
    return nothing(ven, text(message.body, "ei:eiResponse/pyld:requestID"))


def _cancel_report(config: VtnConfig, ven: KnownVen, message: Message, at: datetime) -> bytes:
    named = text(message.body, "ei:reportRequestID")
    raise Refused("report_request_unknown", f"reportRequestID {named!r} is none of yours to us", code=INVALID_ID)


_BEFORE_REGISTRATION: Final = frozenset({"oadrQueryRegistration", "oadrCreatePartyRegistration", "oadrResponse"})
_HANDLERS: Final[dict[str, tuple[str, Handler]]] = {
    "oadrPoll": ("OadrPoll", _poll),
    "oadrQueryRegistration": ("EiRegisterParty", _query_registration),
    "oadrCreatePartyRegistration": ("EiRegisterParty", _create_registration),
    "oadrCancelPartyRegistration": ("EiRegisterParty", _cancel_registration),
    "oadrCanceledPartyRegistration": ("EiRegisterParty", _left),
    "oadrResponse": ("EiRegisterParty", _acknowledged),
    "oadrRequestEvent": ("EiEvent", _request_event),
    "oadrCreatedEvent": ("EiEvent", _created_event),
    "oadrCreateOpt": ("EiOpt", _create_opt),
    "oadrCancelOpt": ("EiOpt", _cancel_opt),
    "oadrRegisterReport": ("EiReport", _register_report),
    "oadrRegisteredReport": ("EiReport", _registered_report),
    "oadrCreateReport": ("EiReport", _create_report),
    "oadrCreatedReport": ("EiReport", _created_report),
    "oadrUpdateReport": ("EiReport", _update_report),
    "oadrCancelReport": ("EiReport", _cancel_report),
    "oadrCanceledReport": ("EiReport", _canceled_report),
}
SERVICES: Final = tuple(sorted({service for service, _ in _HANDLERS.values()}))
_PUSHED_TO: Final = {b"oadrDistributeEvent": "EiEvent", b"oadrCancelPartyRegistration": "EiRegisterParty"}


def service_of(content: bytes) -> str:
    """Return the VEN's service that a message of ours is pushed to."""
    kind = content.partition(b"><oadr:")[2].partition(b" ")[0]
    return _PUSHED_TO.get(kind, "EiReport")
