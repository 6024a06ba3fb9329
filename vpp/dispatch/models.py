"""Dispatches, what each site is asked and reports, commands to sites, announced keys, and the leader's lease."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models

from markets.models import Obligation
from sites.core.assignments import AssignmentState, Refusal
from sites.core.intervals import Interval
from sites.core.key_ring import KeyRefusal
from sites.core.requests import RequestRefusal, SiteRequest
from sites.registry.models import Site


class Kind(models.TextChoices):
    """What an assignment asks for. A site holds one of each kind, so that a curve and a stream stand side by side."""

    CURVE = "curve", "a response to the site's own frequency"
    STREAM = "stream", "a share of a fleet-wide setpoint signal"


class Dispatch(models.Model):
    """How the fleet serves one obligation."""

    class Status(models.TextChoices):
        """Where it stands. Whether its window is open is a matter of time, not of status."""

        OPEN = "open", "armed, or being armed"
        CANCELLED = "cancelled", "taken back by the operator"
        LAPSED = "lapsed", "its window has ended"

    dispatch_id = models.CharField(max_length=100, unique=True)
    """Joins the books; the obligation's."""
    kind = models.CharField(max_length=6, choices=Kind.choices, default=Kind.CURVE)
    obligation = models.OneToOneField(Obligation, on_delete=models.PROTECT, related_name="dispatch", null=True)
    """None: a stream that the dispatcher opened, not the market."""
    obligation_revision = models.PositiveIntegerField(default=0)
    """Terms of the obligation that are armed; a higher one there asks for arming anew."""
    product = models.CharField(max_length=64)
    """Name of the response curve, such as ``neso-dc-low``."""
    power_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    """Size owed, in the direction of the curve [kW, >= 0]."""
    armed_kw = models.FloatField(default=0.0)
    """Sum of the shares asked of sites: the size owed plus the margin against dropouts [kW]."""
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    short_since = models.DateTimeField(null=True)
    """Since when firm power has been under the promise, from the decision to arm on; None while it covers it."""
    restored_in_s = models.FloatField(null=True)
    """How long the last such lack took until firm power covered the promise [s]."""

    class Meta:
        ordering = ["-starts_at", "dispatch_id"]
        verbose_name_plural = "dispatches"
        indexes = [models.Index(fields=["status", "ends_at"], name="dispatch_open")]

    def __str__(self) -> str:
        return self.dispatch_id

    @property
    def window(self) -> Interval:
        """The half-open period in which it is owed."""
        return Interval(self.starts_at, self.ends_at)


class SiteAssignment(models.Model):
    """What one site is asked to hold, exactly as signed, and what it reported of it.

    A change is a new row with the site's next sequence; the older one is superseded, and stays what
    the site holds until the newer one is acknowledged.
    """

    Kind = Kind

    dispatch = models.ForeignKey(Dispatch, on_delete=models.PROTECT, related_name="assignments")
    kind = models.CharField(max_length=6, choices=Kind.choices, default=Kind.CURVE)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="assignments")
    assignment_id = models.CharField(max_length=36, unique=True)
    sequence = models.PositiveBigIntegerField()
    """Rises with every change of the site's desired state, from 1."""
    power_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    """Contracted power of this share, in the direction of the curve [kW]; 0 disarms."""
    baseline_kw = models.FloatField()
    """Declared battery power without the service, positive into the bus [kW]."""
    body = models.BinaryField()
    """The bytes that are signed and sent."""
    content_hash = models.CharField(max_length=64, unique=True)
    """SHA-256 over the body: what desired and reported state agree on."""
    ends_at = models.DateTimeField()
    """When it lapses by itself; as in the body."""
    created_at = models.DateTimeField()
    first_sent_at = models.DateTimeField(null=True)
    last_sent_at = models.DateTimeField(null=True)
    sends = models.PositiveIntegerField(default=0)
    acknowledged_at = models.DateTimeField(null=True)
    """When the site's agreeing report reached the gateway, by the gateway's clock."""
    reported_at = models.DateTimeField(null=True)
    reported_state = models.CharField(max_length=8, blank=True, choices=[(s.value, s.value) for s in AssignmentState])
    reported_hash = models.CharField(max_length=64, blank=True)
    """Content hash of the assignment that the site last said it holds."""
    reported_sequence = models.PositiveBigIntegerField(default=0)
    refusal = models.CharField(max_length=20, blank=True, choices=[(r.value, r.value) for r in Refusal])
    """Why the site did not take it; empty while it did not refuse."""
    superseded = models.BooleanField(default=False)
    """A newer row is what the site is asked to hold now."""
    is_replaced = models.BooleanField(default=False)
    """The site has acknowledged a newer row of this kind: it cannot hold this one any more."""

    class Meta:
        ordering = ["dispatch_id", "site_id", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["site", "sequence"], name="dispatch_one_assignment_per_sequence"),
            models.UniqueConstraint(
                fields=["site", "kind"],
                condition=models.Q(superseded=False),
                name="dispatch_one_desired_state_per_kind",
            ),
        ]
        indexes = [
            models.Index(fields=["dispatch", "superseded"], name="dispatch_desired"),
            models.Index(fields=["site", "kind", "sequence"], name="dispatch_site_sequence"),
            models.Index(fields=["dispatch", "site"], condition=models.Q(is_replaced=False), name="dispatch_may_hold"),
        ]

    def __str__(self) -> str:
        return f"{self.site} {self.sequence}"


class SiteCommand(models.Model):
    """One request to a site: who asked for what and when, exactly as signed, and what the site answered.

    Rows are the audit trail: they are not deleted, and who, what and when never change.
    """

    class Answer(models.TextChoices):
        """What the site said."""

        ACCEPTED = "accepted", "taken up"
        REFUSED = "refused", "refused"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="commands")
    command_id = models.CharField(max_length=36, unique=True)
    sequence = models.PositiveBigIntegerField()
    """Rises with every command to the site, from 1."""
    request = models.CharField(max_length=20, choices=[(r.value, r.value) for r in SiteRequest])
    issued_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    issued_by_name = models.CharField(max_length=150)
    """As the person was called then; stays when the account goes."""
    issued_as = models.CharField(max_length=20)
    """The role in which the person asked."""
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    body = models.BinaryField()
    """The bytes that are signed and sent."""
    content_hash = models.CharField(max_length=64, unique=True)
    """SHA-256 over the body: what a command and its answer agree on."""
    first_sent_at = models.DateTimeField(null=True)
    last_sent_at = models.DateTimeField(null=True)
    sends = models.PositiveIntegerField(default=0)
    answered_at = models.DateTimeField(null=True)
    """When the site's answer reached the gateway, by the gateway's clock."""
    answer = models.CharField(max_length=8, blank=True, choices=Answer.choices)
    error = models.CharField(max_length=20, blank=True, choices=[(r.value, r.value) for r in RequestRefusal])
    """Why the site refused; empty while it did not."""
    reported_sequence = models.PositiveBigIntegerField(default=0)
    """Highest sequence that the site said it has answered."""

    class Meta:
        ordering = ["-issued_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["site", "sequence"], name="dispatch_one_command_per_sequence")]
        indexes = [models.Index(fields=["expires_at", "answered_at"], name="dispatch_open_command")]

    def __str__(self) -> str:
        return f"{self.site} {self.request} {self.sequence}"


class Lease(models.Model):
    """The right to act for the fleet, held by one process at a time."""

    name = models.CharField(max_length=40, primary_key=True)
    holder = models.CharField(max_length=100, blank=True)
    """Who has it; empty when given back."""
    token = models.PositiveBigIntegerField(default=0)
    """Rises with every new holder; a write carrying an older one is refused."""
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder or 'nobody'}"


class KeyAnnouncement(models.Model):
    """Keys announced to all sites: which, by whom and when, exactly as the key authority signed it. Append-only."""

    generation = models.PositiveBigIntegerField(unique=True)
    keys = models.TextField()
    """Public keys whose signatures sites take from then on, hexadecimal, comma separated."""
    withdrawn = models.TextField(blank=True)
    """Ids of keys that were taken before."""
    authority = models.CharField(max_length=64)
    """The authority's public key, hexadecimal."""
    announced_by = models.CharField(max_length=150)
    announced_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    envelope = models.BinaryField()
    content_hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-generation"]

    def __str__(self) -> str:
        return f"keys {self.generation}"


class SiteKeys(models.Model):
    """What a site said last of the keys whose signatures it takes."""

    site = models.OneToOneField(Site, on_delete=models.CASCADE, primary_key=True, related_name="keys")
    key_ids = models.CharField(max_length=200, blank=True)
    generation = models.PositiveBigIntegerField(default=0)
    """Of the announcement that it holds; 0: its keys are those of its configuration."""
    held_hash = models.CharField(max_length=64, blank=True)
    refused_hash = models.CharField(max_length=64, blank=True)
    refusal = models.CharField(max_length=20, blank=True, choices=[(r.value, r.value) for r in KeyRefusal])
    reported_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.site} {self.key_ids}"
