"""What holds for every page: no NUL in an address, no copy of a person's page in a cache, its time counted."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase

from sites.observability import metrics

Page = Callable[[HttpRequest], HttpResponseBase]


def refuse_nul(get_response: Page) -> Page:
    """Answer 400 to an address with a NUL: PostgreSQL takes none, so that a search for it would be a fault."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        query = request.META.get("QUERY_STRING", "")
        if "\x00" in request.path_info or "\x00" in query or "%00" in query:
            return HttpResponseBadRequest("The address holds a NUL character.\n", content_type="text/plain")
        return get_response(request)

    return answer


def keep_out_of_caches(get_response: Page) -> Page:
    """Forbid storing what depends on who asks: after sign-out the back button must not show the fleet."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if isinstance(response, HttpResponse) and "Cookie" in response.get("Vary", ""):
            response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return answer


def measure(get_response: Page) -> Page:
    """Count each answer with its route, status and time; addresses that lead nowhere are one route together."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        began_s = time.perf_counter()
        response = get_response(request)
        route = request.resolver_match.view_name if request.resolver_match else "none"
        metrics.WEB_REQUEST_S.labels(route, str(response.status_code)).observe(time.perf_counter() - began_s)
        return response

    return answer
