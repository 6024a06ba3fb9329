"""A dispatch's impact as JSON: measured figures, then estimates with every parameter behind them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class BandSerializer(serializers.Serializer[Any]):
    """An estimate with its range."""

    low = serializers.FloatField()
    central = serializers.FloatField()
    high = serializers.FloatField()


class ParameterSerializer(serializers.Serializer[Any]):
    """One assumed figure with its source; certainty V, A, M or C."""

    name = serializers.CharField()
    unit = serializers.CharField()
    band = BandSerializer()
    # Every serializer has an attribute of this name for itself; as a declared field it never reaches it.
    source = serializers.CharField()  # type: ignore[assignment]
    certainty = serializers.CharField()


class ServiceSerializer(serializers.Serializer[Any]):
    """What every alternative is asked for."""

    power_kw = serializers.FloatField()
    energy_kwh = serializers.FloatField()
    window_h = serializers.FloatField()
    gives = serializers.BooleanField()


class CounterfactualSerializer(serializers.Serializer[Any]):
    """What one kind of plant would have taken."""

    kind = serializers.CharField()
    title = serializers.CharField()
    units = BandSerializer()
    units_name = serializers.CharField()
    ready_min = BandSerializer()
    fuel = BandSerializer()
    fuel_unit = serializers.CharField()
    kg_co2e = BandSerializer()
    cost_usd = BandSerializer()
    statement = serializers.CharField()
    parameters = ParameterSerializer(many=True)


class AlternativeSerializer(serializers.Serializer[Any]):
    """One alternative, and what the fleet avoided against it; negative: it caused more."""

    counterfactual = CounterfactualSerializer()
    avoided_kg_co2e = BandSerializer()


class ImpactStatementSerializer(serializers.Serializer[Any]):
    """Estimates side by side; in no book."""

    service = ServiceSerializer()
    fleet_kg_co2e = BandSerializer()
    fleet_parameters = ParameterSerializer(many=True)
    alternatives = AlternativeSerializer(many=True)
    left_out = serializers.ListField(child=serializers.CharField())
    note = serializers.CharField()


class DeliveredSerializer(serializers.Serializer[Any]):
    """What the books say that a dispatch gave."""

    product = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    promised_kw = serializers.FloatField()
    energy_kwh = serializers.FloatField()
    worst_10s_kw = serializers.FloatField(allow_null=True)
    worst_10s_due_kw = serializers.FloatField(allow_null=True)
    k_factor = serializers.DecimalField(max_digits=7, decimal_places=6)
    response_ms = serializers.IntegerField(allow_null=True)
    amount = serializers.DecimalField(max_digits=20, decimal_places=6)
    currency = serializers.CharField()
    basis = serializers.CharField()
    run = serializers.IntegerField()
    service_kg_co2e = serializers.FloatField(allow_null=True)
    entry_hash = serializers.CharField()


class DispatchImpactSerializer(serializers.Serializer[Any]):
    """Measured and estimated; both null while the dispatch is not settled."""

    dispatch_id = serializers.CharField()
    delivered = DeliveredSerializer(allow_null=True)
    statement = ImpactStatementSerializer(allow_null=True)
