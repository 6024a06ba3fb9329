"""The market's pages: events and answers, obligations, settlement runs down to the rows of a line, the catalogue."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from markets import desk, queries
from markets.core.lines import lines_of
from markets.core.products import PRODUCTS, ROWS
from markets.models import MarketEvent, Obligation
from markets.settled_shares import shares_of
from sites.registry import permissions
from vpp.console import market_presenters, texts
from vpp.console.queries import PAGE_SIZE
from vpp.console.roles import ALL_ROLES, MARKET_ROLES, page_for
from vpp.dispatch.models import Dispatch


@page_for(MARKET_ROLES)
def events(request: HttpRequest) -> HttpResponseBase:
    """Every version of every event: what came, what was answered and why."""
    search = request.GET.get("q", "")
    context = _page(request, desk.event_versions(search=search), "events", search)
    context["rows"] = [market_presenters.event_row(row) for row in context["page"].object_list]
    return render(request, "console/market_events.html", context)


@page_for(MARKET_ROLES)
def event(request: HttpRequest, pk: int) -> HttpResponseBase:
    """One event with all its versions and the message as it came; 404 for one that is not known."""
    found = get_object_or_404(MarketEvent.objects.select_related("program"), pk=pk)
    context = _context("events") | {
        "row": market_presenters.event_row(found),
        "message": market_presenters.message_text(found),
        "versions": [market_presenters.event_row(row) for row in desk.versions_of(found)[:PAGE_SIZE]],
    }
    return render(request, "console/market_event.html", context)


@page_for(MARKET_ROLES)
def obligations(request: HttpRequest) -> HttpResponseBase:
    """What the fleet owed and owes, newest start first."""
    search, at = request.GET.get("q", ""), timezone.now()
    context = _page(request, desk.obligations(search=search), "obligations", search)
    context["rows"] = [market_presenters.obligation_row(row, at=at) for row in context["page"].object_list]
    return render(request, "console/market_obligations.html", context)


@page_for(MARKET_ROLES)
def obligation(request: HttpRequest, dispatch_id: str) -> HttpResponseBase:
    """One obligation: the versions of its event, and its settlement runs with what each changed."""
    found = get_object_or_404(
        Obligation.objects.select_related("program", "event").prefetch_related("statements"), dispatch_id=dispatch_id
    )
    runs = list(queries.statements_of(dispatch_id=dispatch_id))
    settled = []
    for statement in runs:
        facts = queries.fleet_entry_facts(dispatch_id=dispatch_id, run=statement.run)
        changes = desk.difference_of(dispatch_id=dispatch_id, run=statement.run)
        settled.append(
            market_presenters.run_row(statement)
            | {
                "lines": [market_presenters.line_row(line, statement.currency) for line in lines_of(facts or {})],
                "changes": changes and market_presenters.difference_rows(changes, statement.currency),
            }
        )
    context = _context("obligations") | {
        "row": market_presenters.obligation_row(found, at=timezone.now()),
        "versions": [market_presenters.event_row(row) for row in desk.versions_of(found.event)[:PAGE_SIZE]],
        "runs": settled[::-1],
        "has_dispatch": Dispatch.objects.filter(dispatch_id=dispatch_id).exists(),
        "refusal": market_presenters.live_refusals(found.program.catalogue_row),
    }
    return render(request, "console/market_obligation.html", context)


@page_for(MARKET_ROLES)
def run(request: HttpRequest, dispatch_id: str, number: int) -> HttpResponseBase:
    """One settlement run: its terms, its lines, and each asset's part down to its rows; 404 for one not booked."""
    statement = queries.statements_of(dispatch_id=dispatch_id).filter(run=number).first()
    facts = queries.fleet_entry_facts(dispatch_id=dispatch_id, run=number)
    if statement is None or facts is None:
        raise Http404(f"obligation {dispatch_id!r} has no run {number}")
    page = Paginator(shares_of(dispatch_id=dispatch_id, run=number), PAGE_SIZE).get_page(request.GET.get("page"))
    context = _context("settlements") | {
        "row": market_presenters.run_row(statement),
        "lines": [market_presenters.line_row(line, statement.currency) for line in lines_of(facts)],
        "terms": market_presenters.term_rows(facts),
        "shares": [market_presenters.share_row(share) for share in page.object_list],
        "page": page,
        "search": "",
    }
    return render(request, "console/market_run.html", context)


@page_for(ALL_ROLES)
def rows(request: HttpRequest, dispatch_id: str, number: int, site_id: str) -> HttpResponseBase:
    """The rows of the meter book behind one asset's part; 404 for a site whose parts are not one's to read."""
    site = get_object_or_404(permissions.sites_in_settlements(request.user), site_id=site_id)
    found = desk.traced_rows(dispatch_id=dispatch_id, run=number, site_id=site.site_id)
    if found is None:
        raise Http404(f"site {site_id} has no share in run {number} of {dispatch_id!r}")
    is_owner = permissions.role_of(request.user) == permissions.OWNER
    context = _context("settlements") | {
        "nav": "money" if is_owner else "market",
        "is_owner": is_owner,
        "site": site,
        "dispatch_id": dispatch_id,
        "run": number,
        "share": market_presenters.share_row(found.share),
        "traced": market_presenters.traced_rows(found),
    }
    return render(request, "console/market_rows.html", context)


@page_for(MARKET_ROLES)
def offers(request: HttpRequest) -> HttpResponseBase:
    """What was offered, from which sum, what was taken of it, and what was declared since."""
    context = _page(request, desk.offers(), "offers", "")
    context["rows"] = [market_presenters.offer_row(row) for row in context["page"].object_list]
    return render(request, "console/market_offers.html", context)


@page_for(MARKET_ROLES)
def settlements(request: HttpRequest) -> HttpResponseBase:
    """Every settlement run, the newest first."""
    context = _page(request, desk.statements(), "settlements", "")
    context["rows"] = [market_presenters.run_row(row) for row in context["page"].object_list]
    return render(request, "console/market_settlements.html", context)


@page_for(ALL_ROLES)
def products(request: HttpRequest) -> HttpResponseBase:
    """The catalogue: what grid operators buy, and how certain each group of facts is."""
    context = _context("products") | {"rows": [market_presenters.product_row(row) for row in PRODUCTS.values()]}
    return render(request, "console/market_products.html", context)


@page_for(ALL_ROLES)
def product(request: HttpRequest, name: str) -> HttpResponseBase:
    """One product: its rules with their sources, why it is not settled live, and its older rows."""
    found = [row for row in ROWS if row.name == name]
    if name not in PRODUCTS:
        raise Http404(f"product {name!r} is not in the catalogue")
    newest = PRODUCTS[name]
    context = _context("products") | {
        "product": market_presenters.product_page(newest),
        "older": [market_presenters.product_page(row) for row in found if row is not newest],
    }
    return render(request, "console/market_product.html", context)


def _context(tab: str) -> dict[str, Any]:
    return {"nav": "market", "tab": tab, "as_of": texts.instant(timezone.now())}


def _page(request: HttpRequest, rows: QuerySet[Any], tab: str, search: str) -> dict[str, Any]:
    return _context(tab) | {
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "search": search,
    }
