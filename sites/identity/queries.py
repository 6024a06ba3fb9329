"""Reads of enrolment: who may speak on a broker, what is revoked, what waits, what happened."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db.models import F, Q, QuerySet

from sites.identity.authority import Revoked
from sites.identity.models import CertificateRequest, CloneAlarm, IdentityEvent, SiteCertificate, SiteIdentity
from sites.identity.rights import LiveSite
from sites.registry.models import Site

CHANGE_OVER: Final = timedelta(days=1)
"""A superseded certificate is accepted so long; then it stands on the revocation list."""
MAX_LOCATED: Final = 50
"""Alarms whose addresses are looked for in one round."""


def live_sites(*, at: datetime) -> list[LiveSite]:
    """Return the sites with an identity and a certificate that stand, by site_id."""
    rows = (
        SiteCertificate.objects.filter(revoked_at__isnull=True, expires_at__gt=at, identity__ended_at__isnull=True)
        .order_by()
        .values_list("identity__site__site_id", "identity__identity")
        .distinct()
    )
    return sorted(LiveSite(*row) for row in rows)


def revoked_certificates(*, at: datetime) -> list[Revoked]:
    """Return what a revocation list must name: revoked or long superseded, and not expired by itself."""
    rows = SiteCertificate.objects.filter(
        Q(revoked_at__isnull=False) | Q(superseded_at__lte=at - CHANGE_OVER), expires_at__gt=at
    ).order_by("serial")
    return [
        Revoked(row.serial, row.revoked_at or row.superseded_at or at, is_superseded=row.revoked_at is None)
        for row in rows
    ]


def shut_out_sites(*, at: datetime) -> list[str]:
    """Return the sites that hold revoked certificates which would still stand, and no identity in their place."""
    rows = SiteCertificate.objects.filter(revoked_at__isnull=False, expires_at__gt=at).exclude(
        identity__site__identities__ended_at__isnull=True
    )
    return sorted(set(rows.order_by().values_list("identity__site__site_id", flat=True)))


def sites_revoked_since(*, since: datetime, at: datetime) -> list[str]:
    """Return the sites of which a certificate that would still stand was revoked at that instant or later."""
    rows = SiteCertificate.objects.filter(revoked_at__gte=since, expires_at__gt=at).order_by()
    return sorted(set(rows.values_list("identity__site__site_id", flat=True)))


def waiting_requests(*, sites: QuerySet[Site]) -> QuerySet[CertificateRequest]:
    """Return the requests that wait for an operator or a signature, oldest first."""
    waiting = [CertificateRequest.Status.PENDING, CertificateRequest.Status.APPROVED]
    rows = CertificateRequest.objects.filter(site__in=sites, status__in=waiting)
    return rows.select_related("site").order_by("requested_at", "pk")


def open_alarms(*, sites: QuerySet[Site]) -> QuerySet[CloneAlarm]:
    """Return the clone alarms that nobody has closed, newest first."""
    return CloneAlarm.objects.filter(site__in=sites, closed_at__isnull=True).select_related("site")


def unlocated_alarms() -> list[tuple[CloneAlarm, str]]:
    """Return the open alarms whose broker was not asked since their last sign, each with its site's identity."""
    rows = CloneAlarm.objects.filter(Q(looked_at__isnull=True) | Q(looked_at__lt=F("last_at")), closed_at__isnull=True)
    alarms = list(rows.select_related("site").order_by("pk")[:MAX_LOCATED])
    standing = SiteIdentity.objects.filter(site__in=[alarm.site_id for alarm in alarms], ended_at__isnull=True)
    identities = dict(standing.values_list("site_id", "identity"))
    return [(alarm, identities.get(alarm.site_id, "")) for alarm in alarms]


def recent_events(*, sites: QuerySet[Site]) -> QuerySet[IdentityEvent]:
    """Return the audit rows of these sites, newest first."""
    return IdentityEvent.objects.filter(site__in=sites).select_related("site")


def certificates(*, sites: QuerySet[Site]) -> QuerySet[SiteCertificate]:
    """Return the certificates of these sites, newest first."""
    return SiteCertificate.objects.filter(identity__site__in=sites).select_related("identity__site")
