"""Reads of the market, version 1: the fleet's for who reads the market, an asset's for who may see its site."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import Http404
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from markets import queries
from markets.core.lines import lines_of
from markets.core.products import PRODUCTS
from markets.models import Obligation
from markets.settled_shares import shares_of
from sites.registry import permissions
from vpp.console.api import HasRole
from vpp.market.serializers import (
    LineSerializer,
    ObligationPageSerializer,
    ObligationSerializer,
    ProductSerializer,
    RunSerializer,
    ShareSerializer,
)
from vpp.pagination import CursorPages


class MarketView(APIView):
    """Signed in and with a role."""

    permission_classes = [HasRole]
    schema = AutoSchema()


class FleetView(MarketView):
    """For dispatchers, auditors and the market desk."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse who may not read the fleet's market."""
        super().initial(request, *args, **kwargs)
        if not permissions.may_read_market(request.user):
            raise PermissionDenied("the fleet's market is read by dispatchers, auditors and the market desk")


class ByNewestStart(CursorPages):
    """Pages of obligations, the newest start first."""

    ordering = ("-starts_at", "-pk")


class Products(MarketView):
    """The catalogue."""

    @extend_schema(responses=ProductSerializer(many=True))
    def get(self, _request: Request) -> Response:
        """Return the newest row of each product."""
        return Response(ProductSerializer(PRODUCTS.values(), many=True).data)


class Obligations(FleetView):
    """What the fleet owed and owes."""

    @extend_schema(responses=ObligationPageSerializer)
    def get(self, request: Request) -> Response:
        """Return one page, the newest start first."""
        pages = ByNewestStart()
        rows = Obligation.objects.select_related("program")
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response(ObligationSerializer(page, many=True).data)


class Runs(FleetView):
    """The settlement runs of an obligation; the last one stands."""

    @extend_schema(responses=RunSerializer(many=True))
    def get(self, _request: Request, dispatch_id: str) -> Response:
        """Return them, run by run; 404 for an obligation that is not known."""
        if queries.obligation_named(dispatch_id=dispatch_id) is None:
            raise Http404
        return Response(RunSerializer(queries.statements_of(dispatch_id=dispatch_id), many=True).data)


class Lines(FleetView):
    """The lines of a run: capacity, energy, penalty."""

    @extend_schema(responses=LineSerializer(many=True))
    def get(self, _request: Request, dispatch_id: str, run: int) -> Response:
        """Return them; 404 for a run that is not booked."""
        facts = queries.fleet_entry_facts(dispatch_id=dispatch_id, run=run)
        if facts is None:
            raise Http404
        return Response(LineSerializer([asdict(line) for line in lines_of(facts)], many=True).data)


class Shares(MarketView):
    """The assets' parts of a run, each down to its rows; an owner gets those of the own sites."""

    @extend_schema(responses=ShareSerializer(many=True))
    def get(self, request: Request, dispatch_id: str, run: int) -> Response:
        """Return the visible ones; 404 for a run in which none of one's sites took part."""
        visible = set(permissions.sites_in_settlements(request.user).values_list("site_id", flat=True))
        shares = [share for share in shares_of(dispatch_id=dispatch_id, run=run) if share["site_id"] in visible]
        if not shares:
            raise Http404
        return Response(ShareSerializer(shares, many=True).data)
