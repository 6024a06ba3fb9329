"""What the market's API answers with; also what its schema says."""

from __future__ import annotations

from rest_framework import serializers

from markets.models import MarketEvent


class ProductSerializer(serializers.Serializer[object]):
    """A row of the catalogue."""

    name = serializers.CharField()
    title = serializers.CharField()
    kind = serializers.CharField()
    currency = serializers.CharField()
    certainty = serializers.CharField(help_text="V read in a primary or cited page, M from memory, U unsure")
    is_settled_live = serializers.BooleanField()


class ObligationSerializer(serializers.Serializer[object]):
    """What the fleet owed or owes."""

    dispatch_id = serializers.CharField()
    program = serializers.CharField(source="program.name")
    product = serializers.CharField(source="program.product")
    power_kw = serializers.FloatField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    status = serializers.CharField()


class RunSerializer(serializers.Serializer[object]):
    """One settlement run; amounts are decimal text."""

    run = serializers.IntegerField()
    basis = serializers.CharField()
    amount = serializers.DecimalField(max_digits=20, decimal_places=6)
    difference = serializers.DecimalField(max_digits=20, decimal_places=6)
    currency = serializers.CharField()
    k_factor = serializers.DecimalField(max_digits=7, decimal_places=6)
    entry_hash = serializers.CharField()
    merkle_root = serializers.CharField()
    settled_at = serializers.DateTimeField()


class LineSerializer(serializers.Serializer[object]):
    """One line of a run."""

    name = serializers.CharField()
    quantity = serializers.DecimalField(max_digits=20, decimal_places=6)
    unit = serializers.CharField()
    amount = serializers.DecimalField(max_digits=20, decimal_places=6)
    rule = serializers.CharField()
    basis = serializers.CharField(help_text="live, or demonstration with how certain the product's row is")


class PartSerializer(serializers.Serializer[object]):
    """What one account got of an asset's money."""

    account = serializers.CharField()
    amount = serializers.DecimalField(max_digits=20, decimal_places=6)


class ShareSerializer(serializers.Serializer[object]):
    """One asset's part of a run, down to the numbered rows that it was computed from."""

    site_id = serializers.CharField()
    contracted_kw = serializers.CharField()
    available_ratio = serializers.CharField()
    k_factor = serializers.CharField()
    delivered_uwh = serializers.IntegerField()
    currency = serializers.CharField()
    parts = PartSerializer(many=True)
    records = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        help_text="chunks of the high-rate record: spans of (first number, last number, revision)",
    )
    intervals = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        help_text="numbered intervals: spans of (first number, last number, revision)",
    )


class EventSerializer(serializers.Serializer[object]):
    """One version of an operator's event, with what was answered and why."""

    id = serializers.IntegerField(source="pk")
    vtn_id = serializers.CharField()
    event_id = serializers.CharField()
    modification_number = serializers.IntegerField()
    program = serializers.CharField(source="program.name", default=None, allow_null=True)
    market_context = serializers.CharField(allow_blank=True)
    operator_status = serializers.CharField(allow_blank=True)
    is_test = serializers.BooleanField()
    received_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField()
    status = serializers.CharField()
    opt_type = serializers.CharField()
    reason = serializers.CharField()
    reason_text = serializers.CharField()
    requested_kw = serializers.FloatField(allow_null=True)
    available_kw = serializers.FloatField()
    content_hash = serializers.CharField(help_text="SHA-256 over what was asked")
    dispatch_ids = serializers.SerializerMethodField(help_text="the obligation that stands on this version")

    def get_dispatch_ids(self, event: MarketEvent) -> list[str]:
        """Return the dispatch ids of the obligations on this version."""
        return [obligation.dispatch_id for obligation in event.obligations.all()]


class LineChangeSerializer(serializers.Serializer[object]):
    """One line in both runs; null where a run has none."""

    name = serializers.CharField()
    unit = serializers.CharField()
    quantity_before = serializers.DecimalField(max_digits=24, decimal_places=6, allow_null=True)
    quantity_now = serializers.DecimalField(max_digits=24, decimal_places=6, allow_null=True)
    amount_before = serializers.DecimalField(max_digits=20, decimal_places=6)
    amount_now = serializers.DecimalField(max_digits=20, decimal_places=6)
    difference = serializers.DecimalField(max_digits=20, decimal_places=6)


class FigureChangeSerializer(serializers.Serializer[object]):
    """One figure as booked in both runs; null where a run does not tell it."""

    name = serializers.CharField()
    before = serializers.JSONField(allow_null=True)
    now = serializers.JSONField(allow_null=True)


class RowChangeSerializer(serializers.Serializer[object]):
    """Consecutive rows of the meter book that the later run took in another revision."""

    kind = serializers.CharField(help_text="records or intervals")
    first = serializers.IntegerField()
    last = serializers.IntegerField()
    revision_before = serializers.IntegerField(allow_null=True)
    revision_now = serializers.IntegerField(allow_null=True)


class AssetChangeSerializer(serializers.Serializer[object]):
    """One asset for which anything differs."""

    site_id = serializers.CharField()
    amount_before = serializers.DecimalField(max_digits=20, decimal_places=6)
    amount_now = serializers.DecimalField(max_digits=20, decimal_places=6)
    difference = serializers.DecimalField(max_digits=20, decimal_places=6)
    figures = FigureChangeSerializer(many=True)
    rows = RowChangeSerializer(many=True)


class DifferenceSerializer(serializers.Serializer[object]):
    """What a run changed against the one before; the lines' differences add up to the amount's, and the assets' too."""

    amount_before = serializers.DecimalField(max_digits=20, decimal_places=6)
    amount_now = serializers.DecimalField(max_digits=20, decimal_places=6)
    difference = serializers.DecimalField(max_digits=20, decimal_places=6)
    lines = LineChangeSerializer(many=True)
    terms = FigureChangeSerializer(many=True)
    fleet = FigureChangeSerializer(many=True)
    assets = AssetChangeSerializer(many=True)


class HolderPartsSerializer(serializers.Serializer[object]):
    """Who has which part of an amount; ``you`` is the owner who asks."""

    you = serializers.DecimalField(max_digits=20, decimal_places=6)
    other_owners = serializers.DecimalField(max_digits=20, decimal_places=6)
    aggregator = serializers.DecimalField(max_digits=20, decimal_places=6)
    not_agreed = serializers.DecimalField(max_digits=20, decimal_places=6)


class AssetTotalSerializer(serializers.Serializer[object]):
    """What the entries of one asset came to in one currency on one basis."""

    site_id = serializers.CharField()
    asset = serializers.CharField()
    basis = serializers.CharField(allow_blank=True)
    is_real_money = serializers.BooleanField(help_text="false: a demonstration, which nobody owes")
    currency = serializers.CharField()
    entries = serializers.IntegerField()
    amount = serializers.DecimalField(max_digits=20, decimal_places=6)
    parts = HolderPartsSerializer()


class AssetEntrySerializer(serializers.Serializer[object]):
    """One entry of the grid-support book about an asset's money."""

    site_id = serializers.CharField()
    asset = serializers.CharField()
    position = serializers.IntegerField()
    entry_hash = serializers.CharField()
    dispatch_id = serializers.CharField()
    is_reversal = serializers.BooleanField()
    run = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    booked_at = serializers.DateTimeField()
    basis = serializers.CharField(allow_blank=True)
    is_real_money = serializers.BooleanField()
    product = serializers.CharField(allow_blank=True)
    currency = serializers.CharField()
    amount = serializers.DecimalField(max_digits=20, decimal_places=6)
    parts = HolderPartsSerializer()


class MonthlyStatementSerializer(serializers.Serializer[object]):
    """An asset owner's month: totals by asset, the rule of the split, and every entry."""

    month = serializers.CharField(help_text="YYYY-MM in UTC, by the delivery's start")
    site_id = serializers.CharField()
    split_rule = serializers.CharField()
    totals = AssetTotalSerializer(many=True)
    entries = AssetEntrySerializer(many=True)


class MonthsSerializer(serializers.Serializer[object]):
    """The months in which deliveries of a site were booked, the newest first."""

    site_id = serializers.CharField()
    months = serializers.ListField(child=serializers.CharField())
