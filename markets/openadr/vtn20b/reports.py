"""Reports of VENs below us: what they offer, what we ask them for, what they report."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from markets.openadr.vtn20b.models import OfferedReport, QueuedMessage, ReportedValue, RequestedReport
from markets.openadr.vtn20b.operations import RequestInvalid, queue_message, ven_named
from markets.openadr.vtn20b.refusal import INVALID_ID, Refused

MAX_ABS_VALUE: Final = 1e12
_TELEMETRY: Final = ("TELEMETRY_USAGE", "TELEMETRY_STATUS")
_EVEN_SECONDS: Final = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Periods that fill a minute or an hour evenly: VENs start their samples by the clock."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One report that a VEN offers."""

    report_specifier_id: str
    report_name: str
    duration_s: int | None
    descriptions: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Value:
    """One reported value."""

    r_id: str
    at: datetime
    value: float | None = None
    duration_s: int | None = None
    is_online: bool | None = None
    is_overridden: bool | None = None
    quality: str = ""


@transaction.atomic
def keep_offers(*, ven_pk: int, offers: Sequence[Offer], every_s: int, at: datetime) -> list[RequestedReport]:
    """Keep what a VEN can report, in place of what it offered before, and ask for its telemetry.

    Requests made before stay readable: what still comes for them is stored where it belongs.
    """
    OfferedReport.objects.filter(ven=ven_pk).delete()
    RequestedReport.objects.filter(
        ven=ven_pk, state__in=[RequestedReport.State.REQUESTED, RequestedReport.State.CREATED]
    ).update(state=RequestedReport.State.REPLACED)
    requests = []
    for offer in offers:
        OfferedReport.objects.update_or_create(
            ven_id=ven_pk,
            report_specifier_id=offer.report_specifier_id,
            defaults={
                "report_name": offer.report_name,
                "duration_s": offer.duration_s,
                "descriptions": offer.descriptions,
                "registered_at": at,
            },
        )
        if offer.report_name in _TELEMETRY:
            granularity_s, r_ids = _sampling(offer.descriptions, every_s)
            if r_ids:
                requests.append(
                    _request(ven_pk, offer.report_specifier_id, offer.report_name, r_ids, granularity_s, at)
                )
    return RequestedReport.objects.bulk_create(requests)


@transaction.atomic
def request_history(
    *, name: str, report_specifier_id: str, starts_at: datetime, duration_s: int, granularity_s: int, at: datetime
) -> RequestedReport:
    """Ask a VEN for a stretch of a history that it offered; raises RequestInvalid."""
    ven = ven_named(name)
    offer = OfferedReport.objects.filter(ven=ven, report_specifier_id=report_specifier_id).first()
    if offer is None:
        offered = ", ".join(ven.offered_reports.values_list("report_specifier_id", flat=True)) or "none"
        raise RequestInvalid(f"report {report_specifier_id!r} is not offered; offered: {offered}")
    r_ids = [[description["r_id"], description["reading_type"]] for description in offer.descriptions]
    request = _request(ven.pk, report_specifier_id, offer.report_name, r_ids, granularity_s, at)
    request.starts_at, request.duration_s, request.report_back_s = starts_at, duration_s, 0
    request.save()
    queue_message(ven.pk, "oadrCreateReport", {"report_request_ids": [request.report_request_id]}, at)
    return request


@transaction.atomic
def cancel_report(*, report_request_id: str, at: datetime) -> None:
    """End a report that we asked for; raises RequestInvalid."""
    request = RequestedReport.objects.select_for_update().filter(report_request_id=report_request_id).first()
    if request is None or request.state not in (RequestedReport.State.REQUESTED, RequestedReport.State.CREATED):
        raise RequestInvalid(f"report request {report_request_id!r} is not in force")
    request.state = RequestedReport.State.CANCELLING
    request.save()
    queue_message(request.ven_id, "oadrCancelReport", {"report_request_id": report_request_id}, at)


@transaction.atomic
def confirm_reports(*, ven_pk: int, report_request_ids: Collection[str], request_id: str) -> None:
    """Note which reports a VEN makes now (oadrCreatedReport)."""
    RequestedReport.objects.filter(
        ven=ven_pk, report_request_id__in=report_request_ids, state=RequestedReport.State.REQUESTED
    ).update(state=RequestedReport.State.CREATED)
    for queued in QueuedMessage.objects.filter(ven=ven_pk, kind="oadrCreateReport"):
        if queued.request_id == request_id or set(queued.content["report_request_ids"]) <= set(report_request_ids):
            queued.delete()


@transaction.atomic
def confirm_cancelled_report(*, ven_pk: int, request_id: str) -> None:
    """Note that a VEN ended the report whose cancellation had this request id."""
    queued = QueuedMessage.objects.filter(ven=ven_pk, kind="oadrCancelReport", request_id=request_id).first()
    if queued is not None:
        RequestedReport.objects.filter(ven=ven_pk, report_request_id=queued.content["report_request_id"]).update(
            state=RequestedReport.State.CANCELLED
        )
        queued.delete()


def offer_ours(*, ven_pk: int, at: datetime) -> None:
    """Queue the list of reports that we make for VENs (an oadrRegisterReport without any: we make none)."""
    queue_message(ven_pk, "oadrRegisterReport", {"reports": []}, at)


@transaction.atomic
def store_values(*, ven_pk: int, report_request_id: str, values: Sequence[Value], at: datetime) -> int:
    """Store what a VEN reported for one request; returns how many values. A repeated instant is replaced."""
    request = RequestedReport.objects.filter(ven=ven_pk, report_request_id=report_request_id).first()
    if request is None:
        raise Refused("report_request_unknown", f"reportRequestID {report_request_id!r} is not yours", code=INVALID_ID)
    known = {r_id for r_id, _ in request.r_ids}
    foreign = sorted({value.r_id for value in values} - known)
    if foreign:
        raise Refused("report_point_unknown", f"rID {foreign[0]!r} was not asked for", code=INVALID_ID)
    rows = {
        (value.r_id, value.at): ReportedValue(
            request=request, r_id=value.r_id, at=value.at, duration_s=value.duration_s, value=value.value,
            is_online=value.is_online, is_overridden=value.is_overridden, quality=value.quality, received_at=at,
        )
        for value in values
    }  # fmt: skip
    ReportedValue.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["request", "r_id", "at"],
        update_fields=["duration_s", "value", "is_online", "is_overridden", "quality", "received_at"],
        batch_size=500,
    )
    if request.duration_s is not None and request.state == RequestedReport.State.REQUESTED:
        RequestedReport.objects.filter(pk=request.pk).update(state=RequestedReport.State.CREATED)
    return len(rows)


def _sampling(descriptions: Sequence[dict[str, Any]], every_s: int) -> tuple[int, list[list[str]]]:
    """Return the period [s] nearest to the wished one that most points can do, and those points."""
    if not descriptions:
        return every_s, []
    low = max(description["min_period_s"] for description in descriptions)
    high = min(description["max_period_s"] for description in descriptions)
    period_s = min(max(every_s, low), high) or every_s
    even = [one for one in _EVEN_SECONDS if low <= one <= high]
    if even:
        period_s = min(even, key=lambda one: (abs(one - period_s), one))
    points = [
        [description["r_id"], description["reading_type"]]
        for description in descriptions
        if description["min_period_s"] <= period_s <= max(description["max_period_s"], 1)
    ]
    return period_s, points


def _request(
    ven_pk: int, specifier_id: str, name: str, r_ids: list[list[str]], granularity_s: int, at: datetime
) -> RequestedReport:
    return RequestedReport(
        ven_id=ven_pk, report_request_id=f"RR-{secrets.token_hex(8)}", report_specifier_id=specifier_id,
        report_name=name, r_ids=r_ids, granularity_s=granularity_s, report_back_s=granularity_s, created_at=at,
    )  # fmt: skip
