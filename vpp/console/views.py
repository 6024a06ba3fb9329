"""The pages: each asks one query for what the person may see and hands it to a presenter."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from markets import owner_statements
from sites.core.requests import SiteRequest
from sites.identity import queries as identity_queries
from sites.metering.models import Quarantine, WaveformRecord
from sites.metering.quarantine import open_quarantines, release
from sites.registry import permissions
from sites.registry.models import Site
from vpp.console import account, enrolment_presenters, money_presenters, presenters, queries, requests, texts, throttle
from vpp.console.roles import FLEET_ROLES, SITE_ROLES, page_for
from vpp.dispatch import commands

FIRST_PAGES: Final = {permissions.OWNER: "my-sites", permissions.DESK: "market-events"}
"""Of those who do not see the fleet."""


class SignIn(LoginView):
    """The login page; who is signed in already goes on to the own first page."""

    template_name = "console/login.html"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Sign in, unless this name or address failed too often; then 429, whatever the password."""
        who = {"name": request.POST.get("username", ""), "address": request.META.get("REMOTE_ADDR", "")}
        if not throttle.may_try(**who, at=timezone.now()):
            # An unbound form: nothing of what was typed is looked at.
            context = {"next": request.POST.get("next", ""), "wait_min": throttle.WINDOW_S // 60}
            return render(request, self.template_name, context, status=429)
        response: HttpResponse = super().post(request, *args, **kwargs)
        if request.user.is_authenticated:
            throttle.note_success(**who)
        return response


def fleet(request: HttpRequest) -> HttpResponseBase:
    """The first page: the fleet for who sees it; an owner is sent to the own sites, the desk to the market."""
    role = permissions.role_of(request.user)
    if role in FIRST_PAGES:
        return redirect(FIRST_PAGES[role])
    return _fleet(request)


@page_for(FLEET_ROLES)
def _fleet(request: HttpRequest) -> HttpResponseBase:
    return render(request, "console/fleet.html", {"nav": "fleet", "modes": texts.MODES.items()})


@page_for(FLEET_ROLES)
def sites(request: HttpRequest) -> HttpResponseBase:
    """The sites table, 50 a page, with search."""
    at = timezone.now()
    search = request.GET.get("q", "")
    rows = queries.site_table(sites=permissions.visible_sites(request.user), search=search)
    page = Paginator(rows, queries.PAGE_SIZE).get_page(request.GET.get("page"))
    quarantines = open_quarantines(sites=permissions.visible_sites(request.user), with_strangers=True)
    context = {
        "nav": "sites",
        "page": page,
        "rows": [presenters.site_row(site, at=at) for site in page.object_list],
        "search": search,
        "as_of": texts.instant(at),
        "quarantines": [presenters.quarantine_row(row) for row in quarantines[: queries.PAGE_SIZE]],
        "may_release": permissions.may_operate(request.user),
    }
    return render(request, "console/sites.html", context)


@require_POST
@page_for(FLEET_ROLES)
def release_quarantine(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Hear a site again that was cut off."""
    if not permissions.may_operate(request.user):
        raise PermissionDenied("quarantines are ended by a dispatcher")
    release(quarantine=get_object_or_404(Quarantine, pk=pk), by=str(request.user), at=timezone.now())
    return redirect("sites")


@page_for(frozenset({permissions.OWNER}))
def my_sites(request: HttpRequest) -> HttpResponseBase:
    """The owner's page: is my site safe, what did it earn."""
    at = timezone.now()
    sites = permissions.visible_sites(request.user)
    totals = owner_statements.totals_of(owner_statements.entries_of(sites=sites, owner_pk=request.user.pk))
    cards = [
        {
            "row": presenters.site_row(site, at=at),
            "earned": money_presenters.earned(row for row in totals if row.site_id == site.site_id),
        }
        for site in sites.select_related("live").order_by("site_id")[: queries.MAX_ROWS_PER_SOCKET]
    ]
    return render(request, "console/my_sites.html", {"nav": "my-sites", "cards": cards})


@page_for(SITE_ROLES)
def site(request: HttpRequest, site_id: str) -> HttpResponseBase:
    """One site: live values, islanding records, book entries; 404 for somebody else's site."""
    found = _visible_site(request, site_id)
    at = timezone.now()
    zone = texts.zone_of(found)
    waveforms = queries.latest_waveforms(site=found)
    entries = queries.site_entries(site=found)
    itself = Site.objects.filter(pk=found.pk)
    context = {
        **account.site_account(site=found, at=at, zone=zone),
        "buttons": requests.request_buttons(permissions.permitted_requests(request.user, found)),
        "nav": "my-sites" if permissions.role_of(request.user) == permissions.OWNER else "sites",
        "site": found,
        "row": presenters.site_row(found, at=at),
        "assets": [presenters.asset_row(asset) for asset in found.assets.all()],
        "history": presenters.history_panel(found.assets.all()),
        "waveforms": [presenters.waveform_row(record, zone) for record in waveforms],
        "entries": [presenters.entry_row(entry, zone) for entry in entries],
        "unmapped": queries.unmapped_metrics(site=found),
        "zone": zone.key,
        "may_issue_token": permissions.may_issue_token(request.user, found),
        "may_revoke": permissions.may_decide_enrolment(request.user),
        "certificates": [
            enrolment_presenters.certificate_row(row, at=at) for row in identity_queries.certificates(sites=itself)[:5]
        ],
        "alarms": [enrolment_presenters.alarm_row(alarm) for alarm in identity_queries.open_alarms(sites=itself)],
    }
    return render(request, "console/site.html", context)


@page_for(SITE_ROLES)
def site_request(request: HttpRequest, site_id: str, name: str) -> HttpResponseBase:
    """Ask once more before a request goes to a site; a confirmed one goes, and the site's page shows its answer."""
    found = _visible_site(request, site_id)
    try:
        wanted = SiteRequest(name)
    except ValueError:
        raise Http404(f"request {name!r} is not known") from None
    if wanted not in permissions.permitted_requests(request.user, found):
        raise PermissionDenied(f"{requests.TEXTS[wanted].title} at this site is not for your role.")
    context: dict[str, object] = {
        "nav": "my-sites" if permissions.role_of(request.user) == permissions.OWNER else "sites",
        "site": found,
        "text": requests.TEXTS[wanted],
        "row": presenters.site_row(found, at=timezone.now()),
    }
    if request.method != "POST":
        return render(request, "console/site_request.html", context)
    try:
        commands.issue_command(site=found, request=wanted, user=request.user, at=timezone.now())
    except commands.CommandPending as error:
        return render(request, "console/site_request.html", context | {"error": str(error)}, status=409)
    return redirect(f"{reverse('site', args=[site_id])}#requests")


@page_for(SITE_ROLES)
def waveform(request: HttpRequest, site_id: str, number: int) -> HttpResponseBase:
    """One islanding record as JSON for the plot."""
    found = _visible_site(request, site_id)
    try:
        record = queries.waveform(site=found, number=number)
    except WaveformRecord.DoesNotExist:
        raise Http404(f"site {site_id} has no waveform {number}") from None
    except queries.WaveformUnreadable as error:
        return JsonResponse({"error": "waveform_unreadable", "detail": str(error)}, status=422)
    return JsonResponse(presenters.waveform_json(record, texts.zone_of(found)))


@page_for(SITE_ROLES)
def waveform_download(request: HttpRequest, site_id: str, number: int) -> HttpResponseBase:
    """One islanding record as COMTRADE files, for whoever may see the site."""
    found = _visible_site(request, site_id)
    try:
        record, samples = queries.stored_waveform(site=found, number=number)
    except WaveformRecord.DoesNotExist:
        raise Http404(f"site {site_id} has no waveform {number}") from None
    except queries.WaveformUnreadable as error:
        return JsonResponse({"error": "waveform_unreadable", "detail": str(error)}, status=422)
    name, data = presenters.waveform_archive(record, samples, queries.recorded_site(site=found))
    return HttpResponse(
        data, content_type="application/zip", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@page_for(FLEET_ROLES)
def books(request: HttpRequest) -> HttpResponseBase:
    """The books, read-only: entries with chain, position and hash."""
    models = queries.books()
    name = request.GET.get("book", "")
    sizes = queries.book_sizes()
    # Without a choice, the first book that holds something.
    first = next((book for book, entries, _ in sizes if entries), next(iter(models), ""))
    model = models.get(name) or models.get(first)
    search = request.GET.get("q", "")
    context: dict[str, object] = {
        "nav": "books",
        "books": [(book, presenters.book_title(book), *size) for book, *size in sizes],
        "search": search,
    }
    if model is not None:
        page = Paginator(queries.book_entries(model=model, search=search), queries.PAGE_SIZE).get_page(
            request.GET.get("page")
        )
        context |= {
            "book": model.book_name(),
            "page": page,
            "entries": [presenters.entry_row(entry) for entry in page.object_list],
        }
    return render(request, "console/books.html", context)


def healthz(request: HttpRequest) -> HttpResponse:
    """Tell whether this process can serve: 503 naming what is gone."""
    # Imported here: management commands load the addresses without opening a broker link.
    from vpp.console.broadcast import LIVE

    checks = {"database": queries.database_fault(), "broker": "" if LIVE.link.is_connected else LIVE.link.last_error}
    faults = {name: fault for name, fault in checks.items() if fault}
    body = {"status": "unavailable" if faults else "ok", "gone": sorted(faults)}
    return JsonResponse(body, status=503 if faults else 200)


def _visible_site(request: HttpRequest, site_id: str) -> Site:
    # Filtered by right first: a site that is not visible looks exactly like one that does not exist.
    return get_object_or_404(permissions.visible_sites(request.user), site_id=site_id)
