"""The VTN's addresses in DRF: each parses, calls one operation or query, and answers its text."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.views.mixins import OAuthLibMixin
from rest_framework.exceptions import NotFound, PermissionDenied, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import FormParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from markets.openadr.vtn3 import operations, queries, rights
from markets.openadr.vtn3.authentication import BearerToken, Caller, HasScope, require_tls, token_path
from markets.openadr.vtn3.bodies import StrictJson, check_body
from markets.openadr.vtn3.kinds import KIND_AT, PROGRAM, RESOURCE, VEN, Kind, Role, Version, scopes_needed
from markets.openadr.vtn3.notifiers import binding
from markets.openadr.vtn3.parameters import filter_of
from markets.openadr.vtn3.problems import TooLarge, answer_problem, problem
from markets.openadr.vtn3.topics import topics_at

MAX_FORM_BYTES = 16_384


def caller_of(request: Request) -> Caller:
    """Return who asks, as BearerToken found it."""
    return cast(Caller, request.user)


class AnswersJson(BaseContentNegotiation):
    """There is one form of answer, whatever a client says it accepts."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the parser of the body's type; none for a type that is not taken."""
        offered = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == offered), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        """Return the one renderer."""
        return renderers[0], renderers[0].media_type


class VtnView(APIView):
    """What all addresses share."""

    version: ClassVar[Version]
    kind: ClassVar[Kind]
    authentication_classes = [BearerToken]
    permission_classes = [HasScope]
    parser_classes = [StrictJson]
    content_negotiation_class = AnswersJson
    http_method_names = ["get", "post", "put", "delete"]

    def get_exception_handler(self) -> Any:
        """Return what makes problems of errors."""
        return answer_problem

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what came in the clear before anything else is looked at."""
        require_tls(request._request)
        super().initial(request, *args, **kwargs)

    def scopes_needed(self, method: str | None) -> tuple[str, ...]:
        """Return the scopes of which a token needs one for a method."""
        return scopes_needed(self.version, self.kind, writes=method != "GET")

    def checked_body(self, request: Request) -> dict[str, Any]:
        """Return the body once the version's schema took it."""
        check_body(self.version, f"{self.kind.name.lower()}Request", request.data)
        return dict(request.data)

    def answer(self, text: str, status: int = 200, **headers: str) -> HttpResponse:
        """Return a JSON answer that no cache keeps for somebody else."""
        return HttpResponse(
            text.encode(),
            status=status,
            content_type="application/json",
            headers={"Cache-Control": "private", **headers},
        )

    def answer_read(self, request: Request, text: str) -> HttpResponse:
        """Return what was read, or 304 to a client that has it."""
        tag = f'"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"'
        if tag in [held.strip() for held in request.META.get("HTTP_IF_NONE_MATCH", "").split(",")]:
            return HttpResponse(status=304, headers={"ETag": tag})
        return self.answer(text, ETag=tag)

    def one(self, caller: Caller, row: Any) -> str:
        """Return an object's text for the caller."""
        return queries.one_text(self.version, caller, self.kind, row)


class Collection(VtnView):
    """All objects of a kind: read in pages, and created."""

    def get(self, request: Request, venID: str = "") -> HttpResponseBase:  # noqa: N803 - the protocol's name
        """Return one page of what the client sees."""
        wanted = filter_of(self.version, self.kind, request.query_params, ven_id=venID or None)
        if venID:
            rights.visible_object(caller_of(request), VEN, venID)
        text = queries.page_text(self.version, caller_of(request), self.kind, wanted, at=timezone.now())
        return self.answer_read(request, text)

    def post(self, request: Request, venID: str = "") -> HttpResponseBase:  # noqa: N803
        """Create an object."""
        row = operations.create_object(
            version=self.version,
            caller=caller_of(request),
            kind=self.kind,
            body=self.checked_body(request),
            at=timezone.now(),
            parent_id=venID,
        )
        return self.answer(self.one(caller_of(request), row), status=201)


class Single(VtnView):
    """One object."""

    def get(self, request: Request, object_id: str, venID: str = "") -> HttpResponseBase:  # noqa: N803
        """Return it."""
        self.require_ven(caller_of(request), object_id, venID)
        row = rights.visible_object(caller_of(request), self.kind, object_id)
        return self.answer_read(request, self.one(caller_of(request), row))

    def put(self, request: Request, object_id: str, venID: str = "") -> HttpResponseBase:  # noqa: N803
        """Replace what the client writes of it."""
        self.require_ven(caller_of(request), object_id, venID)
        row = operations.update_object(
            version=self.version,
            caller=caller_of(request),
            kind=self.kind,
            object_id=object_id,
            body=self.checked_body(request),
            at=timezone.now(),
        )
        return self.answer(self.one(caller_of(request), row))

    def delete(self, request: Request, object_id: str, venID: str = "") -> HttpResponseBase:  # noqa: N803
        """Delete it, and return what it was."""
        self.require_ven(caller_of(request), object_id, venID)
        row = operations.delete_object(
            caller=caller_of(request), kind=self.kind, object_id=object_id, at=timezone.now()
        )
        return self.answer(self.one(caller_of(request), row))

    def require_ven(self, caller: Caller, object_id: str, ven_id: str) -> None:
        """Raise NotFound when a resource is not the addressed ven's (3.0.1)."""
        if ven_id:
            row = rights.visible_object(caller, RESOURCE, object_id)
            if row.parent is None or row.parent.object_id != ven_id:
                raise NotFound(f"no resource {object_id[:128]}")


class AuthServer(VtnView):
    """Where tokens are had."""

    authentication_classes = []
    permission_classes = [AllowAny]
    http_method_names = ["get"]

    def get(self, request: Request) -> HttpResponseBase:
        """Return the token endpoint's address."""
        url = request._request.build_absolute_uri(token_path(self.version))
        return self.answer(json.dumps({"tokenURL": url}))


class Token(VtnView, OAuthLibMixin):  # type: ignore[misc]
    """The token endpoint: OAuth2 client credentials (RFC 6749, 4.4)."""

    authentication_classes = []
    permission_classes = [AllowAny]
    parser_classes = [FormParser]
    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponseBase:
        """Return a token, or why there is none in RFC 6749's own form."""
        raw = request._request
        if (request.content_type or "").partition(";")[0] != "application/x-www-form-urlencoded":
            raise UnsupportedMediaType(request.content_type or "none")
        if len(raw.body) > MAX_FORM_BYTES:
            raise TooLarge(f"the form has more than {MAX_FORM_BYTES} bytes")
        if b"\0" in raw.body or b"%00" in raw.body:
            return self.refused("invalid_request", "the form holds a NUL")
        try:
            _, headers, body, status = self.create_token_response(raw)
        except ValueError:
            # oauthlib's own decoder gives up on a form that is none.
            return self.refused("invalid_request", "the form cannot be read")
        kept = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        return HttpResponse(body, status=status, content_type="application/json", headers=kept)

    def refused(self, error: str, description: str) -> HttpResponse:
        """Return an error of the token endpoint."""
        return self.answer(json.dumps({"error": error, "error_description": description}), status=400)


class Notifiers(VtnView):
    """By which ways the VTN tells what happens (3.1)."""

    http_method_names = ["get"]

    def scopes_needed(self, method: str | None) -> tuple[str, ...]:
        """Return the scopes: every client may know."""
        return ("read_all", "read_targets")

    def get(self, request: Request) -> HttpResponseBase:
        """Return them."""
        return self.answer(json.dumps(binding()))


class Topics(VtnView):
    """MQTT topics of one collection or object (3.1); business logic's, or a VEN's own."""

    path: ClassVar[str]
    """Such as ``vens/{venID}/events``."""
    http_method_names = ["get"]

    def scopes_needed(self, method: str | None) -> tuple[str, ...]:
        """Return the scopes of which a token needs one."""
        return ("read_all", "read_ven_objects") if self.path.startswith("vens/{") else ("read_all",)

    def get(self, request: Request, **ids: str) -> HttpResponseBase:
        """Return them; 404 when no broker is offered."""
        if not settings.VTN_MQTT_URIS:
            raise NotFound("this VTN offers no MQTT broker")
        for name, object_id in ids.items():
            kind = KIND_AT["vens"] if name == "venID" else PROGRAM
            rights.visible_object(caller_of(request), kind, object_id)
        if caller_of(request).role is not Role.BL and "venID" not in ids:
            raise PermissionDenied("a VEN has the topics under vens/{venID} alone")
        found = topics_at(self.path.format(**ids), creates=not self.path.endswith("}"))
        return self.answer(json.dumps({"topics": found}))


@csrf_exempt
def no_such_address(request: HttpRequest, **_: Any) -> HttpResponse:
    """Answer an address that leads nowhere."""
    return problem(404, "no such address")
