"""The API of sites, version 1: who may see what is the registry's decision, object by object."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sites.registry import permissions
from vpp.console import presenters, queries
from vpp.console.serializers import IntervalSerializer, SiteRowSerializer, SiteSerializer
from vpp.openapi import CURSOR, paged
from vpp.pagination import CursorPages


class HasRole(BasePermission):
    """Signed in, active and in one of the roles."""

    message = "your account has no role"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the person has a role."""
        return permissions.role_of(request.user) is not None


class BySiteId(CursorPages):
    """Pages of sites by their id."""

    page_size = 100
    ordering = "site_id"


class ByNewestPeriod(CursorPages):
    """Pages of intervals, the newest period first."""

    page_size = 500
    ordering = ("-starts_at", "-pk")


class SiteList(APIView):
    """The visible sites with their latest values."""

    permission_classes = [HasRole]

    @extend_schema(parameters=[CURSOR], responses=paged(SiteRowSerializer))
    def get(self, request: Request) -> Response:
        """Return one page of sites."""
        at = timezone.now()
        pages = BySiteId()
        rows = permissions.visible_sites(request.user).select_related("live")
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response([queries.live_row(site, at=at) for site in page])


class SiteDetail(APIView):
    """One visible site with its latest values and their age."""

    permission_classes = [HasRole]

    @extend_schema(responses=SiteSerializer)
    def get(self, request: Request, site_id: str) -> Response:
        """Return the site, 404 when it is not visible."""
        site = get_object_or_404(permissions.visible_sites(request.user).select_related("live"), site_id=site_id)
        return Response(presenters.site_json(site, at=timezone.now()))


class SiteIntervals(APIView):
    """The numbered meter intervals of one visible site."""

    permission_classes = [HasRole]

    @extend_schema(parameters=[CURSOR], responses=paged(IntervalSerializer))
    def get(self, request: Request, site_id: str) -> Response:
        """Return one page of intervals, 404 when the site is not visible."""
        site = get_object_or_404(permissions.visible_sites(request.user), site_id=site_id)
        pages = ByNewestPeriod()
        page = pages.paginate_queryset(queries.site_intervals(site=site), request, view=self) or []
        return pages.get_paginated_response([presenters.interval_json(row) for row in page])
