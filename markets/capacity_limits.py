"""Capacity limits of operators: kept as obligations of their own kind, told in steps, for a group of sites."""

from __future__ import annotations

from django.core.validators import MinValueValidator
from django.db import models

from markets.core import course
from markets.core.course import Course
from sites.core.intervals import Interval


class CapacityLimit(models.Model):
    """A power that a group of sites must not exceed together within a window."""

    class Scope(models.TextChoices):
        """Which sites it holds for."""

        PROGRAM = "program", "the sites enrolled for its product"
        ZONE = "zone", "the sites of a grid zone"
        UNIT = "unit", "the sites of an aggregation unit"
        SITES = "sites", "sites by name"

    class Status(models.TextChoices):
        """Where it stands."""

        OPEN = "open", "in force in its window"
        CANCELLED = "cancelled", "taken back"

    program = models.ForeignKey("markets.Program", on_delete=models.PROTECT, related_name="capacity_limits")
    event = models.ForeignKey("markets.MarketEvent", on_delete=models.PROTECT, related_name="capacity_limits")
    """The version of the event in force."""
    is_import = models.BooleanField()
    """It bounds what flows in from the grid; otherwise what flows out."""
    scope = models.CharField(max_length=8, choices=Scope.choices)
    names = models.JSONField(default=list, blank=True)
    """Of the zones, units or sites."""
    power_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    """The lowest within the window [kW, >= 0]."""
    steps = models.JSONField(default=list)
    """[instant, power [kW]] by time (``markets.core.course``)."""
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["starts_at", "pk"]
        indexes = [models.Index(fields=["status", "ends_at"], name="markets_limit_open")]

    def __str__(self) -> str:
        return f"{'import' if self.is_import else 'export'} of {self.event_id} up to {self.power_kw:g} kW"

    @property
    def window(self) -> Interval:
        """The half-open period in which it holds."""
        return Interval(self.starts_at, self.ends_at)

    @property
    def course(self) -> Course:
        """The limit over its window, in steps."""
        return course.read(self.steps)
