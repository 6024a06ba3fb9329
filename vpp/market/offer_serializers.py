"""What the API of offers takes and answers with; also what its schema says."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from markets.core.offering import MAX_POINTS
from markets.core.products import Basis
from markets.offers.forecast import Forecast
from markets.offers.models import AggregationUnit, Offer
from sites.core.intervals import Interval, IntervalError
from sites.registry.models import SITE_ID
from sites.registry.windows import SiteWindow

MAX_SITES = 10_000
FORECASTS = [forecast.value for forecast in Forecast]


class WindowInput(serializers.Serializer[object]):
    """A half-open period."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Put the period beside its ends; refuse one that is empty or turned round."""
        try:
            attrs["window"] = Interval(attrs["starts_at"], attrs["ends_at"])
        except IntervalError as error:
            raise serializers.ValidationError({"ends_at": [str(error)]}) from None
        return attrs


class HeadroomInput(WindowInput):
    """For which window, and by which forecast."""

    forecast = serializers.ChoiceField(FORECASTS, required=False)


class UnitInput(serializers.Serializer[object]):
    """A new unit."""

    name = serializers.CharField(max_length=64, validators=[SITE_ID])
    program = serializers.CharField(max_length=64)
    grid_zone = serializers.CharField(max_length=16)
    sites = serializers.ListField(child=serializers.CharField(max_length=64), min_length=1, max_length=MAX_SITES)


class UnitSerializer(serializers.Serializer[object]):
    """Sites of one zone that are sold as one."""

    name = serializers.CharField()
    program = serializers.CharField(source="program.name")
    product = serializers.CharField(source="program.product")
    grid_zone = serializers.CharField()
    sites = serializers.SerializerMethodField()
    least_kw = serializers.FloatField(source="product.size.power_kw", help_text="least that may be offered")

    def get_sites(self, unit: AggregationUnit) -> list[str]:
        """Return the sites' ids."""
        return [site.site_id for site in unit.sites.all()]


class HeadroomSerializer(serializers.Serializer[object]):
    """What a unit may offer."""

    gross_kw = serializers.FloatField(help_text="sum(min(headroom, usable energy / duration)) without the margin")
    net_kw = serializers.FloatField(help_text="the same less the dropout margin: the most that may be sold")
    margin = serializers.FloatField()
    forecast = serializers.ChoiceField(FORECASTS)
    shares = serializers.DictField(child=serializers.FloatField(), help_text="site: its part of gross_kw")
    causes = serializers.DictField(child=serializers.CharField(), help_text="site: why nothing of it counts")


class QualificationInput(serializers.Serializer[object]):
    """A settled dispatch as evidence; a recorded test is scored by `manage.py offers qualify`."""

    dispatch_id = serializers.CharField(max_length=100)


class QualificationSerializer(serializers.Serializer[object]):
    """What a unit showed."""

    kind = serializers.CharField()
    reference = serializers.CharField(help_text="dispatch id, or SHA-256 of the record")
    product = serializers.CharField()
    contract_kw = serializers.FloatField()
    score = serializers.DecimalField(max_digits=7, decimal_places=6)
    tested_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class BaselinePoint(serializers.Serializer[object]):
    """A power from an instant on."""

    at = serializers.DateTimeField()
    power_kw = serializers.FloatField(help_text="into the grid positive, without the service")


class BaselineInput(WindowInput):
    """A baseline for a window."""

    points = serializers.ListField(child=BaselinePoint(), min_length=1, max_length=MAX_POINTS)


class BaselineSerializer(serializers.Serializer[object]):
    """One version of a baseline."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    version = serializers.IntegerField()
    body = serializers.CharField(help_text="canonical JSON")
    content_hash = serializers.CharField(help_text="SHA-256 of the body")
    gate_closes_at = serializers.DateTimeField()
    submitted_at = serializers.DateTimeField()


class OfferInput(HeadroomInput):
    """A new offer; without a quantity as many whole kilowatts as can be sold."""

    unit = serializers.CharField(max_length=64)
    quantity_kw = serializers.FloatField(required=False)
    price = serializers.DecimalField(max_digits=14, decimal_places=4, help_text="currency/MW/h")
    basis = serializers.ChoiceField([basis.value for basis in Basis])


class OfferSerializer(serializers.Serializer[object]):
    """An offer with both sums that it was taken from."""

    id = serializers.IntegerField(source="pk")
    unit = serializers.CharField(source="unit.name")
    product = serializers.CharField(source="unit.program.product")
    basis = serializers.CharField()
    forecast = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    quantity_kw = serializers.FloatField()
    gross_kw = serializers.FloatField()
    net_kw = serializers.FloatField()
    margin = serializers.FloatField()
    price = serializers.DecimalField(max_digits=14, decimal_places=4)
    currency = serializers.CharField()
    status = serializers.CharField()
    submitted_at = serializers.DateTimeField()
    dispatch_id = serializers.CharField(source="obligation.dispatch_id", allow_null=True, default=None)
    owed_kw = serializers.FloatField(source="obligation.power_kw", allow_null=True, default=None)


class OfferPageSerializer(serializers.Serializer[object]):
    """One page of offers."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = OfferSerializer(many=True)


class CloseInput(serializers.Serializer[object]):
    """How an open offer ends without an award."""

    status = serializers.ChoiceField([Offer.Status.WITHDRAWN.value, Offer.Status.REJECTED.value])


class AwardInput(serializers.Serializer[object]):
    """What the operator took."""

    award_id = serializers.CharField(max_length=64, validators=[SITE_ID])
    quantity_kw = serializers.FloatField()
    price = serializers.DecimalField(max_digits=14, decimal_places=4, help_text="currency/MW/h")


class AwardSerializer(serializers.Serializer[object]):
    """An award with what it says of recovery, imbalance and penalty."""

    award_id = serializers.CharField()
    quantity_kw = serializers.FloatField()
    price = serializers.DecimalField(max_digits=14, decimal_places=4)
    terms = serializers.JSONField()
    baseline_hash = serializers.CharField()
    awarded_at = serializers.DateTimeField()


class RedeclarationSerializer(serializers.Serializer[object]):
    """A sold quantity that was declared anew."""

    id = serializers.IntegerField(source="pk")
    offer = serializers.IntegerField(source="offer_id")
    dispatch_id = serializers.CharField(source="offer.obligation.dispatch_id")
    number = serializers.IntegerField()
    previous_kw = serializers.FloatField()
    quantity_kw = serializers.FloatField()
    reason = serializers.CharField()
    causes = serializers.DictField(child=serializers.CharField())
    told = serializers.ListField(child=serializers.CharField())
    declared_at = serializers.DateTimeField()


class RedeclarationPageSerializer(serializers.Serializer[object]):
    """One page of redeclarations."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = RedeclarationSerializer(many=True)


class RuleSerializer(serializers.Serializer[object]):
    """A rule in words with its certainty and source."""

    text = serializers.CharField()
    certainty = serializers.CharField(help_text="V read in a primary or cited page, M from memory, U unsure")
    source = serializers.CharField()  # type: ignore[assignment]  # a field of this name


class EligibilitySerializer(serializers.Serializer[object]):
    """Whether a kind of asset may serve some products."""

    asset_kind = serializers.CharField()
    products = serializers.CharField(help_text="a name, or a pattern of names")
    is_let_in = serializers.BooleanField()
    rule = RuleSerializer()


class StackingSerializer(serializers.Serializer[object]):
    """How two products share a site."""

    first = serializers.CharField()
    second = serializers.CharField()
    stacking = serializers.CharField()
    rule = RuleSerializer()


class RulesSerializer(serializers.Serializer[object]):
    """The rules of offers as data; in each list the first row that fits counts."""

    eligibility = EligibilitySerializer(many=True)
    stacking = StackingSerializer(many=True)


class SiteWindowInput(WindowInput):
    """A time in which a site gives no service, or keeps more energy."""

    site_id = serializers.CharField(max_length=64)
    kind = serializers.ChoiceField(SiteWindow.Kind.values)
    reserve_kwh = serializers.FloatField(required=False, allow_null=True, default=None)
    note = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")


class SiteWindowSerializer(serializers.Serializer[object]):
    """An owner's window, with who added it and took it back."""

    id = serializers.IntegerField(source="pk")
    site_id = serializers.CharField(source="site.site_id")
    kind = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    reserve_kwh = serializers.FloatField(allow_null=True)
    note = serializers.CharField()
    withdrawn_at = serializers.DateTimeField(allow_null=True)


class SiteWindowPageSerializer(serializers.Serializer[object]):
    """One page of windows."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = SiteWindowSerializer(many=True)


class SetWindowSerializer(serializers.Serializer[object]):
    """A window that was added or taken back, and how many sold windows were declared anew because of it."""

    window = SiteWindowSerializer()
    redeclared = serializers.IntegerField()
