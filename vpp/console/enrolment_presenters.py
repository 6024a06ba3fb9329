"""Requests, certificates, alarms and the audit of enrolment, for the pages and for the API."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sites.identity.brokers.sessions import from_json
from sites.identity.models import CertificateRequest, CloneAlarm, IdentityEvent, SiteCertificate
from vpp.console.texts import instant


def request_json(request: CertificateRequest) -> dict[str, Any]:
    """Return one signing request for the API."""
    return {
        "id": request.pk,
        "site_id": request.site.site_id,
        "kind": "enrolment" if request.renews_id is None else "renewal",
        "status": request.status,
        "fingerprint": request.fingerprint,
        "requested_at": request.requested_at.isoformat(),
        "address": request.address,
        "decided_by": request.decided_by,
        "reason": request.reason,
    }


def alarm_json(alarm: CloneAlarm) -> dict[str, Any]:
    """Return one clone alarm for the API."""
    return {
        "id": alarm.pk,
        "site_id": alarm.site.site_id,
        "first_at": alarm.first_at.isoformat(),
        "last_at": alarm.last_at.isoformat(),
        "times": alarm.times,
        "evidence": alarm.evidence,
        "addresses": [{"address": seen.address, "at": seen.at.isoformat()} for seen in from_json(alarm.addresses)],
    }


def event_json(event: IdentityEvent) -> dict[str, Any]:
    """Return one audit row for the API."""
    return {
        "at": event.at.isoformat(),
        "action": event.action,
        "actor": event.actor,
        "address": event.address,
        "detail": event.detail,
    }


def request_row(request: CertificateRequest) -> dict[str, Any]:
    """Return one line of the requests that wait; the fingerprint in groups that people can compare."""
    return {
        "pk": request.pk,
        "site_id": request.site.site_id,
        "kind": "enrolment" if request.renews_id is None else "renewal",
        "status": request.get_status_display(),
        "is_pending": request.status == CertificateRequest.Status.PENDING,
        "fingerprint": " ".join(re.findall(".{8}", request.fingerprint)),
        "requested_at": instant(request.requested_at),
        "address": request.address,
    }


def alarm_row(alarm: CloneAlarm) -> dict[str, Any]:
    """Return one open clone alarm for the page; from where its sessions came, as far as the broker tells."""
    sessions = from_json(alarm.addresses)
    return {
        "addresses": [f"{session.address}, last {instant(session.at)}" for session in sessions] or ["unknown"],
        "pk": alarm.pk,
        "site_id": alarm.site.site_id,
        "first_at": instant(alarm.first_at),
        "last_at": instant(alarm.last_at),
        "times": alarm.times,
        "evidence": alarm.evidence,
    }


def certificate_row(certificate: SiteCertificate, *, at: datetime) -> dict[str, str]:
    """Return one line of a site's certificates."""
    if certificate.revoked_at is not None:
        standing = f"revoked {instant(certificate.revoked_at)}: {certificate.reason}"
    elif certificate.expires_at <= at:
        standing = "expired"
    elif certificate.superseded_at is not None:
        standing = "renewed by a newer one"
    else:
        standing = "valid"
    return {
        "site_id": certificate.identity.site.site_id,
        "serial": certificate.serial,
        "issued_at": instant(certificate.issued_at),
        "expires_at": instant(certificate.expires_at),
        "standing": standing,
    }


def event_row(event: IdentityEvent) -> dict[str, str]:
    """Return one line of the audit."""
    return {
        "at": instant(event.at),
        "site_id": event.site.site_id,
        "action": event.action.replace("_", " "),
        "actor": event.actor,
        "address": event.address,
        "detail": event.detail,
    }
