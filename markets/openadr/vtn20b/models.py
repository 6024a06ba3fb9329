"""What our VTN knows of the VENs below it; all of it survives the process."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.validators import MinValueValidator
from django.db import models


class DownstreamVen(models.Model):
    """A VEN that may join, bound to its certificate, and its registration when it has one."""

    class Security(models.TextChoices):
        """How its messages are proven."""

        SIGNED = "signed", "mutual TLS and signed messages"
        TLS = "tls", "mutual TLS"
        OPEN = "open", "plain on loopback, for trials"

    ven_id = models.CharField(max_length=64, unique=True)
    ven_name = models.CharField(max_length=128, unique=True)
    security = models.CharField(max_length=8, choices=Security.choices, default=Security.SIGNED)
    fingerprint = models.CharField(max_length=29, unique=True, null=True)
    """OpenADR's: last 10 bytes of the certificate's SHA-256; None for an open one."""
    certificate_sha256 = models.CharField(max_length=64, blank=True)
    """The whole SHA-256 of its certificate where that was given."""
    registration_id = models.CharField(max_length=64, blank=True)
    """Empty: not registered."""
    registered_at = models.DateTimeField(null=True)
    push_url = models.CharField(max_length=255, blank=True)
    """Where it wants its messages pushed; empty: it polls."""
    is_report_only = models.BooleanField(default=False)
    heard_at = models.DateTimeField(null=True)
    """Its last message, to within seconds."""
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField(db_index=True)
    """A running VTN reads the row again when this moves."""

    class Meta:
        ordering: ClassVar = ["ven_name"]

    def __str__(self) -> str:
        return self.ven_name


class DownstreamEvent(models.Model):
    """An event that we give to VENs below."""

    class Response(models.TextChoices):
        """Whether an answer is wanted."""

        ALWAYS = "always", "always"
        NEVER = "never", "never"

    event_id = models.CharField(max_length=64, unique=True)
    modification_number = models.PositiveIntegerField(default=0)
    market_context = models.CharField(max_length=255)
    priority = models.PositiveIntegerField(default=0)
    """1 is the highest; 0: none, after all others."""
    is_test = models.BooleanField(default=False)
    comment = models.CharField(max_length=255, blank=True)
    response_required = models.CharField(max_length=6, choices=Response.choices, default=Response.ALWAYS)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(db_index=True)
    ramp_up_s = models.PositiveIntegerField(default=0)
    signals = models.JSONField()
    """``[{signal_name, signal_type, unit, scale, intervals: [[duration_s, value], …]}, …]``"""
    is_cancelled = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["starts_at", "event_id"]

    def __str__(self) -> str:
        return f"{self.event_id} modification {self.modification_number}"

    def status(self, at: datetime) -> str:
        """Return the OpenADR status of the event at an instant."""
        if self.is_cancelled:
            return "cancelled"
        if at >= self.ends_at:
            return "completed"
        if at >= self.starts_at:
            return "active"
        return "near" if at >= self.starts_at - timedelta(seconds=self.ramp_up_s) else "far"

    def current_value(self, signal: dict[str, Any], at: datetime) -> float:
        """Return the value of a signal that holds at an instant; 0 outside its time (rule 14)."""
        begins = self.starts_at
        if self.status(at) == "active":
            for duration_s, value in signal["intervals"]:
                ends = begins + timedelta(seconds=duration_s)
                if begins <= at < ends:
                    return float(value)
                begins = ends
        return 0.0


class EventCopy(models.Model):
    """One VEN's copy of an event: what it was sent, and what it answered."""

    event = models.ForeignKey(DownstreamEvent, on_delete=models.CASCADE, related_name="copies")
    ven = models.ForeignKey(DownstreamVen, on_delete=models.CASCADE, related_name="copies")
    is_due = models.BooleanField(default=True)
    """To be sent: never sent in this modification, or sent and not answered."""
    sent_modification = models.PositiveIntegerField(null=True)
    sent_at = models.DateTimeField(null=True)
    opt_type = models.CharField(max_length=6, blank=True)
    """``optIn``, ``optOut``; empty: no answer yet."""
    opt_code = models.PositiveIntegerField(null=True)
    """The response code beside it: 460 with optIn is no acceptance."""
    opt_modification = models.PositiveIntegerField(null=True)
    opted_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["event", "ven"], name="markets_one_copy_per_ven")]
        indexes: ClassVar = [models.Index(fields=["ven"], condition=models.Q(is_due=True), name="markets_copy_due")]

    def __str__(self) -> str:
        return f"{self.event_id} for {self.ven_id}"

    @property
    def is_accepted(self) -> bool:
        """Tell whether the VEN takes part in the newest modification."""
        current = self.opt_modification == self.event.modification_number
        return current and self.opt_type == "optIn" and self.opt_code == 200


class OptSchedule(models.Model):
    """A VEN's own word on when it takes part (EiOpt)."""

    ven = models.ForeignKey(DownstreamVen, on_delete=models.CASCADE, related_name="opts")
    opt_id = models.CharField(max_length=128)
    opt_type = models.CharField(max_length=6)
    opt_reason = models.CharField(max_length=64)
    market_context = models.CharField(max_length=255, blank=True)
    event_id = models.CharField(max_length=128, blank=True)
    modification_number = models.PositiveIntegerField(null=True)
    windows = models.JSONField()
    """``[[starts_at, ends_at], …]`` as ISO 8601; empty: always."""
    targets = models.JSONField()
    received_at = models.DateTimeField()
    cancelled_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["ven", "opt_id"], name="markets_one_opt_per_id")]

    def __str__(self) -> str:
        return f"{self.opt_id} {self.opt_type}"


class OfferedReport(models.Model):
    """A report that a VEN can make, as it registered it."""

    ven = models.ForeignKey(DownstreamVen, on_delete=models.CASCADE, related_name="offered_reports")
    report_specifier_id = models.CharField(max_length=128)
    report_name = models.CharField(max_length=64)
    """Without METADATA_."""
    duration_s = models.PositiveIntegerField(null=True)
    descriptions = models.JSONField()
    """``[{r_id, report_type, reading_type, resource_id, measurement, unit, scale, min_period_s, max_period_s}, …]``"""
    registered_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["ven", "report_specifier_id"], name="markets_one_offer_per_specifier")
        ]

    def __str__(self) -> str:
        return f"{self.report_name} {self.report_specifier_id}"


class RequestedReport(models.Model):
    """A report that we asked a VEN for; its updates find their way by the request's id, after a restart too."""

    class State(models.TextChoices):
        """Where it stands."""

        REQUESTED = "requested", "asked for"
        CREATED = "created", "confirmed by the VEN"
        CANCELLING = "cancelling", "to be ended"
        CANCELLED = "cancelled", "ended"
        REPLACED = "replaced", "the VEN registered its reports anew"

    ven = models.ForeignKey(DownstreamVen, on_delete=models.CASCADE, related_name="requested_reports")
    report_request_id = models.CharField(max_length=64, unique=True)
    report_specifier_id = models.CharField(max_length=128)
    report_name = models.CharField(max_length=64)
    r_ids = models.JSONField()
    granularity_s = models.PositiveIntegerField()
    report_back_s = models.PositiveIntegerField(validators=[MinValueValidator(0)])
    starts_at = models.DateTimeField(null=True)
    """Of a history; None: from now on."""
    duration_s = models.PositiveIntegerField(null=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.REQUESTED)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.report_request_id


class ReportedValue(models.Model):
    """One value that a VEN reported."""

    request = models.ForeignKey(RequestedReport, on_delete=models.CASCADE, related_name="values")
    r_id = models.CharField(max_length=128)
    at = models.DateTimeField()
    duration_s = models.PositiveIntegerField(null=True)
    value = models.FloatField(null=True)
    is_online = models.BooleanField(null=True)
    """Of a status report."""
    is_overridden = models.BooleanField(null=True)
    """Of a status report: set by hand at the site."""
    quality = models.CharField(max_length=64, blank=True)
    received_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "r_id", "at"], name="markets_one_value_per_instant")
        ]

    def __str__(self) -> str:
        return f"{self.r_id} {self.at}"


class QueuedMessage(models.Model):
    """What a VEN gets at a poll beside its events, kept until it is answered."""

    ven = models.ForeignKey(DownstreamVen, on_delete=models.CASCADE, related_name="queue")
    kind = models.CharField(max_length=40)
    """Such as ``oadrCreateReport``."""
    request_id = models.CharField(max_length=64, unique=True)
    content = models.JSONField()
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    sent_count = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.request_id}"


class UsedNonce(models.Model):
    """A signed message that was taken; the same one again is a replay, after a restart too."""

    digest = models.CharField(max_length=64, primary_key=True)
    """SHA-256 over signer, timestamp and nonce."""
    expires_s = models.FloatField(db_index=True)
    """Unix time after which its timestamp alone refuses it [s]."""

    def __str__(self) -> str:
        return self.digest
