"""The API of owners' windows, version 1: a site's own opt-out, maintenance and higher reserve."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from markets.offers import operations
from sites.registry import permissions
from sites.registry.models import Site
from sites.registry.windows import SiteWindow, WindowRefused
from vpp.market.offer_serializers import (
    SetWindowSerializer,
    SiteWindowInput,
    SiteWindowPageSerializer,
    SiteWindowSerializer,
)
from vpp.market.offer_views import ByNewest, Refused, body_of
from vpp.market.views import MarketView


class WindowView(MarketView):
    """Sites that a person may see; written where it may keep them out."""

    def handle_exception(self, exc: Exception) -> Response:
        """Answer a window that cannot stand with 409 and its reason."""
        return super().handle_exception(Refused(str(exc)) if isinstance(exc, WindowRefused) else exc)

    def writable_site(self, request: Request, **named: Any) -> Site:
        """Return a visible site; 404 for another, 403 where the person may not keep it out."""
        site = get_object_or_404(permissions.visible_sites(request.user), **named)
        if not permissions.may_set_windows(request.user, site):
            raise PermissionDenied("a site is kept out by its owner or a dispatcher")
        return site


class SiteWindows(WindowView):
    """The windows of the visible sites."""

    @extend_schema(responses=SiteWindowPageSerializer)
    def get(self, request: Request) -> Response:
        """Return one page, the newest first."""
        pages = ByNewest()
        rows = SiteWindow.objects.select_related("site").filter(site__in=permissions.visible_sites(request.user))
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response(SiteWindowSerializer(page, many=True).data)

    @extend_schema(request=SiteWindowInput, responses={201: SetWindowSerializer})
    def post(self, request: Request) -> Response:
        """Keep a site out of service, or keep more energy at it; what was sold of it is declared anew at once."""
        asked = body_of(SiteWindowInput(data=request.data))
        site = self.writable_site(request, site_id=asked["site_id"])
        window, redeclared = operations.keep_site_out(
            site=site, kind=asked["kind"], window=asked["window"], reserve_kwh=asked["reserve_kwh"],
            note=asked["note"], by=request.user, at=timezone.now(),
        )  # fmt: skip
        answer = SetWindowSerializer({"window": window, "redeclared": len(redeclared)})
        return Response(answer.data, status=status.HTTP_201_CREATED)


class SiteWindowWithdrawal(WindowView):
    """The end of a window before its time."""

    @extend_schema(request=None, responses=SetWindowSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Take it back; what can be kept again is declared at once."""
        held = get_object_or_404(SiteWindow, pk=pk)
        self.writable_site(request, pk=held.site_id)
        window, redeclared = operations.let_site_back(pk=pk, by=request.user, at=timezone.now())
        return Response(SetWindowSerializer({"window": window, "redeclared": len(redeclared)}).data)
