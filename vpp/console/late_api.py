"""Late data for people and programs: which closed figures metering that came later would change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sites.core.intervals import Interval, IntervalError
from sites.metering.late import LateInterval
from sites.registry import permissions
from vpp.console import late, texts
from vpp.console.api import HasRole
from vpp.console.roles import FLEET_ROLES, page_for
from vpp.console.serializers import LateDataSerializer

LONGEST: Final = timedelta(days=31)
"""Of closed time looked through where nobody asks for another period, and the most that one request looks through."""
PERIOD: Final = [
    OpenApiParameter("from", str, description="ISO 8601 instant with its offset; 31 days before `to` without it"),
    OpenApiParameter("to", str, description="ISO 8601 instant with its offset, exclusive; now without it"),
]


class PeriodRefused(ValueError):
    """A period that cannot be looked through; says what is accepted."""


class LateData(APIView):
    """``GET late-data/?from=…&to=…``: closings of both books that late metering touches."""

    permission_classes = [HasRole]

    @extend_schema(parameters=PERIOD, responses=LateDataSerializer)
    def get(self, request: Request) -> Response:
        """Return them, of the last 31 days by default; 403 for who may not read the fleet's books."""
        if not permissions.may_audit(request.user):
            raise PermissionDenied("the books are read by dispatchers and auditors")
        try:
            period = asked_period(request.query_params, at=timezone.now())
        except PeriodRefused as error:
            raise ValidationError({"from": str(error)}) from None
        return Response({"results": [late_json(row) for row in late.late_data(period=period)]})


@page_for(FLEET_ROLES)
def late_page(request: HttpRequest) -> HttpResponseBase:
    """The same as a page, of the last 31 days by default."""
    try:
        period = asked_period(request.GET, at=timezone.now())
    except PeriodRefused as error:
        return render(request, "console/late.html", {"nav": "books", "error": str(error)}, status=400)
    rows = [late_row(row) for row in late.late_data(period=period)]
    context = {
        "nav": "books",
        "rows": rows,
        "from": texts.instant(period.starts_at),
        "to": texts.instant(period.ends_at),
    }
    return render(request, "console/late.html", context)


def asked_period(asked: Mapping[str, str], *, at: datetime) -> Interval:
    """Return the period that a request names by ``from`` and ``to``; raise PeriodRefused for a bad or a long one."""
    try:
        ends_at = datetime.fromisoformat(asked["to"]) if asked.get("to") else at
        starts_at = datetime.fromisoformat(asked["from"]) if asked.get("from") else ends_at - LONGEST
        period = Interval(starts_at, ends_at)
    except (ValueError, OverflowError, IntervalError) as error:
        raise PeriodRefused(f"{error}, accepted: ISO 8601 instants with their offset, from before to") from None
    if period.duration_s > LONGEST.total_seconds():
        raise PeriodRefused(f"{period.duration_s / 86_400:.1f} days, accepted: up to {LONGEST.days}")
    return period


def late_json(row: late.LateData) -> dict[str, Any]:
    """Return one closing or settlement."""
    return {
        "book": row.book,
        "closed": row.closed,
        "intervals": [_interval_json(interval) for interval in row.intervals],
        "records": [{"site_id": site_id, "number": number} for site_id, number in row.records],
        "entries": [
            {
                "chain": touched.entry.chain,
                "position": touched.entry.position,
                "kind": touched.entry.kind,
                "entry_hash": touched.entry.entry_hash,
                "booked_at": touched.entry.booked_at.isoformat(),
                "figures": [
                    {"name": figure.name, "booked": figure.booked, "now": figure.now} for figure in touched.figures
                ],
            }
            for touched in row.touched
        ],
    }


def _interval_json(interval: LateInterval) -> dict[str, Any]:
    return {
        "site_id": interval.site_id,
        "asset": interval.asset,
        "number": interval.number,
        "revision": interval.revision,
        "starts_at": interval.starts_at.isoformat(),
        "ends_at": interval.ends_at.isoformat(),
        "received_at": interval.received_at.isoformat(),
        "booked_revision": interval.before_revision,
        "booked": interval.before,
        "now": interval.now,
    }


def late_row(row: late.LateData) -> dict[str, Any]:
    """Return one closing or settlement as texts."""
    return {
        "book": row.book,
        "closed": row.closed,
        "intervals": [
            {
                "asset": f"{interval.site_id}/{interval.asset}",
                "number": f"{interval.number:,}",
                "received_at": texts.instant(interval.received_at),
                "starts_at": texts.instant(interval.starts_at),
                "ends_at": texts.instant(interval.ends_at),
                "before": _energies(interval.before, "missing"),
                "now": _energies(interval.now, ""),
            }
            for interval in row.intervals
        ],
        "records": [f"{site_id}/record number {number:,}" for site_id, number in row.records],
        "figures": [
            {
                "chain": touched.entry.chain,
                "position": touched.entry.position,
                "kind": touched.entry.kind.replace("_", " "),
                "hash": touched.entry.entry_hash[:12],
                "name": figure.name,
                "booked": _figure(figure.booked),
                "now": _figure(figure.now),
            }
            for touched in row.touched
            for figure in touched.figures
        ],
    }


def _energies(values: Mapping[str, int] | None, missing: str) -> str:
    if values is None:
        return missing
    return ", ".join(f"{name} {value:,}" for name, value in values.items() if value) or "nothing"


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
