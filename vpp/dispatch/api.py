"""Dispatches and their assignments to read, for who reads the market; requests to sites, for who may ask them."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sites.core.requests import SiteRequest
from sites.registry.permissions import may_audit, may_read_market, role_of, visible_sites
from vpp.dispatch import commands, queries
from vpp.dispatch.impact import dispatch_impact
from vpp.dispatch.impact_serializers import DispatchImpactSerializer
from vpp.dispatch.models import Dispatch, SiteAssignment
from vpp.dispatch.serializers import (
    AssignmentSerializer,
    CommandSerializer,
    DispatchSummarySerializer,
    PendingSerializer,
    RequestSerializer,
)
from vpp.openapi import CURSOR, paged
from vpp.pagination import CursorPages


class SeesTheMarket(BasePermission):
    """The whole fleet's commitments concern no single owner."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the user may read the fleet's market."""
        return may_read_market(request.user)


class SeesTheFleet(BasePermission):
    """What each site was told is for those who see every site."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the user sees the whole fleet."""
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

    permission_classes = [SeesTheMarket]

    @extend_schema(parameters=[CURSOR], responses=paged(DispatchSummarySerializer))
    def get(self, request: Request) -> Response:
        """Return one page."""
        pages = DispatchPages()
        page = pages.paginate_queryset(Dispatch.objects.all(), request, view=self) or []
        at = timezone.now()
        summaries = [queries.dispatch_summary(dispatch_id=row.dispatch_id, at=at) for row in page]
        return pages.get_paginated_response(DispatchSummarySerializer(summaries, many=True).data)


class DispatchDetail(APIView):
    """``GET dispatches/<dispatch_id>/``: one dispatch with its standing."""

    permission_classes = [SeesTheMarket]

    @extend_schema(responses=DispatchSummarySerializer)
    def get(self, request: Request, dispatch_id: str) -> Response:
        """Return it, or 404 naming it."""
        try:
            summary = queries.dispatch_summary(dispatch_id=dispatch_id, at=timezone.now())
        except Dispatch.DoesNotExist as error:
            raise Http404(str(error)) from None
        return Response(DispatchSummarySerializer(summary).data)


class DispatchImpactDetail(APIView):
    """``GET dispatches/<dispatch_id>/impact/``: what it gave, and what others would have taken for the same."""

    permission_classes = [SeesTheMarket]

    @extend_schema(responses=DispatchImpactSerializer)
    def get(self, request: Request, dispatch_id: str) -> Response:
        """Return both, null while it is not settled; 404 naming a dispatch that is not known."""
        if not Dispatch.objects.filter(dispatch_id=dispatch_id).exists():
            raise Http404(f"dispatch {dispatch_id!r} is not known")
        return Response(DispatchImpactSerializer(dispatch_impact(dispatch_id=dispatch_id)).data)


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


class HasRole(BasePermission):
    """Signed in, active and in one of the roles; what may be asked is decided site by site."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the person has a role."""
        return role_of(request.user) is not None


class CommandPages(CursorPages):
    """Newest first."""

    ordering = ("-issued_at", "-pk")
    page_size = 50


class SiteCommands(APIView):
    """``GET``, ``POST sites/<site_id>/commands/``: a site's commands with their answers, and a further one."""

    permission_classes = [HasRole]

    @extend_schema(parameters=[CURSOR], responses=paged(CommandSerializer))
    def get(self, request: Request, site_id: str) -> Response:
        """Return one page of the trail, 404 when the site is not visible."""
        site = get_object_or_404(visible_sites(request.user), site_id=site_id)
        pages = CommandPages()
        page = pages.paginate_queryset(commands.site_commands(site=site), request, view=self) or []
        return pages.get_paginated_response(CommandSerializer(page, many=True).data)

    @extend_schema(request=RequestSerializer, responses={201: CommandSerializer, 409: PendingSerializer})
    def post(self, request: Request, site_id: str) -> Response:
        """Issue ``{"request": NAME}``: 201 with the command; 403 without the right, 409 while one is unanswered."""
        site = get_object_or_404(visible_sites(request.user), site_id=site_id)
        asked = RequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            command = commands.issue_command(
                site=site,
                request=SiteRequest(asked.validated_data["request"]),
                user=request.user,
                at=timezone.now(),
            )
        except commands.CommandPending as error:
            return Response({"error": error.name, "detail": str(error)}, status=status.HTTP_409_CONFLICT)
        return Response(CommandSerializer(command).data, status=status.HTTP_201_CREATED)
