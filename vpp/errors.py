"""Addresses that lead nowhere: a page for people, JSON for programs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found

from vpp.openapi import PREFIX


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404 in the form that the address's other answers have."""
    if request.path_info.startswith(PREFIX):
        return JsonResponse({"detail": "Not found."}, status=404)
    return page_not_found(request, exception)
