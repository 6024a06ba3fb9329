"""Sites, their assets and meters, and who may see or act on them."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from sites.registry import windows  # noqa: F401 - Django finds an app's models here

SITE_ID = RegexValidator(r"^[A-Za-z0-9_-]{1,64}\Z", "accepted: 1 to 64 of A-Z a-z 0-9 _ -")


class GatewayKind(models.Model):
    """How the metrics of a kind of gateway, or of one site's own, become the contract's (``sites.wire.foreign``)."""

    name = models.CharField(max_length=64, unique=True)
    rules = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.name


class FeederGroup(models.Model):
    """Sites behind one feeder or transformer, which together may give service only up to a limit."""

    name = models.CharField(max_length=64, unique=True, validators=[SITE_ID])
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="inside")
    """The group that it stands in; its limits hold for this one's sites too."""
    up_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    """The most service power into the grid, of all its sites together [kW]."""
    down_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    """The same out of the grid [kW]."""

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Site(models.Model):
    """A place with its own bus behind one point of common coupling."""

    class LossOfLink(models.TextChoices):
        """What a site does with its armed assignment when the link is lost; a required choice."""

        HOLD = "hold", "hold to the end of the assignment"
        RELEASE = "release", "release at once"

    site_id = models.CharField(max_length=64, unique=True, validators=[SITE_ID])
    name = models.CharField(max_length=100)
    time_zone = models.CharField(max_length=64, default="UTC")
    grid_zone = models.CharField(max_length=16)
    """Zone of the public grid, for factors and prices, such as ``GB``."""
    nominal_hz = models.FloatField(validators=[MinValueValidator(50.0), MaxValueValidator(60.0)])
    nominal_voltage_v = models.FloatField()
    """RMS, phase to neutral [V]."""
    phases = models.PositiveSmallIntegerField(default=3)
    loss_of_link = models.CharField(max_length=8, choices=LossOfLink.choices)
    partition = models.PositiveSmallIntegerField(validators=[MaxValueValidator(63)])
    """crc32(site_id) mod 64: decides the Sparkplug group and the ingest worker."""
    enrolled_at = models.DateTimeField()
    gateway = models.ForeignKey(GatewayKind, on_delete=models.PROTECT, null=True, blank=True, related_name="sites")
    """Set where somebody else's gateway speaks for the site; none for our own edge."""
    feeder = models.ForeignKey(FeederGroup, on_delete=models.PROTECT, null=True, blank=True, related_name="sites")
    """Set where its grid's operator limits what it gives together with others."""

    class Meta:
        ordering = ["site_id"]

    def __str__(self) -> str:
        return self.site_id


class Asset(models.Model):
    """One thing on a site's bus, with its nameplate."""

    class Kind(models.TextChoices):
        """What stands behind the terminals."""

        PCC = "pcc", "point of common coupling"
        BATTERY = "battery", "battery with converter"
        PV = "pv", "photovoltaic"
        GENSET = "genset", "generator set"
        LOAD = "load", "load"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="assets")
    name = models.CharField(max_length=32)
    """The Sparkplug device id at its site."""
    kind = models.CharField(max_length=8, choices=Kind.choices)
    rated_kw = models.FloatField(validators=[MinValueValidator(0.0)])
    """Nameplate active power [kW]; at the PCC the agreed import capacity."""
    export_limit_kw = models.FloatField(default=0.0)
    """At the PCC: agreed export capacity [kW, >= 0]."""
    capacity_kwh = models.FloatField(default=0.0)
    """Battery: nominal energy [kWh]."""
    reserve_kwh = models.FloatField(default=0.0)
    """Battery: energy kept for the site's own load [kWh]."""
    meter_class = models.CharField(max_length=8, blank=True, default="")
    """Accuracy class of its meter (``sites.core.readings.METER_CLASSES``); empty where it is not known."""
    meter_calibrated_on = models.DateField(null=True, blank=True)
    meter_uncertainty_ratio = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0.0), MaxValueValidator(1.0)]
    )
    """Of its energy, at two standard deviations."""

    class Meta:
        ordering = ["site_id", "name"]
        constraints = [models.UniqueConstraint(fields=["site", "name"], name="registry_one_asset_per_name")]

    def __str__(self) -> str:
        return f"{self.site.site_id}/{self.name}"


class Membership(models.Model):
    """A person's right on a site; what it allows stands in permissions.py."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="memberships")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "site"], name="registry_one_membership_per_user")]


class Enrollment(models.Model):
    """A site's agreement to serve a program."""

    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="enrollments")
    program = models.CharField(max_length=64)
    """Product name, such as ``neso-dc-low``."""
    since = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "program"], name="registry_one_enrollment")]
