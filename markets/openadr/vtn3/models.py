"""What our OpenADR 3 VTN holds: clients, the protocol's objects, who may see them, and what waits to be told."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from markets.openadr.vtn3.kinds import KINDS, Role, Version

EVERYBODY = ""
"""The audience of what has no targets; no target is empty."""


class Client(models.Model):
    """What an OAuth2 client is to this VTN."""

    application = models.OneToOneField(
        "oauth2_provider.Application", on_delete=models.CASCADE, related_name="openadr_client"
    )
    role = models.CharField(max_length=3, choices=[(role.value, role.value) for role in Role])

    def __str__(self) -> str:
        return f"{self.application.name} ({self.role})"


class Object(models.Model):
    """One program, event, report, subscription, ven or resource; both versions of the protocol write and read it."""

    object_id = models.CharField(max_length=36, unique=True)
    kind = models.CharField(max_length=12, choices=[(kind.name, kind.name) for kind in KINDS])
    parent = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="children")
    """An event's program, a report's event, a subscription's program, a resource's ven."""
    client_id = models.CharField(max_length=255, blank=True)
    """OAuth2 client that it belongs to; empty for a ven that no client was named for."""
    name = models.CharField(max_length=128, blank=True)
    version = models.CharField(max_length=5, choices=[(version.value, version.value) for version in Version])
    """In which version it was last written: a subscription is told in this one."""
    content = models.TextField()
    """JSON object of what the client wrote, without targets and identifiers."""
    targets = models.JSONField(default=list)
    """Its own targets, in their order."""
    starts_at = models.DateTimeField(null=True)
    ends_at = models.DateTimeField(null=True)
    """An event's half-open span."""
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["kind", "client_id", "id"], name="vtn3_object_of_client"),
            models.Index(fields=["kind", "ends_at"], name="vtn3_object_active"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "name"], condition=Q(kind__in=["PROGRAM", "VEN"]), name="vtn3_one_object_a_name"
            ),
            models.UniqueConstraint(
                fields=["parent", "name"], condition=Q(kind="RESOURCE"), name="vtn3_one_resource_a_name"
            ),
            models.UniqueConstraint(
                fields=["client_id"], condition=Q(kind="VEN") & ~Q(client_id=""), name="vtn3_one_ven_a_client"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_id}"


class Audience(models.Model):
    """Whom an object concerns: by its targets, an event without any by its program's, or everybody.

    Rows of vens and resources are what their client was granted.
    """

    object = models.ForeignKey(Object, on_delete=models.CASCADE, related_name="audience")
    target = models.CharField(max_length=128, blank=True)

    class Meta:
        indexes = [models.Index(fields=["target", "object"], name="vtn3_audience_target")]
        constraints = [models.UniqueConstraint(fields=["object", "target"], name="vtn3_one_row_a_target")]

    def __str__(self) -> str:
        return f"{self.object_id}: {self.target or 'everybody'}"


class Listening(models.Model):
    """What one part of a subscription wants to be told."""

    subscription = models.ForeignKey(Object, on_delete=models.CASCADE, related_name="listening")
    kind = models.CharField(max_length=12)
    operation = models.CharField(max_length=6)
    """In the words of 3.1."""
    part = models.PositiveSmallIntegerField()
    """Which of its objectOperations says so."""

    class Meta:
        indexes = [models.Index(fields=["kind", "operation"], name="vtn3_listening_to")]

    def __str__(self) -> str:
        return f"{self.subscription_id}: {self.operation} {self.kind}"


class Delivery(models.Model):
    """One webhook call that is owed; those of a subscription are made in their order."""

    class State(models.TextChoices):
        """Where it stands."""

        WAITING = "waiting", "to be sent"
        SENT = "sent", "taken by the client"
        GIVEN_UP = "given up", "not taken in time"

    subscription = models.ForeignKey(Object, on_delete=models.CASCADE, related_name="deliveries")
    part = models.PositiveSmallIntegerField()
    """Which of its objectOperations names the address and the bearer token."""
    is_challenge = models.BooleanField(default=False)
    """Asks whether the address belongs to who subscribed (3.1): it has to echo a word."""
    body = models.TextField()
    """The notification as JSON, or the word to be echoed."""
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    next_at = models.DateTimeField()
    """Not tried before; a sender that takes it moves this on, so that no other does."""

    class Meta:
        indexes = [models.Index(fields=["state", "next_at"], name="vtn3_delivery_due")]

    def __str__(self) -> str:
        return f"{self.pk} for subscription {self.subscription_id}, {self.state}"


class Notice(models.Model):
    """One MQTT message that is owed to the broker."""

    topic = models.CharField(max_length=300)
    body = models.TextField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.pk} on {self.topic}"
