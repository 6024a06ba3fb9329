"""Dispatches and their assignments to read: for dispatchers and auditors only."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from django.utils import timezone
from rest_framework.generics import ListAPIView
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sites.registry.permissions import may_audit
from vpp.dispatch import queries
from vpp.dispatch.models import Dispatch, SiteAssignment
from vpp.dispatch.serializers import AssignmentSerializer, DispatchSummarySerializer
from vpp.pagination import CursorPages


class SeesTheFleet(BasePermission):
    """The whole fleet's commitments concern no single owner."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the user may read the fleet's books."""
        return may_audit(request.user)


class DispatchPages(CursorPages):
    """Newest window first."""

    ordering = ("-starts_at", "-pk")
    page_size = 20


class AssignmentPages(CursorPages):
    """In the order they were decided."""

    ordering = "pk"
    page_size = 100


class DispatchList(APIView):
    """``GET dispatches/``: all dispatches with their standing, newest window first, in pages."""

    permission_classes = [SeesTheFleet]

    def get(self, request: Request) -> Response:
        """Return one page."""
        pages = DispatchPages()
        page = pages.paginate_queryset(Dispatch.objects.all(), request, view=self) or []
        at = timezone.now()
        summaries = [queries.dispatch_summary(dispatch_id=row.dispatch_id, at=at) for row in page]
        return pages.get_paginated_response(DispatchSummarySerializer(summaries, many=True).data)


class DispatchDetail(APIView):
    """``GET dispatches/<dispatch_id>/``: one dispatch with its standing."""

    permission_classes = [SeesTheFleet]

    def get(self, request: Request, dispatch_id: str) -> Response:
        """Return it, or 404 naming it."""
        try:
            summary = queries.dispatch_summary(dispatch_id=dispatch_id, at=timezone.now())
        except Dispatch.DoesNotExist as error:
            raise Http404(str(error)) from None
        return Response(DispatchSummarySerializer(summary).data)


class AssignmentList(ListAPIView[SiteAssignment]):
    """``GET dispatches/<dispatch_id>/assignments/``: what each site was asked and said, in pages."""

    permission_classes = [SeesTheFleet]
    serializer_class = AssignmentSerializer
    pagination_class = AssignmentPages

    def get_queryset(self) -> Any:
        """Return all assignments of the dispatch, superseded ones too."""
        dispatch_id = self.kwargs["dispatch_id"]
        if not Dispatch.objects.filter(dispatch_id=dispatch_id).exists():
            raise Http404(f"dispatch {dispatch_id!r} is not known")
        return queries.assignments(dispatch_id=dispatch_id)
