"""The enrolment page: what waits, clone alarms, certificates and the audit; each button is one operation."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from sites.identity import configured, operations, queries
from sites.identity.authority import AuthorityError
from sites.identity.models import CertificateRequest, CloneAlarm
from sites.identity.operations import EnrolmentRefused
from sites.registry import permissions
from sites.registry.models import Site
from vpp.console import enrolment_api, enrolment_presenters, texts
from vpp.console.queries import PAGE_SIZE
from vpp.console.roles import FLEET_ROLES, page_for


@page_for(FLEET_ROLES)
def enrolment(request: HttpRequest) -> HttpResponseBase:
    """Everything about certificates on one page."""
    return _page(request)


def _page(request: HttpRequest, fault: str = "", status: int = 200) -> HttpResponse:
    at = timezone.now()
    sites = permissions.visible_sites(request.user)
    page = Paginator(queries.recent_events(sites=sites), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "nav": "enrolment",
        "may_decide": permissions.may_decide_enrolment(request.user),
        "fault": fault,
        "alarms": [enrolment_presenters.alarm_row(alarm) for alarm in queries.open_alarms(sites=sites)[:PAGE_SIZE]],
        "requests": [
            enrolment_presenters.request_row(row) for row in queries.waiting_requests(sites=sites)[:PAGE_SIZE]
        ],
        "certificates": [
            enrolment_presenters.certificate_row(row, at=at) for row in queries.certificates(sites=sites)[:PAGE_SIZE]
        ],
        "events": [enrolment_presenters.event_row(event) for event in page.object_list],
        "page": page,
    }
    return render(request, "console/enrolment.html", context, status=status)


@require_POST
@page_for(FLEET_ROLES)
def decide(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Approve or refuse; a fault is shown on the page."""
    _require_right(request)
    found = get_object_or_404(CertificateRequest.objects.select_related("site"), pk=pk)
    decision = "approve" if request.POST.get("decision") == "approve" else "refuse"
    try:
        enrolment_api.decide(found, decision, by=str(request.user), data=request.POST)
    except EnrolmentRefused as error:
        return _page(request, f"{found.site.site_id}: {error}", 409)
    except AuthorityError:
        return _page(request, f"{found.site.site_id}: approved; the authority cannot be read, so it waits", 503)
    return redirect("enrolment")


@require_POST
@page_for(FLEET_ROLES)
def close_alarm(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Close a clone alarm."""
    _require_right(request)
    alarm = get_object_or_404(CloneAlarm.objects.select_related("site"), pk=pk)
    operations.close_alarm(alarm=alarm, by=str(request.user), at=timezone.now())
    return redirect("enrolment")


@require_POST
@login_required
def issue_token(request: HttpRequest, site_id: str) -> HttpResponseBase:
    """Issue a token and show it, once."""
    site = _visible(request, site_id)
    if not permissions.may_issue_token(request.user, site):
        raise PermissionDenied("A token is issued by a dispatcher or the site's owner.")
    at, life = timezone.now(), configured.token_life()
    token = operations.issue_token(site=site, by=str(request.user), at=at, valid_for=life)
    context = {"nav": "enrolment", "site": site, "token": token, "expires_at": texts.instant(at + life)}
    response = render(request, "console/token.html", context)
    response.headers["Cache-Control"] = "private, no-store"
    return response


@require_POST
@login_required
def revoke(request: HttpRequest, site_id: str) -> HttpResponseBase:
    """Revoke a site's certificates."""
    site = _visible(request, site_id)
    _require_right(request)
    reason = request.POST.get("reason", "").strip()[:200] or "revoked on the page"
    operations.revoke_site(site=site, by=str(request.user), reason=reason, at=timezone.now())
    return redirect("enrolment")


def _require_right(request: HttpRequest) -> None:
    if not permissions.may_decide_enrolment(request.user):
        raise PermissionDenied("Certificates are decided upon by a dispatcher.")


def _visible(request: HttpRequest, site_id: str) -> Site:
    return get_object_or_404(permissions.visible_sites(request.user), site_id=site_id)
