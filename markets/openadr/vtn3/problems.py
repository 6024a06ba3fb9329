"""Every error of the VTN as a problem (RFC 7807), whoever raised it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from rest_framework import exceptions

log = logging.getLogger(__name__)

PREFIX = "/openadr3/"
CONTENT_TYPE = "application/problem+json"


class Conflict(exceptions.APIException):
    """What is asked for stands against what is held."""

    status_code = 409
    default_detail = "in conflict with what is held"


class TooLarge(exceptions.APIException):
    """A body beyond the bound."""

    status_code = 413
    default_detail = "the body is too large"


def problem(status: int, detail: str = "", **headers: str) -> HttpResponse:
    """Return a problem response."""
    body: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        body["detail"] = detail[:4_000]
    return HttpResponse(json.dumps(body), status=status, content_type=CONTENT_TYPE, headers=headers)


def answer_problem(error: Exception, _context: dict[str, Any]) -> HttpResponse:
    """Return the problem of an exception; one that nobody foresaw is logged and told without its text."""
    if isinstance(error, Http404):
        return problem(404, "no such object")
    if isinstance(error, PermissionDenied):
        return problem(403, "not allowed")
    if isinstance(error, IntegrityError):
        # Two wrote at once, and what this one stood on has gone with the other's commit.
        return problem(409, "in conflict with what another client wrote meanwhile")
    if not isinstance(error, exceptions.APIException):
        log.error("vtn3.fault", exc_info=error)
        return problem(500, "a fault on this side; it was logged")
    headers = {}
    if asked := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = str(asked)
    return problem(error.status_code, str(error.detail), **headers)


def as_problems(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Turn errors that middleware or Django itself answered under the VTN's addresses into problems."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not request.path_info.startswith(PREFIX) or response.status_code < 400:
            return response
        if response.get("Content-Type", "").startswith((CONTENT_TYPE, "application/json")):
            return response
        return problem(response.status_code)

    return answer
