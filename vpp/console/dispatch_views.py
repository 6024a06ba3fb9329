"""The dispatches' pages: what each delivered, and what others would have taken for the same."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from sites.registry import permissions
from vpp.console import dispatch_presenters
from vpp.console.queries import PAGE_SIZE
from vpp.console.roles import MARKET_ROLES, page_for
from vpp.dispatch import queries
from vpp.dispatch.impact import dispatch_impact
from vpp.dispatch.models import Dispatch


@page_for(MARKET_ROLES)
def dispatches(request: HttpRequest) -> HttpResponseBase:
    """All dispatches, newest window first."""
    page = Paginator(queries.dispatches_with_statements(), PAGE_SIZE).get_page(request.GET.get("page"))
    at = timezone.now()
    rows = [dispatch_presenters.dispatch_row(row, at=at) for row in page.object_list]
    return render(request, "console/dispatches.html", {"nav": "dispatches", "page": page, "rows": rows, "search": ""})


@page_for(MARKET_ROLES)
def dispatch(request: HttpRequest, dispatch_id: str) -> HttpResponseBase:
    """One dispatch: what the books say beside the estimates; 404 for one that is not known."""
    try:
        summary = queries.dispatch_summary(dispatch_id=dispatch_id, at=timezone.now())
    except Dispatch.DoesNotExist as error:
        raise Http404(str(error)) from None
    impact = dispatch_impact(dispatch_id=dispatch_id)
    context = {
        "nav": "dispatches",
        "summary": dispatch_presenters.summary_rows(summary),
        "dispatch_id": dispatch_id,
        "may_read_books": permissions.may_audit(request.user),
        "delivered": dispatch_presenters.delivered_rows(impact.delivered) if impact.delivered else None,
        "instead": dispatch_presenters.instead_table(impact.statement) if impact.statement else None,
    }
    return render(request, "console/dispatch.html", context)
