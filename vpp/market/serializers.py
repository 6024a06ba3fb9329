"""What the market's API answers with; also what its schema says."""

from __future__ import annotations

from rest_framework import serializers


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


class ObligationPageSerializer(serializers.Serializer[object]):
    """One page of obligations."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = ObligationSerializer(many=True)


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
