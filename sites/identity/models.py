"""Enrolment tokens, signing requests, identities and their certificates, clone alarms, and the audit of it all."""

from __future__ import annotations

from django.db import models

from sites.registry.models import Site

AUDIT_ADVICE = "an audit row stands as it was written"


class EnrolmentToken(models.Model):
    """A single-use word by which one site may ask for a certificate; only its hash is kept."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="enrolment_tokens")
    token_hash = models.CharField(max_length=64, unique=True)
    """SHA-256 of the token. The token is 256 random bits, so that no slow hash is needed."""
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    issued_by = models.CharField(max_length=150)
    spent_at = models.DateTimeField(null=True)
    withdrawn_at = models.DateTimeField(null=True)
    """A newer token, or a revocation, took its place."""


class SiteIdentity(models.Model):
    """What one enrolment gave a site; its certificates are renewed under it until it is revoked."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="identities")
    identity = models.CharField(max_length=32, unique=True)
    """128 random bits, in each certificate's alternative name; no secret."""
    client_suffix = models.CharField(max_length=32)
    """128 random bits at the end of the site's MQTT client id; known to the site alone."""
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name_plural = "site identities"
        constraints = [
            models.UniqueConstraint(
                fields=["site"], condition=models.Q(ended_at__isnull=True), name="identity_one_live_per_site"
            )
        ]

    @property
    def client_id(self) -> str:
        """The MQTT client id: where the broker cannot bind it to the certificate, nobody can guess it."""
        return f"{self.site.site_id}-{self.client_suffix}"


class SiteCertificate(models.Model):
    """One certificate that was signed for a site."""

    identity = models.ForeignKey(SiteIdentity, on_delete=models.PROTECT, related_name="certificates")
    serial = models.CharField(max_length=40, unique=True)
    """Lower-case hexadecimal digits."""
    fingerprint = models.CharField(max_length=64)
    """SHA-256 of the public key."""
    pem = models.TextField()
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    superseded_at = models.DateTimeField(null=True)
    """A renewal took its place; it is accepted a little longer, so that the site can change over."""
    revoked_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-issued_at", "-pk"]


class CertificateRequest(models.Model):
    """A key that a site wants certified, by a token or by its present certificate."""

    class Status(models.TextChoices):
        """Where it stands."""

        PENDING = "pending", "waits for an operator"
        APPROVED = "approved", "approved, waits for its signature"
        ISSUED = "issued", "certificate issued"
        REFUSED = "refused", "refused"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="certificate_requests")
    token = models.OneToOneField(EnrolmentToken, on_delete=models.PROTECT, null=True, related_name="request")
    renews = models.OneToOneField(SiteCertificate, on_delete=models.PROTECT, null=True, related_name="renewal")
    csr = models.TextField()
    fingerprint = models.CharField(max_length=64, unique=True)
    """SHA-256 of the public key; a key is certified once."""
    requested_at = models.DateTimeField()
    address = models.CharField(max_length=45)
    """Where the request came from."""
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.PENDING)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=200, blank=True)
    certificate = models.OneToOneField(SiteCertificate, on_delete=models.PROTECT, null=True, related_name="request")

    class Meta:
        ordering = ["-requested_at", "-pk"]


class CloneAlarm(models.Model):
    """Two sessions spoke for one site in turn: its key is in two places, or a device restarts its counter."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="clone_alarms")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    times = models.PositiveIntegerField(default=1)
    evidence = models.CharField(max_length=300)
    """What was last seen."""
    addresses = models.JSONField(default=list)
    """[address, instant] of sessions about that time, as far as the broker tells; empty: it told nothing."""
    looked_at = models.DateTimeField(null=True)
    """When the broker was last asked for them."""
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-last_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["site"], condition=models.Q(closed_at__isnull=True), name="identity_one_open_alarm_per_site"
            )
        ]


class IdentityEvent(models.Model):
    """One step of a site's enrolment, never changed or deleted: who did what to whom, and from where."""

    at = models.DateTimeField()
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="identity_events")
    action = models.CharField(max_length=40)
    actor = models.CharField(max_length=150)
    address = models.CharField(max_length=45, blank=True)
    detail = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["site", "-at"], name="identity_event_of_site")]
