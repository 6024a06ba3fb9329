"""Writes of enrolment: tokens, requests, decisions, signatures, renewal and revocation. Each leaves an audit row."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from sites.core import observe
from sites.core.certificates import (
    CertificateError,
    SigningRequest,
    read_certificate,
    read_request,
    serial_text,
    verify_renewal,
)
from sites.identity.authority import Authority
from sites.identity.brokers.sessions import Seen, as_json, from_json, newest
from sites.identity.models import (
    CertificateRequest,
    CloneAlarm,
    EnrolmentToken,
    IdentityEvent,
    SiteCertificate,
    SiteIdentity,
)
from sites.registry.models import Site

logger = logging.getLogger(__name__)

TOKEN_BYTES: Final = 32
MAX_TOKEN_CHARS: Final = 100
RENEW_FROM: Final = 0.5
"""Share of a certificate's life that must be over before it may be renewed."""
SESSIONS_BEFORE: Final = timedelta(minutes=10)
"""Sessions that came so long before an alarm belong to it: within that time its signs are counted."""
SITE: Final = "site"
"""Who acts in the audit when the site itself does."""
Status = CertificateRequest.Status


class EnrolmentRefused(Exception):
    """A step that is not taken; ``name`` says which rule, the message what is accepted."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


# --- tokens and requests --------------------------------------------------------------------------


def issue_token(*, site: Site, by: str, at: datetime, valid_for: timedelta) -> str:
    """Return a new single-use token for a site; unspent older ones end. It is shown once and kept as a hash."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with transaction.atomic():
        _withdraw_tokens(site, at)
        EnrolmentToken.objects.create(
            site=site, token_hash=_hash(token), issued_at=at, expires_at=at + valid_for, issued_by=by
        )
        _note(site, "token_issued", by, at, detail=f"valid until {at + valid_for:%Y-%m-%d %H:%M} UTC")
    return token


def submit_request(*, site_id: str, token: str, csr: bytes, address: str, at: datetime) -> CertificateRequest:
    """Take a site's signing request against its token; asked again with the same key, the same request.

    Raises EnrolmentRefused: ``token_unknown``, ``foreign_site``, ``token_expired``, ``token_withdrawn``,
    ``token_used``, ``key_reused``, or the name of what is wrong with the request.
    """
    held = None
    if 0 < len(token) <= MAX_TOKEN_CHARS:
        held = EnrolmentToken.objects.select_related("site").filter(token_hash=_hash(token)).first()
    if held is None:
        # No row: a stranger must not be able to fill the audit.
        logger.warning("%s token_unknown address=%s", observe.ENROLMENT_REFUSED, address)
        raise EnrolmentRefused("token_unknown", "token is not known, accepted: one that was issued for this site")
    try:
        if held.site.site_id != site_id:
            raise EnrolmentRefused("foreign_site", "token was issued for another site, accepted: its own site alone")
        request = _read_request(csr, site_id)
        return _spend(held, request, csr, address, at)
    except EnrolmentRefused as error:
        # Under the site whose token it is, whatever the sender says to be.
        _note(held.site, "request_refused", SITE, at, address=address, detail=f"{error.name}: {error}")
        raise


def _spend(held: EnrolmentToken, request: SigningRequest, csr: bytes, address: str, at: datetime) -> CertificateRequest:
    with transaction.atomic():
        unspent = EnrolmentToken.objects.filter(
            pk=held.pk, spent_at__isnull=True, withdrawn_at__isnull=True, expires_at__gt=at
        )
        if unspent.update(spent_at=at):
            return _new_request(held.site, request, csr, address, at, token=held)
    held.refresh_from_db()
    earlier = CertificateRequest.objects.filter(token=held).first()
    if earlier is not None:
        if earlier.fingerprint == request.fingerprint:
            return earlier
        raise EnrolmentRefused("token_used", "token was used with another key, accepted: each token once")
    if held.withdrawn_at is not None:
        raise EnrolmentRefused("token_withdrawn", "token was withdrawn, accepted: the newest one of the site")
    raise EnrolmentRefused("token_expired", f"token expired at {held.expires_at:%Y-%m-%d %H:%M} UTC")


def _new_request(
    site: Site,
    request: SigningRequest,
    csr: bytes,
    address: str,
    at: datetime,
    *,
    token: EnrolmentToken | None = None,
    renews: SiteCertificate | None = None,
) -> CertificateRequest:
    status, decided_by = (Status.PENDING, "") if renews is None else (Status.APPROVED, f"certificate {renews.serial}")
    try:
        with transaction.atomic():
            made = CertificateRequest.objects.create(
                site=site, token=token, renews=renews, csr=csr.decode(), fingerprint=request.fingerprint,
                requested_at=at, address=address, status=status, decided_by=decided_by,
                decided_at=None if renews is None else at,
            )  # fmt: skip
    except IntegrityError:
        raise EnrolmentRefused(
            "key_reused", "key was seen before, accepted: a key that is new for each request"
        ) from None
    action = "certificate_requested" if renews is None else "renewal_requested"
    _note(site, action, SITE, at, address=address, detail=f"key {request.fingerprint}")
    return made


# --- decisions and signatures ---------------------------------------------------------------------


def approve(*, request: CertificateRequest, by: str, at: datetime) -> None:
    """Let a pending request be signed; raises EnrolmentRefused ``not_pending``."""
    _decide(request, Status.APPROVED, by, "", at)


def refuse(*, request: CertificateRequest, by: str, reason: str, at: datetime) -> None:
    """End a pending request; raises EnrolmentRefused ``not_pending``."""
    _decide(request, Status.REFUSED, by, reason[:200], at)


def _decide(request: CertificateRequest, status: Status, by: str, reason: str, at: datetime) -> None:
    with transaction.atomic():
        pending = CertificateRequest.objects.filter(pk=request.pk, status=Status.PENDING)
        if not pending.update(status=status, decided_by=by, decided_at=at, reason=reason):
            request.refresh_from_db()
            raise EnrolmentRefused("not_pending", f"request {request.pk} is {request.status}, accepted: pending")
        _note(request.site, f"request_{status.value}", by, at, detail=f"key {request.fingerprint} {reason}".strip())


def issue_approved(*, authority: Authority, at: datetime, valid_for: timedelta) -> list[SiteCertificate]:
    """Sign every approved request, each in a transaction of its own; return the new certificates."""
    issued = []
    for request in CertificateRequest.objects.filter(status=Status.APPROVED).select_related("site", "renews__identity"):
        with transaction.atomic():
            # Claimed first: two signers at once sign it once.
            if not CertificateRequest.objects.filter(pk=request.pk, status=Status.APPROVED).update(
                status=Status.ISSUED
            ):
                continue
            certificate = _issue(request, authority, at, valid_for)
            if certificate is not None:
                issued.append(certificate)
    return issued


def _issue(
    request: CertificateRequest, authority: Authority, at: datetime, valid_for: timedelta
) -> SiteCertificate | None:
    site, renews = request.site, request.renews
    if renews is None:
        # Another device takes the site's place: the old one's certificates end with its identity.
        _end_identity(site, "replaced by a new enrolment", request.decided_by, at)
        identity = SiteIdentity.objects.create(
            site=site, identity=secrets.token_hex(16), client_suffix=secrets.token_hex(16), started_at=at
        )
    elif renews.identity.ended_at is not None or renews.revoked_at is not None:
        CertificateRequest.objects.filter(pk=request.pk).update(status=Status.REFUSED, reason="certificate_revoked")
        _note(site, "request_refused", request.decided_by, at, detail="certificate_revoked")
        return None
    else:
        identity = renews.identity
        SiteCertificate.objects.filter(pk=renews.pk).update(superseded_at=at)
    signed = authority.site_certificate(
        read_request(request.csr.encode(), site_id=site.site_id).public_key,
        site_id=site.site_id, identity=identity.identity, at=at, valid_for=valid_for,
    )  # fmt: skip
    certificate = SiteCertificate.objects.create(
        identity=identity, serial=serial_text(signed), fingerprint=request.fingerprint, issued_at=at,
        pem=signed.public_bytes(serialization.Encoding.PEM).decode(), expires_at=signed.not_valid_after_utc,
    )  # fmt: skip
    CertificateRequest.objects.filter(pk=request.pk).update(certificate=certificate)
    _note(site, "certificate_issued", request.decided_by, at, detail=f"serial {certificate.serial}")
    return certificate


# --- renewal --------------------------------------------------------------------------------------


def submit_renewal(
    *, site_id: str, serial: str, csr: bytes, signature: bytes, address: str, at: datetime
) -> CertificateRequest:
    """Take the request for a new key that the present certificate's key has signed; no operator is asked.

    Raises EnrolmentRefused: ``certificate_unknown``, ``foreign_site``, ``signature_invalid``,
    ``certificate_revoked``, ``certificate_expired``, ``certificate_superseded`` (which also raises the clone
    alarm: two devices hold the old key), ``too_early``, ``key_reused``, or what is wrong with the request.
    """
    held = SiteCertificate.objects.select_related("identity__site").filter(serial=serial[:40]).first()
    if held is None:
        logger.warning("%s certificate_unknown address=%s", observe.ENROLMENT_REFUSED, address)
        raise EnrolmentRefused("certificate_unknown", "certificate is not known, accepted: one issued here")
    site = held.identity.site
    if site.site_id != site_id:
        logger.warning("%s foreign_site address=%s", observe.ENROLMENT_REFUSED, address)
        raise EnrolmentRefused("foreign_site", "certificate is another site's, accepted: its own site alone")
    try:
        request = _read_request(csr, site_id)
        verify_renewal(
            read_certificate(held.pem.encode()),
            signature,
            site_id=site_id,
            serial=serial,
            fingerprint=request.fingerprint,
        )
    except CertificateError as error:
        # Not proven to be the site: a serial number is no secret, so this leaves no row either.
        logger.warning("%s %s site=%s address=%s", observe.ENROLMENT_REFUSED, error.name, site_id, address)
        raise EnrolmentRefused(error.name, str(error)) from None
    try:
        return _renew(held, request, csr, address, at)
    except EnrolmentRefused as error:
        _note(site, "renewal_refused", SITE, at, address=address, detail=f"{error.name}: {error}")
        if error.name == "certificate_superseded":
            evidence = f"renewal with superseded certificate {serial} from {address}"
            raise_clone_alarm(site_id=site_id, at=at, evidence=evidence, address=address)
        raise


def _renew(
    held: SiteCertificate, request: SigningRequest, csr: bytes, address: str, at: datetime
) -> CertificateRequest:
    if held.revoked_at is not None or held.identity.ended_at is not None:
        raise EnrolmentRefused("certificate_revoked", f"certificate {held.serial} was revoked, accepted: a new token")
    if held.expires_at <= at:
        raise EnrolmentRefused("certificate_expired", f"certificate {held.serial} expired, accepted: a new token")
    earlier = CertificateRequest.objects.filter(renews=held).first()
    if earlier is not None:
        if earlier.fingerprint == request.fingerprint:
            return earlier
        raise EnrolmentRefused(
            "certificate_superseded", f"certificate {held.serial} was renewed with another key, accepted: the newest"
        )
    earliest = held.issued_at + (held.expires_at - held.issued_at) * RENEW_FROM
    if at < earliest:
        raise EnrolmentRefused("too_early", f"accepted from {earliest:%Y-%m-%d %H:%M} UTC on")
    with transaction.atomic():
        return _new_request(held.identity.site, request, csr, address, at, renews=held)


# --- revocation and alarms ------------------------------------------------------------------------


def revoke_site(*, site: Site, by: str, reason: str, at: datetime) -> int:
    """End a site's identity, its certificates, tokens and open requests; return how many certificates ended.

    Brokers follow when `manage.py keep_broker` has written and loaded their lists.
    """
    with transaction.atomic():
        _withdraw_tokens(site, at)
        waiting = CertificateRequest.objects.filter(site=site, status__in=[Status.PENDING, Status.APPROVED])
        waiting.update(status=Status.REFUSED, decided_by=by, decided_at=at, reason="site_revoked")
        return _end_identity(site, reason[:200], by, at)


def _end_identity(site: Site, reason: str, by: str, at: datetime) -> int:
    ended = 0
    for identity in SiteIdentity.objects.filter(site=site, ended_at__isnull=True):
        SiteIdentity.objects.filter(pk=identity.pk).update(ended_at=at, reason=reason)
        standing = SiteCertificate.objects.filter(identity=identity, revoked_at__isnull=True)
        serials = list(standing.filter(expires_at__gt=at).values_list("serial", flat=True))
        ended += standing.update(revoked_at=at, reason=reason) if serials else 0
        for serial in serials:
            _note(site, "certificate_revoked", by, at, detail=f"serial {serial}: {reason}")
    return ended


def raise_clone_alarm(*, site_id: str, at: datetime, evidence: str, address: str = "") -> None:
    """Open the site's alarm, or count once more what it stands for; ``address`` where the sign itself showed one."""
    with transaction.atomic():
        site = Site.objects.get(site_id=site_id)
        alarm, is_new = CloneAlarm.objects.get_or_create(
            site=site, closed_at=None, defaults={"first_at": at, "last_at": at, "evidence": evidence[:300]}
        )
        if is_new:
            _note(site, "clone_alarm", "platform", at, detail=evidence)
            logger.warning("%s site=%s evidence=%s", observe.CLONE_ALARM, site.site_id, evidence)
        else:
            CloneAlarm.objects.filter(pk=alarm.pk).update(last_at=at, times=F("times") + 1, evidence=evidence[:300])
        if address:
            _add_addresses(alarm, [Seen(address, at)])


def note_addresses(*, alarm: CloneAlarm, seen: Iterable[Seen], at: datetime) -> None:
    """Keep with an alarm from where its site's sessions came about that time, as the broker told."""
    since = alarm.first_at - SESSIONS_BEFORE
    with transaction.atomic():
        _add_addresses(alarm, [session for session in seen if session.at >= since])
        CloneAlarm.objects.filter(pk=alarm.pk).update(looked_at=at)


def _add_addresses(alarm: CloneAlarm, seen: Iterable[Seen]) -> None:
    held = CloneAlarm.objects.select_for_update().get(pk=alarm.pk).addresses
    known = {session.address: session for session in from_json(held)}
    for session in seen:
        if session.address not in known or known[session.address].at < session.at:
            known[session.address] = session
    CloneAlarm.objects.filter(pk=alarm.pk).update(addresses=as_json(newest(known.values())))


def close_alarm(*, alarm: CloneAlarm, by: str, at: datetime) -> None:
    """Close an alarm that somebody looked into; closing again changes nothing."""
    with transaction.atomic():
        if CloneAlarm.objects.filter(pk=alarm.pk, closed_at__isnull=True).update(closed_at=at, closed_by=by):
            _note(alarm.site, "clone_alarm_closed", by, at)


# --- inside ---------------------------------------------------------------------------------------


def _read_request(csr: bytes, site_id: str) -> SigningRequest:
    try:
        return read_request(csr, site_id=site_id)
    except CertificateError as error:
        raise EnrolmentRefused(error.name, str(error)) from None


def _withdraw_tokens(site: Site, at: datetime) -> None:
    EnrolmentToken.objects.filter(Q(spent_at__isnull=True), site=site, withdrawn_at__isnull=True).update(
        withdrawn_at=at
    )


def _note(site: Site, action: str, actor: str, at: datetime, **more: Any) -> None:
    detail = str(more.pop("detail", ""))[:300]
    IdentityEvent.objects.create(site=site, action=action, actor=actor[:150], at=at, detail=detail, **more)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
