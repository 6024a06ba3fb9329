"""Dispatches and assignments as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from sites.core.requests import SiteRequest
from vpp.dispatch.models import SiteAssignment, SiteCommand


class OverDeliverySerializer(serializers.Serializer[Any]):
    """A product's limit on over-delivery, share of the promise, with where it comes from."""

    share = serializers.FloatField()
    reason = serializers.CharField(source="source")
    certainty = serializers.CharField()
    is_published = serializers.BooleanField()


class DispatchSummarySerializer(serializers.Serializer[Any]):
    """One dispatch and how it stands; powers in kW, times in ms."""

    dispatch_id = serializers.CharField()
    product = serializers.CharField()
    status = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    sites = serializers.IntegerField()
    armed = serializers.IntegerField()
    acknowledged = serializers.IntegerField()
    refused = serializers.IntegerField()
    withdrawn = serializers.IntegerField()
    promised_kw = serializers.FloatField()
    armed_kw = serializers.FloatField()
    acknowledged_kw = serializers.FloatField()
    firm_kw = serializers.FloatField()
    upper_kw = serializers.FloatField()
    limit_kw = serializers.FloatField()
    over_delivery = OverDeliverySerializer()
    is_unheard = serializers.BooleanField()
    short_since = serializers.DateTimeField(allow_null=True)
    restored_in_s = serializers.FloatField(allow_null=True)
    arm_ms_p50 = serializers.FloatField(allow_null=True)
    arm_ms_p99 = serializers.FloatField(allow_null=True)
    all_acknowledged_ms = serializers.FloatField(allow_null=True)


class AssignmentSerializer(serializers.ModelSerializer[SiteAssignment]):
    """One site's assignment, with what the site reported of it; the signed bytes stay inside."""

    site_id = serializers.CharField(source="site.site_id")
    # Empty until the site reported; the model's choices do not say that.
    reported_state = serializers.CharField()
    refusal = serializers.CharField()

    class Meta:
        model = SiteAssignment
        fields = [
            "assignment_id",
            "site_id",
            "kind",
            "sequence",
            "power_kw",
            "baseline_kw",
            "content_hash",
            "ends_at",
            "created_at",
            "first_sent_at",
            "last_sent_at",
            "sends",
            "acknowledged_at",
            "reported_at",
            "reported_state",
            "reported_hash",
            "refusal",
            "superseded",
        ]
        read_only_fields = fields


class RequestSerializer(serializers.Serializer[Any]):
    """What somebody asks of a site."""

    request = serializers.ChoiceField(choices=[request.value for request in SiteRequest])


class PendingSerializer(serializers.Serializer[Any]):
    """A command that is not answered yet stands in the way."""

    error = serializers.CharField()
    detail = serializers.CharField()


class CommandSerializer(serializers.ModelSerializer[SiteCommand]):
    """One command with who asked and what the site answered; the signed bytes stay inside."""

    site_id = serializers.CharField(source="site.site_id")
    # Empty until the site answered; the model's choices do not say that.
    answer = serializers.CharField()
    error = serializers.CharField()

    class Meta:
        model = SiteCommand
        fields = [
            "command_id",
            "site_id",
            "sequence",
            "request",
            "issued_by_name",
            "issued_as",
            "issued_at",
            "expires_at",
            "content_hash",
            "first_sent_at",
            "last_sent_at",
            "sends",
            "answered_at",
            "answer",
            "error",
        ]
        read_only_fields = fields
