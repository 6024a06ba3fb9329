"""What holds for every page: no NUL in an address, no copy of a person's page in a cache."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseBase

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
