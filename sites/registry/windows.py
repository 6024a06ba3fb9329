"""When a site is not to be counted on: the owner's opt-out, maintenance, and a higher reserve; who said so and when."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.db.models import QuerySet

from sites.core.intervals import Interval

LONGEST: Final = timedelta(days=366)
MOST_AT_A_SITE: Final = 200
"""Windows of one site that are not over yet."""


class WindowRefused(ValueError):
    """A window that cannot stand; the message says what is accepted."""


class SiteWindow(models.Model):
    """A time in which a site gives no service, or keeps more energy for itself; it comes before every market."""

    class Kind(models.TextChoices):
        """Why."""

        OPT_OUT = "opt_out", "the owner opts out"
        MAINTENANCE = "maintenance", "maintenance"
        RESERVE = "reserve", "a higher reserve, such as before a storm"

    site = models.ForeignKey("registry.Site", on_delete=models.PROTECT, related_name="windows")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reserve_kwh = models.FloatField(null=True, validators=[MinValueValidator(0.0)])
    """Energy kept for the site's own load meanwhile [kWh]; None unless it is a reserve."""
    note = models.CharField(max_length=200, blank=True)
    withdrawn_at = models.DateTimeField(null=True)
    """When it was taken back; it counts no more from then on."""

    class Meta:
        app_label = "registry"
        ordering = ["starts_at", "pk"]
        indexes = [models.Index(fields=["ends_at", "site"], name="registry_window_end")]

    def __str__(self) -> str:
        return f"{self.site_id} {self.kind} from {self.starts_at.isoformat()}"


class WindowAct(models.Model):
    """Who added or took back a window, and when; append-only."""

    class Act(models.TextChoices):
        """What was done."""

        ADDED = "added", "added"
        WITHDRAWN = "withdrawn", "taken back"

    window = models.ForeignKey(SiteWindow, on_delete=models.PROTECT, related_name="acts")
    act = models.CharField(max_length=10, choices=Act.choices)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    """None: by a command on the platform's machine."""
    at = models.DateTimeField()

    class Meta:
        app_label = "registry"
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["window", "act"], name="registry_one_act_of_a_kind")]

    def __str__(self) -> str:
        return f"{self.act} {self.window_id}"


@transaction.atomic
def add_window(
    *, site: Any, kind: str, window: Interval, by: Any, at: datetime, reserve_kwh: float | None = None, note: str = ""
) -> SiteWindow:
    """Add a window at a site, with its trail.

    Raises WindowRefused for one that is over, that lasts too long, for a reserve without its energy or beyond the
    battery, and for more than MOST_AT_A_SITE.
    """
    site = type(site)._default_manager.select_for_update().get(pk=site.pk)
    if kind not in SiteWindow.Kind.values:
        raise WindowRefused(f"kind is {kind!r}, accepted: {', '.join(SiteWindow.Kind.values)}")
    if window.ends_at <= at:
        raise WindowRefused(f"the window ended at {window.ends_at.isoformat()}, accepted: one that ends later than now")
    if window.duration > LONGEST:
        raise WindowRefused(f"the window lasts {window.duration}, accepted: up to {LONGEST.days} days")
    if (kind == SiteWindow.Kind.RESERVE) != (reserve_kwh is not None):
        raise WindowRefused(f"reserve_kwh is {reserve_kwh} in a window of kind {kind!r}, accepted: only with a reserve")
    if reserve_kwh is not None:
        capacity_kwh = site.assets.filter(kind="battery").aggregate(sum=models.Sum("capacity_kwh"))["sum"] or 0.0
        if not 0.0 < reserve_kwh <= capacity_kwh:
            raise WindowRefused(
                f"reserve_kwh is {reserve_kwh}, accepted: more than 0, up to the battery's {capacity_kwh}"
            )
    standing = SiteWindow.objects.filter(site=site, ends_at__gt=at, withdrawn_at=None).count()
    if standing >= MOST_AT_A_SITE:
        raise WindowRefused(f"site {site.site_id} has {standing} windows that are not over, accepted: {MOST_AT_A_SITE}")
    row = SiteWindow.objects.create(
        site=site, kind=kind, starts_at=window.starts_at, ends_at=window.ends_at, reserve_kwh=reserve_kwh, note=note
    )
    WindowAct.objects.create(window=row, act=WindowAct.Act.ADDED, by=by, at=at)
    return row


@transaction.atomic
def withdraw_window(*, pk: int, by: Any, at: datetime) -> SiteWindow:
    """Take a window back, with its trail; one that was taken back stays as it is."""
    row = SiteWindow.objects.select_for_update().get(pk=pk)
    if row.withdrawn_at is None:
        row.withdrawn_at = at
        row.save(update_fields=["withdrawn_at"])
        WindowAct.objects.create(window=row, act=WindowAct.Act.WITHDRAWN, by=by, at=at)
    return row


def windows_within(*, period: Interval) -> QuerySet[SiteWindow]:
    """Return the windows that stand and touch a period."""
    return SiteWindow.objects.filter(withdrawn_at=None, starts_at__lt=period.ends_at, ends_at__gt=period.starts_at)


def closed_sites(*, period: Interval) -> dict[str, str]:
    """Return, by site_id, why a site gives no service in a period: the first window that touches it."""
    rows = windows_within(period=period).exclude(kind=SiteWindow.Kind.RESERVE).order_by("-starts_at", "-pk")
    return dict(rows.values_list("site__site_id", "kind"))


def reserves_kwh(*, period: Interval, site_ids: Collection[str] | None = None) -> dict[str, float]:
    """Return, by site_id, the highest reserve that an owner asks for in a period [kWh]."""
    rows = windows_within(period=period).filter(kind=SiteWindow.Kind.RESERVE)
    if site_ids is not None:
        rows = rows.filter(site__site_id__in=site_ids)
    return dict(rows.order_by().values_list("site__site_id").annotate(models.Max("reserve_kwh")))
