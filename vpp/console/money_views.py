"""The owner's money: what each asset was paid in a month, who got what of it, and the same as a table to keep."""

from __future__ import annotations

import csv
import io
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone

from markets import owner_statements
from markets.owner_statements import MonthInvalid
from sites.core.intervals import Interval
from sites.registry import permissions
from vpp.console import money_presenters
from vpp.console.queries import PAGE_SIZE
from vpp.console.roles import page_for

OWNERS = frozenset({permissions.OWNER})


@page_for(OWNERS)
def money(request: HttpRequest) -> HttpResponseBase:
    """The newest month in which something was booked, or this one."""
    months = owner_statements.months_of(sites=permissions.visible_sites(request.user))
    return redirect("money-month", months[0] if months else f"{timezone.now():%Y-%m}")


@page_for(OWNERS)
def money_month(request: HttpRequest, month: str) -> HttpResponseBase:
    """One month: each asset's total, the split, and every entry; 404 for a text that is no month."""
    sites, period = permissions.visible_sites(request.user), _month(month)
    entries = list(owner_statements.entries_of(sites=sites, month=period, owner_pk=request.user.pk))
    page = Paginator(entries, PAGE_SIZE).get_page(request.GET.get("page"))
    shown = list(page.object_list)
    lines = owner_statements.lines_of_entries(shown)
    totals = owner_statements.totals_of(entries)
    context: dict[str, Any] = {
        "nav": "money",
        "month": money_presenters.month_name(month),
        "month_key": month,
        "months": money_presenters.month_links(owner_statements.months_of(sites=sites), shown=month),
        "totals": [money_presenters.total_row(row) for row in totals],
        "has_demonstration": any(not row.is_real_money for row in totals),
        "agreements": [
            money_presenters.agreement_row(row, request.user.pk)
            for row in owner_statements.agreements_of(sites=sites)
            if row.starts_at < period.ends_at and (row.ends_at is None or row.ends_at > period.starts_at)
        ],
        "split_rule": owner_statements.SPLIT_RULE,
        "line_rules": sorted({(line.name, line.rule) for own in lines for line in own}),
        "rows": [money_presenters.entry_row(row, own) for row, own in zip(shown, lines, strict=True)],
        "page": page,
        "search": "",
    }
    return render(request, "console/money.html", context)


@page_for(OWNERS)
def money_csv(request: HttpRequest, month: str) -> HttpResponseBase:
    """The month's entries as CSV, one line an entry; what is no real money says so in each line."""
    period = _month(month)
    sites = permissions.visible_sites(request.user)
    entries = list(owner_statements.entries_of(sites=sites, month=period, owner_pk=request.user.pk))
    held = io.StringIO()
    writer = csv.DictWriter(held, money_presenters.CSV_COLUMNS)
    writer.writeheader()
    for start in range(0, len(entries), PAGE_SIZE):
        part = entries[start : start + PAGE_SIZE]
        for row, lines in zip(part, owner_statements.lines_of_entries(part), strict=True):
            writer.writerow(money_presenters.csv_row(row, lines))
    name = money_presenters.csv_name(month, entries)
    return HttpResponse(
        held.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _month(text: str) -> Interval:
    try:
        return owner_statements.month_of(text)
    except MonthInvalid as error:
        raise Http404(str(error)) from None
