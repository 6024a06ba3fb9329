"""The API from offer to award, version 1: read by who reads the fleet's market, written by who may trade."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from markets.core import eligibility, stacking
from markets.core.offering import OfferRefused
from markets.core.products import Basis, ProductError
from markets.models import Program
from markets.offers import operations, queries
from markets.offers.forecast import Forecast
from markets.offers.models import AggregationUnit, Offer, Redeclaration
from sites.registry import permissions
from vpp.market.offer_serializers import (
    AwardInput,
    AwardSerializer,
    BaselineInput,
    BaselineSerializer,
    CloseInput,
    HeadroomInput,
    HeadroomSerializer,
    OfferInput,
    OfferPageSerializer,
    OfferSerializer,
    QualificationInput,
    QualificationSerializer,
    RedeclarationPageSerializer,
    RedeclarationSerializer,
    RulesSerializer,
    UnitInput,
    UnitSerializer,
)
from vpp.market.views import FleetView
from vpp.pagination import CursorPages


class Refused(APIException):
    """Understood and not possible as things stand; the detail says what is accepted."""

    status_code = status.HTTP_409_CONFLICT


class TradingView(FleetView):
    """Read by dispatchers, auditors and the market desk; written by dispatchers and the desk."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse to write for who may only read."""
        super().initial(request, *args, **kwargs)
        if request.method == "POST" and not permissions.may_trade(request.user):
            raise PermissionDenied("offers are made by dispatchers and the market desk")

    def handle_exception(self, exc: Exception) -> Response:
        """Answer what the rules refuse with 409 and its reason."""
        refused = isinstance(exc, OfferRefused | ProductError)
        return super().handle_exception(Refused(str(exc)) if refused else exc)


class ByNewest(CursorPages):
    """Pages, the newest first."""

    ordering = "-pk"


def body_of(serializer: Any) -> dict[str, Any]:
    """Return the checked body; 400 saying what is wrong."""
    serializer.is_valid(raise_exception=True)
    checked: dict[str, Any] = serializer.validated_data
    return checked


def the_unit(name: str) -> AggregationUnit:
    """Return a unit; 404 for a name that is none."""
    return get_object_or_404(AggregationUnit.objects.select_related("program"), name=name)


def the_offer(pk: int) -> Offer:
    """Return an offer; 404 for a number that is none."""
    return get_object_or_404(Offer.objects.select_related("unit__program", "obligation"), pk=pk)


class Units(TradingView):
    """The units."""

    @extend_schema(responses=UnitSerializer(many=True))
    def get(self, _request: Request) -> Response:
        """Return them all."""
        rows = AggregationUnit.objects.select_related("program").prefetch_related("sites")
        return Response(UnitSerializer(rows, many=True).data)

    @extend_schema(request=UnitInput, responses={201: UnitSerializer})
    def post(self, request: Request) -> Response:
        """Make one; 409 for sites that cannot belong to it."""
        asked = body_of(UnitInput(data=request.data))
        program = Program.objects.filter(name=asked["program"]).first()
        if program is None:
            raise ValidationError({"program": [f"{asked['program']!r} is not set up"]})
        unit = operations.create_unit(
            name=asked["name"], program=program, grid_zone=asked["grid_zone"], site_ids=asked["sites"],
            at=timezone.now(),
        )  # fmt: skip
        return Response(UnitSerializer(unit).data, status=status.HTTP_201_CREATED)


class UnitHeadroom(TradingView):
    """What a unit may offer for a window, with and without the margin."""

    @extend_schema(parameters=[HeadroomInput], responses=HeadroomSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Return both sums and each site's part; 409 for a window that nothing may be offered for."""
        unit = the_unit(name)
        asked = body_of(HeadroomInput(data=request.query_params))
        forecast = Forecast(asked["forecast"]) if "forecast" in asked else None
        found = queries.headroom(unit=unit, window=asked["window"], at=timezone.now(), forecast=forecast)
        return Response(HeadroomSerializer(found).data)


class Qualifications(TradingView):
    """What a unit showed in tests and events."""

    @extend_schema(responses=QualificationSerializer(many=True))
    def get(self, _request: Request, name: str) -> Response:
        """Return all of it, the newest first."""
        return Response(QualificationSerializer(the_unit(name).qualifications.all(), many=True).data)

    @extend_schema(request=QualificationInput, responses={201: QualificationSerializer})
    def post(self, request: Request, name: str) -> Response:
        """Keep a settled dispatch as evidence; 409 where it proves nothing of this unit."""
        asked = body_of(QualificationInput(data=request.data))
        row = operations.qualify_by_dispatch(
            unit=the_unit(name), dispatch_id=asked["dispatch_id"], by=request.user, at=timezone.now()
        )
        return Response(QualificationSerializer(row).data, status=status.HTTP_201_CREATED)


class Baselines(TradingView):
    """A unit's baselines, every version; after the gate none is taken."""

    @extend_schema(responses=BaselineSerializer(many=True))
    def get(self, _request: Request, name: str) -> Response:
        """Return the newest 100 versions."""
        rows = the_unit(name).baselines.order_by("-starts_at", "-version")[:100]
        return Response(BaselineSerializer(rows, many=True).data)

    @extend_schema(request=BaselineInput, responses={201: BaselineSerializer})
    def post(self, request: Request, name: str) -> Response:
        """Keep the next version; 409 after the gate."""
        asked = body_of(BaselineInput(data=request.data))
        points = [(point["at"], point["power_kw"]) for point in asked["points"]]
        row = operations.submit_baseline(
            unit=the_unit(name), window=asked["window"], points=points, by=request.user, at=timezone.now()
        )
        return Response(BaselineSerializer(row).data, status=status.HTTP_201_CREATED)


class Offers(TradingView):
    """The offers."""

    @extend_schema(responses=OfferPageSerializer)
    def get(self, request: Request) -> Response:
        """Return one page, the newest first."""
        pages = ByNewest()
        rows = Offer.objects.select_related("unit__program", "obligation")
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response(OfferSerializer(page, many=True).data)

    @extend_schema(request=OfferInput, responses={201: OfferSerializer})
    def post(self, request: Request) -> Response:
        """Offer a power; 409 saying what can be sold, or which evidence or certainty is missing."""
        asked = body_of(OfferInput(data=request.data))
        unit = AggregationUnit.objects.select_related("program").filter(name=asked["unit"]).first()
        if unit is None:
            raise ValidationError({"unit": [f"{asked['unit']!r} is no unit"]})
        offer = operations.submit_offer(
            unit=unit, window=asked["window"], quantity_kw=asked.get("quantity_kw"), price=asked["price"],
            basis=Basis(asked["basis"]), by=request.user, at=timezone.now(),
            forecast=Forecast(asked["forecast"]) if "forecast" in asked else None,
        )  # fmt: skip
        return Response(OfferSerializer(offer).data, status=status.HTTP_201_CREATED)


class OfferDetail(TradingView):
    """One offer."""

    @extend_schema(responses=OfferSerializer)
    def get(self, _request: Request, pk: int) -> Response:
        """Return it."""
        return Response(OfferSerializer(the_offer(pk)).data)


class OfferClosing(TradingView):
    """The end of an offer without an award."""

    @extend_schema(request=CloseInput, responses=OfferSerializer)
    def post(self, request: Request, pk: int) -> Response:
        """Take it back, or note that it was not taken; 409 for one that is answered."""
        asked = body_of(CloseInput(data=request.data))
        offer = operations.close_offer(offer=the_offer(pk), status=asked["status"], at=timezone.now())
        return Response(OfferSerializer(offer).data)


class Awards(TradingView):
    """What was taken of an offer."""

    @extend_schema(responses=AwardSerializer(many=True))
    def get(self, _request: Request, pk: int) -> Response:
        """Return its awards, the first first."""
        return Response(AwardSerializer(the_offer(pk).awards.all(), many=True).data)

    @extend_schema(request=AwardInput, responses={201: AwardSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Note an award; 409 for more than was offered or than can be kept."""
        asked = body_of(AwardInput(data=request.data))
        award = operations.record_award(
            offer=the_offer(pk), award_id=asked["award_id"], quantity_kw=asked["quantity_kw"], price=asked["price"],
            by=request.user, at=timezone.now(),
        )  # fmt: skip
        return Response(AwardSerializer(award).data, status=status.HTTP_201_CREATED)


class Redeclarations(TradingView):
    """What was declared anew of sold windows."""

    @extend_schema(responses=RedeclarationPageSerializer)
    def get(self, request: Request) -> Response:
        """Return one page, the newest first."""
        pages = ByNewest()
        rows = Redeclaration.objects.select_related("offer__obligation")
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response(RedeclarationSerializer(page, many=True).data)


class Rules(TradingView):
    """Eligibility and stacking as data."""

    @extend_schema(responses=RulesSerializer)
    def get(self, _request: Request) -> Response:
        """Return both tables, what stands before and after them included."""
        rules = {
            "eligibility": [*eligibility.ROWS, eligibility.KEPT_OUT],
            "stacking": [stacking.ONE_CURVE, *stacking.RULES, stacking.APART],
        }
        return Response(RulesSerializer(rules).data)
