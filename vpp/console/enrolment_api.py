"""The API of enrolment: a site asks by token or by certificate, people issue, decide and revoke."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sites.identity import configured, operations, queries
from sites.identity.authority import AuthorityError
from sites.identity.models import CertificateRequest, CloneAlarm
from sites.identity.operations import EnrolmentRefused
from sites.registry import permissions
from sites.registry.models import Site
from vpp.console import enrolment_presenters, throttle
from vpp.console.api import HasRole
from vpp.console.enrolment_serializers import (
    AlarmsSerializer,
    CertificateRequestSerializer,
    DecisionSerializer,
    EnrolmentStandingSerializer,
    EnrolSerializer,
    IdentityEventSerializer,
    RefusedByNameSerializer,
    RenewSerializer,
    RevocationSerializer,
    RevokedSerializer,
    TokenSerializer,
)
from vpp.openapi import CURSOR, paged
from vpp.pagination import CursorPages

MAX_BODY_BYTES: Final = 16_000
ASKED_AT_MOST: Final = 300
"""Questions of one address in a window of throttle.WINDOW_S; a waiting site asks about 30 times."""
REFUSED_AT_MOST: Final = 30
"""Refused questions of one address in a window: then it waits, whatever it holds."""
STATUS_OF: Final = {"request_too_large": 413, "token_unknown": 403, "certificate_unknown": 403, "foreign_site": 403}

REFUSED: Final = RefusedByNameSerializer
FROM_A_SITE: Final[dict[int, Any]] = {200: EnrolmentStandingSerializer} | dict.fromkeys(
    (403, 409, 413, 429, 503), REFUSED
)
"""What a question of a site is answered with."""


class FromASite(APIView):
    """A question of a site, whose credentials are in the body: bounded, counted, answered by name."""

    authentication_classes = []
    permission_classes = [AllowAny]
    fields: tuple[str, ...] = ()

    def post(self, request: Request) -> Response:
        """Answer how the site's request stands; 4xx with the refusal's name, 429 for too many."""
        address = str(request.META.get("REMOTE_ADDR", ""))[:45]
        at = timezone.now()
        if not throttle.may_ask(what="enrolment", who=address, limit=ASKED_AT_MOST, at=at) or not throttle.is_within(
            what="enrolment-refused", who=address, limit=REFUSED_AT_MOST, at=at
        ):
            return _refused("too_many_requests", "ask again in a quarter of an hour", 429)
        try:
            return Response(_standing(self.ask(self._texts(request), address)))
        except EnrolmentRefused as error:
            throttle.may_ask(what="enrolment-refused", who=address, limit=REFUSED_AT_MOST, at=at)
            return _refused(error.name, str(error), STATUS_OF.get(error.name, 409))
        except AuthorityError:
            return _refused("authority_unavailable", "this platform cannot sign at the moment", 503)

    def ask(self, texts: dict[str, str], address: str) -> CertificateRequest:
        """Do what is asked; raises EnrolmentRefused."""
        raise NotImplementedError

    def _texts(self, request: Request) -> dict[str, str]:
        if len(request.body) > MAX_BODY_BYTES:
            raise EnrolmentRefused("request_too_large", f"body, accepted: up to {MAX_BODY_BYTES} bytes")
        data = request.data
        if not isinstance(data, dict) or set(data) != set(self.fields):
            raise EnrolmentRefused("request_malformed", f"body, accepted: an object of {', '.join(self.fields)}")
        for name, value in data.items():
            if not isinstance(value, str) or not value.isascii() or "\x00" in value:
                raise EnrolmentRefused("request_malformed", f"{name}, accepted: a text in ASCII")
        return dict(data)


@extend_schema(request=EnrolSerializer, responses=FROM_A_SITE, auth=[])
class Enrol(FromASite):
    """``POST enrolment/``: a site with its token; the same question again tells how it stands."""

    fields = ("site_id", "token", "csr")

    def ask(self, texts: dict[str, str], address: str) -> CertificateRequest:
        """Take the request."""
        return operations.submit_request(
            site_id=texts["site_id"],
            token=texts["token"],
            csr=texts["csr"].encode(),
            address=address,
            at=timezone.now(),
        )


@extend_schema(request=RenewSerializer, responses=FROM_A_SITE, auth=[])
class Renew(FromASite):
    """``POST enrolment/renewals/``: a site with its present certificate's word for a new key."""

    fields = ("site_id", "serial", "csr", "signature")

    def ask(self, texts: dict[str, str], address: str) -> CertificateRequest:
        """Take the renewal; sign it at once where this process can."""
        try:
            signature = base64.b64decode(texts["signature"], validate=True)
        except (binascii.Error, ValueError):
            raise EnrolmentRefused("request_malformed", "signature, accepted: base64") from None
        made = operations.submit_renewal(
            site_id=texts["site_id"],
            serial=texts["serial"],
            csr=texts["csr"].encode(),
            signature=signature,
            address=address,
            at=timezone.now(),
        )
        sign_what_is_approved()
        made.refresh_from_db()
        return made


def sign_what_is_approved() -> int:
    """Sign what is approved, if this process has the authority's key; return how many."""
    authority = configured.authority()
    if authority is None:
        return 0
    life = configured.certificate_life()
    return len(operations.issue_approved(authority=authority, at=timezone.now(), valid_for=life))


class ByOldest(CursorPages):
    """Pages in the order of asking."""

    page_size = 100
    ordering = ("requested_at", "pk")


class ByNewestEvent(CursorPages):
    """Audit rows, the newest first."""

    page_size = 100
    ordering = ("-at", "-pk")


class TokenIssue(APIView):
    """``POST sites/<site_id>/enrolment-token/``: a one-time token, shown once."""

    permission_classes = [HasRole]

    @extend_schema(request=None, responses={201: TokenSerializer})
    def post(self, request: Request, site_id: str) -> Response:
        """Issue it; 404 for a site that is not visible, 403 without the right."""
        site = _visible(request, site_id)
        if not permissions.may_issue_token(request.user, site):
            raise PermissionDenied("a token is issued by a dispatcher or the site's owner")
        at, life = timezone.now(), configured.token_life()
        token = operations.issue_token(site=site, by=str(request.user), at=at, valid_for=life)
        body = {"site_id": site.site_id, "token": token, "expires_at": (at + life).isoformat()}
        return Response(body, status=status.HTTP_201_CREATED)


class RequestList(APIView):
    """``GET enrolment/requests/``: what waits at the sites that one may see."""

    permission_classes = [HasRole]

    @extend_schema(parameters=[CURSOR], responses=paged(CertificateRequestSerializer))
    def get(self, request: Request) -> Response:
        """Return one page."""
        pages = ByOldest()
        rows = queries.waiting_requests(sites=permissions.visible_sites(request.user))
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response([enrolment_presenters.request_json(row) for row in page])


class RequestDecision(APIView):
    """``POST enrolment/requests/<id>/approve|refuse/`` with the key's fingerprint as the site shows it."""

    permission_classes = [HasRole]

    @extend_schema(
        request=DecisionSerializer, responses={200: CertificateRequestSerializer, 409: REFUSED, 503: REFUSED}
    )
    def post(self, request: Request, pk: int, decision: str) -> Response:
        """Decide; 403 without the right, 409 with the name of what is in the way."""
        if not permissions.may_decide_enrolment(request.user):
            raise PermissionDenied("requests are decided by a dispatcher")
        visible = CertificateRequest.objects.filter(site__in=permissions.visible_sites(request.user))
        found = get_object_or_404(visible.select_related("site"), pk=pk)
        data = request.data if isinstance(request.data, dict) else {}
        try:
            decide(found, decision, by=str(request.user), data=data)
        except EnrolmentRefused as error:
            return _refused(error.name, str(error), 409)
        except AuthorityError:
            return _refused("authority_unavailable", "approved, and signed when the authority is back", 503)
        found.refresh_from_db()
        return Response(enrolment_presenters.request_json(found))


def decide(found: CertificateRequest, decision: str, *, by: str, data: Any) -> None:
    """Approve or refuse on behalf of a person who may; raises EnrolmentRefused and AuthorityError."""
    at = timezone.now()
    if decision == "refuse":
        operations.refuse(request=found, by=by, reason=str(data.get("reason", ""))[:200], at=at)
        return
    shown = str(data.get("fingerprint", "")).strip().lower()
    if len(shown) < 8 or not found.fingerprint.startswith(shown):
        raise EnrolmentRefused("fingerprint_differs", "accepted: the first 8 digits or more, as the site shows them")
    operations.approve(request=found, by=by, at=at)
    sign_what_is_approved()


class Revocation(APIView):
    """``POST sites/<site_id>/revocation/`` with a reason: the site's certificates end."""

    permission_classes = [HasRole]

    @extend_schema(request=RevocationSerializer, responses=RevokedSerializer)
    def post(self, request: Request, site_id: str) -> Response:
        """Revoke; return how many certificates ended."""
        site = _visible(request, site_id)
        if not permissions.may_decide_enrolment(request.user):
            raise PermissionDenied("certificates are revoked by a dispatcher")
        given = request.data.get("reason") if isinstance(request.data, dict) else None
        reason = given.strip() if isinstance(given, str) else ""
        if not 1 <= len(reason) <= 200:
            return _refused("reason_missing", "accepted: reason, 1 to 200 characters", 400)
        ended = operations.revoke_site(site=site, by=str(request.user), reason=reason, at=timezone.now())
        return Response({"site_id": site.site_id, "revoked": ended})


class AlarmList(APIView):
    """``GET enrolment/alarms/``: open clone alarms of the sites that one may see."""

    permission_classes = [HasRole]

    @extend_schema(responses=AlarmsSerializer)
    def get(self, request: Request) -> Response:
        """Return all of them: there are few, or the day is lost anyway."""
        rows = queries.open_alarms(sites=permissions.visible_sites(request.user))[:1000]
        return Response({"results": [enrolment_presenters.alarm_json(alarm) for alarm in rows]})


class AlarmClosing(APIView):
    """``POST enrolment/alarms/<id>/close/``: somebody looked into it."""

    permission_classes = [HasRole]

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, pk: int) -> Response:
        """Close it."""
        if not permissions.may_decide_enrolment(request.user):
            raise PermissionDenied("alarms are closed by a dispatcher")
        alarm = CloneAlarm.objects.select_related("site").filter(pk=pk).first()
        if alarm is None:
            raise Http404(f"alarm {pk} is not known")
        operations.close_alarm(alarm=alarm, by=str(request.user), at=timezone.now())
        return Response(status=status.HTTP_204_NO_CONTENT)


class EventList(APIView):
    """``GET sites/<site_id>/enrolment-events/``: the audit of one site."""

    permission_classes = [HasRole]

    @extend_schema(parameters=[CURSOR], responses=paged(IdentityEventSerializer))
    def get(self, request: Request, site_id: str) -> Response:
        """Return one page, newest first."""
        pages = ByNewestEvent()
        rows = queries.recent_events(sites=Site.objects.filter(pk=_visible(request, site_id).pk))
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response([enrolment_presenters.event_json(row) for row in page])


def _standing(found: CertificateRequest) -> dict[str, str]:
    answer = {"status": found.status, "reason": found.reason, "fingerprint": found.fingerprint}
    certificate = found.certificate
    if certificate is None:
        return answer
    if certificate.revoked_at is not None:
        raise EnrolmentRefused("certificate_revoked", f"certificate {certificate.serial} was revoked")
    return answer | {
        "certificate": certificate.pem,
        "broker_ca": configured.broker_ca_pem(),
        "client_id": certificate.identity.client_id,
    }


def _visible(request: Request, site_id: str) -> Site:
    return get_object_or_404(permissions.visible_sites(request.user), site_id=site_id)


def _refused(name: str, detail: str, code: int) -> Response:
    return Response({"error": name, "detail": detail}, status=code)
