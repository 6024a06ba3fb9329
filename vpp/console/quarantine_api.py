"""The API of quarantines: who is cut off among the visible sites, and a dispatcher's word that ends it."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sites.metering.models import Quarantine
from sites.metering.quarantine import open_quarantines, release
from sites.registry import permissions
from vpp.console.api import HasRole
from vpp.console.serializers import QuarantineSerializer, QuarantinesSerializer

MAX_SHOWN = 1_000


class QuarantineList(APIView):
    """``GET quarantines/``: who is cut off, and by which budget."""

    permission_classes = [HasRole]

    @extend_schema(responses=QuarantinesSerializer)
    def get(self, request: Request) -> Response:
        """Return the open quarantines, the newest first."""
        rows = open_quarantines(
            sites=permissions.visible_sites(request.user), with_strangers=permissions.may_audit(request.user)
        )
        return Response({"results": [quarantine_json(row) for row in rows[:MAX_SHOWN]]})


class QuarantineRelease(APIView):
    """``POST quarantines/<id>/release/``: hear the site again, with full budgets."""

    permission_classes = [HasRole]

    @extend_schema(request=None, responses=QuarantineSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Release one; 403 for who may not act on the fleet."""
        if not permissions.may_operate(request.user):
            raise PermissionDenied("quarantines are ended by a dispatcher")
        row = Quarantine.objects.filter(pk=pk).first()
        if row is None:
            raise Http404(f"quarantine {pk} is not known")
        release(quarantine=row, by=str(request.user), at=timezone.now())
        row.refresh_from_db()
        return Response(quarantine_json(row))


def quarantine_json(row: Quarantine) -> dict[str, Any]:
    """Return one quarantine."""
    return {
        "id": row.pk,
        "site_id": row.site_id,
        "overdrawn": row.reason,
        "started_at": row.started_at.isoformat(),
        "last_at": row.last_at.isoformat(),
        "dropped": row.dropped,
        "ended_at": None if row.ended_at is None else row.ended_at.isoformat(),
        "ended_by": row.ended_by,
    }
