"""Units by zone and product, their evidence, offers, baselines, awards and what was declared anew."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models

from markets.core.offering import Evidence
from markets.core.product import Product
from markets.core.products import Basis, product_named
from markets.offers.forecast import Forecast
from sites.core.intervals import Interval
from sites.registry.models import SITE_ID, Site

BASES = [(basis.value, basis.value) for basis in Basis]


class AggregationUnit(models.Model):
    """Sites of one zone that are sold as one in one program."""

    name = models.CharField(max_length=64, unique=True, validators=[SITE_ID])
    program = models.ForeignKey("markets.Program", on_delete=models.PROTECT, related_name="units")
    grid_zone = models.CharField(max_length=16)
    sites = models.ManyToManyField(Site, related_name="units")
    created_at = models.DateTimeField()

    class Meta:
        app_label = "markets"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def product(self) -> Product:
        """The row that it is sold under; the newest one."""
        return product_named(self.program.product)


class Qualification(models.Model):
    """What a unit showed in a test or an event; append-only."""

    class Kind(models.TextChoices):
        """Where the score comes from."""

        RECORD = "record", "a recorded test, scored here"
        DISPATCH = "dispatch", "a settled dispatch"

    unit = models.ForeignKey(AggregationUnit, on_delete=models.PROTECT, related_name="qualifications")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    reference = models.CharField(max_length=100)
    """The dispatch id, or the SHA-256 of the record."""
    product = models.CharField(max_length=64)
    contract_kw = models.FloatField()
    """The power that it was measured at [kW]."""
    score = models.DecimalField(max_digits=7, decimal_places=6)
    """0 to 1, by the product's own rule."""
    tested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    added_at = models.DateTimeField()
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        app_label = "markets"
        ordering = ["unit", "-tested_at", "pk"]
        constraints = [models.UniqueConstraint(fields=["unit", "kind", "reference"], name="markets_evidence_once")]

    def __str__(self) -> str:
        return f"{self.unit_id} {self.score} by {self.kind} {self.reference}"

    @property
    def evidence(self) -> Evidence:
        """What the rules need of it."""
        return Evidence(Decimal(self.score), self.contract_kw, self.tested_at, self.expires_at)


class Offer(models.Model):
    """A power offered for a window, with both sums that it was taken from."""

    class Status(models.TextChoices):
        """Where it stands. Whether its window is over is a matter of time, not of status."""

        OPEN = "open", "no answer yet"
        AWARDED = "awarded", "taken, whole or in part"
        REJECTED = "rejected", "not taken"
        WITHDRAWN = "withdrawn", "taken back by us"

    unit = models.ForeignKey(AggregationUnit, on_delete=models.PROTECT, related_name="offers")
    basis = models.CharField(max_length=16, choices=BASES)
    forecast = models.CharField(max_length=10, choices=[(forecast.value, forecast.value) for forecast in Forecast])
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    quantity_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    """What is offered [kW]."""
    gross_kw = models.FloatField()
    """sum(min(headroom, usable energy / duration)) when it was offered, without the margin [kW]."""
    net_kw = models.FloatField()
    """The same less the margin: the most that may be sold [kW]."""
    margin = models.FloatField()
    """Part that is kept against sites that drop out."""
    shares = models.JSONField()
    """Site -> its part of gross_kw [kW]."""
    price = models.DecimalField(max_digits=14, decimal_places=4)
    """Asked [currency/MW/h]."""
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    submitted_at = models.DateTimeField()
    submitted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    obligation = models.OneToOneField("markets.Obligation", on_delete=models.PROTECT, null=True, related_name="offer")
    """What is owed since its first award."""

    class Meta:
        app_label = "markets"
        ordering = ["starts_at", "pk"]
        indexes = [models.Index(fields=["status", "ends_at"], name="markets_offer_open")]

    def __str__(self) -> str:
        return f"{self.unit} {self.quantity_kw:g} kW from {self.starts_at.isoformat()}"

    @property
    def window(self) -> Interval:
        """The half-open period that it is for."""
        return Interval(self.starts_at, self.ends_at)


class BaselineSubmission(models.Model):
    """One version of a unit's baseline for a window; append-only, and none comes after the gate."""

    unit = models.ForeignKey(AggregationUnit, on_delete=models.PROTECT, related_name="baselines")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    version = models.PositiveIntegerField()
    """Counts from 1; the last one before the gate is locked by it."""
    body = models.TextField()
    """Canonical JSON: the window and [instant, kW into the grid without the service] from each instant on."""
    content_hash = models.CharField(max_length=64)
    """SHA-256 of the body."""
    gate_closes_at = models.DateTimeField()
    submitted_at = models.DateTimeField()
    submitted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        app_label = "markets"
        ordering = ["unit", "starts_at", "version"]
        constraints = [
            models.UniqueConstraint(fields=["unit", "starts_at", "ends_at", "version"], name="markets_baseline_version")
        ]

    def __str__(self) -> str:
        return f"{self.unit_id} from {self.starts_at.isoformat()} version {self.version}"


class Award(models.Model):
    """What the operator took of an offer; append-only. A further one adds to it."""

    offer = models.ForeignKey(Offer, on_delete=models.PROTECT, related_name="awards")
    award_id = models.CharField(max_length=64, unique=True, validators=[SITE_ID])
    """The operator's own."""
    quantity_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    price = models.DecimalField(max_digits=14, decimal_places=4)
    """Cleared [currency/MW/h]."""
    terms = models.JSONField()
    """Energy recovery, imbalance and penalty in numbers, each rule with its certainty and source."""
    baseline_hash = models.CharField(max_length=64, blank=True)
    """Of the baseline held at the award; empty while none is."""
    awarded_at = models.DateTimeField()
    recorded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        app_label = "markets"
        ordering = ["awarded_at", "pk"]

    def __str__(self) -> str:
        return f"{self.award_id} {self.quantity_kw:g} kW"


class Redeclaration(models.Model):
    """A sold quantity that cannot be kept any more, or can again: how much, why, who is told; append-only."""

    offer = models.ForeignKey(Offer, on_delete=models.PROTECT, related_name="redeclarations")
    number = models.PositiveIntegerField()
    """Counts from 1 at its offer."""
    previous_kw = models.FloatField()
    quantity_kw = models.FloatField()
    """What is owed from now on [kW]."""
    reason = models.CharField(max_length=400)
    causes = models.JSONField()
    """Site -> why it gives less."""
    told = models.JSONField()
    """Whom it concerns: ``dispatcher``, ``operator <market context>``, ``owner <user name>``."""
    declared_at = models.DateTimeField()

    class Meta:
        app_label = "markets"
        ordering = ["declared_at", "pk"]
        constraints = [models.UniqueConstraint(fields=["offer", "number"], name="markets_redeclaration_number")]

    def __str__(self) -> str:
        return f"{self.offer_id} #{self.number}: {self.previous_kw:g} -> {self.quantity_kw:g} kW"
