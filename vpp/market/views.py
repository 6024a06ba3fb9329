"""Reads of the market, version 1: the fleet's for who reads the market, an asset's for who may see its site."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from markets import desk, owner_statements, queries
from markets.core.lines import lines_of
from markets.core.products import PRODUCTS
from markets.models import Obligation
from markets.settled_shares import shares_of
from sites.registry import permissions
from sites.registry.models import Site
from vpp.console.api import HasRole
from vpp.market.serializers import (
    DifferenceSerializer,
    EventSerializer,
    LineSerializer,
    MonthlyStatementSerializer,
    MonthsSerializer,
    ObligationSerializer,
    ProductSerializer,
    RunSerializer,
    ShareSerializer,
)
from vpp.openapi import CURSOR, paged
from vpp.pagination import CursorPages


class MarketView(APIView):
    """Signed in and with a role."""

    permission_classes = [HasRole]


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


class ByNewestReceipt(CursorPages):
    """Pages of events, the newest first."""

    ordering = ("-received_at", "-pk")


class Events(FleetView):
    """Every version of every event that operators sent, with its answer."""

    @extend_schema(parameters=[CURSOR], responses=paged(EventSerializer))
    def get(self, request: Request) -> Response:
        """Return one page, the newest first."""
        pages = ByNewestReceipt()
        page = pages.paginate_queryset(desk.event_versions(), request, view=self) or []
        return pages.get_paginated_response(EventSerializer(page, many=True).data)


class Event(FleetView):
    """One version of one event."""

    @extend_schema(responses=EventSerializer)
    def get(self, _request: Request, pk: int) -> Response:
        """Return it; 404 for one that is not known."""
        return Response(EventSerializer(get_object_or_404(desk.event_versions(), pk=pk)).data)


class Products(MarketView):
    """The catalogue."""

    @extend_schema(responses=ProductSerializer(many=True))
    def get(self, _request: Request) -> Response:
        """Return the newest row of each product."""
        return Response(ProductSerializer(PRODUCTS.values(), many=True).data)


class Obligations(FleetView):
    """What the fleet owed and owes."""

    @extend_schema(parameters=[CURSOR], responses=paged(ObligationSerializer))
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


class Difference(FleetView):
    """What a run changed against the one before: lines, terms, assets, and which rows were revised."""

    @extend_schema(responses=DifferenceSerializer)
    def get(self, _request: Request, dispatch_id: str, run: int) -> Response:
        """Return it; 404 for the first run, and for one that is not booked."""
        found = desk.difference_of(dispatch_id=dispatch_id, run=run)
        if found is None:
            raise Http404
        return Response(DifferenceSerializer(found).data)


class OwnedSiteView(MarketView):
    """For who may read a site's part of settlements: who reads the market, and its owner."""

    def site(self, site_id: str) -> Site:
        """Return the site; 404 for one whose parts are not to be read, as for one that does not exist."""
        found: Site = get_object_or_404(permissions.sites_in_settlements(self.request.user), site_id=site_id)
        return found


class StatementMonths(OwnedSiteView):
    """The months in which deliveries of a site's assets were booked."""

    @extend_schema(responses=MonthsSerializer)
    def get(self, _request: Request, site_id: str) -> Response:
        """Return them, the newest first."""
        site = self.site(site_id)
        months = owner_statements.months_of(sites=Site.objects.filter(pk=site.pk))
        return Response(MonthsSerializer({"site_id": site.site_id, "months": months}).data)


class MonthlyStatement(OwnedSiteView):
    """A site's money in a month: totals by asset, the rule of the split, and every entry as it was booked."""

    @extend_schema(responses=MonthlyStatementSerializer)
    def get(self, request: Request, site_id: str, month: str) -> Response:
        """Return it; 404 for a text that is no month."""
        site = self.site(site_id)
        try:
            period = owner_statements.month_of(month)
        except owner_statements.MonthInvalid as error:
            raise Http404(str(error)) from None
        rows = Site.objects.filter(pk=site.pk)
        entries = list(owner_statements.entries_of(sites=rows, month=period, owner_pk=request.user.pk))
        body = {
            "month": month,
            "site_id": site.site_id,
            "split_rule": owner_statements.SPLIT_RULE,
            "totals": owner_statements.totals_of(entries),
            "entries": entries,
        }
        return Response(MonthlyStatementSerializer(body).data)
