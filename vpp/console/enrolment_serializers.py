"""What the API of enrolment takes and answers with, for its description."""

from __future__ import annotations

from rest_framework import serializers


class EnrolSerializer(serializers.Serializer[object]):
    """A site's first question."""

    site_id = serializers.CharField()
    token = serializers.CharField()
    csr = serializers.CharField(help_text="PKCS #10, PEM")


class RenewSerializer(serializers.Serializer[object]):
    """A site's question for a new certificate, signed by the present key."""

    site_id = serializers.CharField()
    serial = serializers.CharField()
    csr = serializers.CharField(help_text="PKCS #10, PEM")
    signature = serializers.CharField(help_text="base64")


class EnrolmentStandingSerializer(serializers.Serializer[object]):
    """How a site's request stands; with its certificate once it is issued."""

    status = serializers.CharField()
    reason = serializers.CharField(allow_blank=True)
    fingerprint = serializers.CharField()
    certificate = serializers.CharField(required=False)
    broker_ca = serializers.CharField(required=False, allow_blank=True)
    client_id = serializers.CharField(required=False)


class RefusedByNameSerializer(serializers.Serializer[object]):
    """A refusal with its name."""

    error = serializers.CharField()
    detail = serializers.CharField()


class TokenSerializer(serializers.Serializer[object]):
    """A one-time token, shown once."""

    site_id = serializers.CharField()
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class CertificateRequestSerializer(serializers.Serializer[object]):
    """A signing request that waits or was decided."""

    id = serializers.IntegerField()
    site_id = serializers.CharField()
    kind = serializers.CharField()
    status = serializers.CharField()
    fingerprint = serializers.CharField()
    requested_at = serializers.DateTimeField()
    address = serializers.CharField(allow_blank=True)
    decided_by = serializers.CharField(allow_blank=True)
    reason = serializers.CharField(allow_blank=True)


class DecisionSerializer(serializers.Serializer[object]):
    """What a decision needs: the key's fingerprint to approve, a reason to refuse."""

    fingerprint = serializers.CharField(required=False, help_text="first 8 digits or more, as the site shows them")
    reason = serializers.CharField(required=False, allow_blank=True)


class SeenSerializer(serializers.Serializer[object]):
    """Where a suspected clone's session came from."""

    address = serializers.CharField()
    at = serializers.DateTimeField()


class AlarmSerializer(serializers.Serializer[object]):
    """Two sessions speak for one site in turn."""

    id = serializers.IntegerField()
    site_id = serializers.CharField()
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()
    times = serializers.IntegerField()
    evidence = serializers.CharField(allow_blank=True)
    addresses = SeenSerializer(many=True)


class AlarmsSerializer(serializers.Serializer[object]):
    """The open alarms."""

    results = AlarmSerializer(many=True)


class IdentityEventSerializer(serializers.Serializer[object]):
    """One row of the audit of a site's identity."""

    at = serializers.DateTimeField()
    action = serializers.CharField()
    actor = serializers.CharField(allow_blank=True)
    address = serializers.CharField(allow_blank=True)
    detail = serializers.CharField(allow_blank=True)


class RevocationSerializer(serializers.Serializer[object]):
    """Why a site's certificates end."""

    reason = serializers.CharField(max_length=200)


class RevokedSerializer(serializers.Serializer[object]):
    """How many certificates ended."""

    site_id = serializers.CharField()
    revoked = serializers.IntegerField()
