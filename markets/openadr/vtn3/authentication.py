"""Who asks: OAuth2 clients by their bearer tokens, over TLS or on this machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.http import HttpRequest
from django.utils import timezone
from oauth2_provider.models import get_access_token_model
from oauth2_provider.scopes import BaseScopes
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from markets.openadr.vtn3.kinds import SCOPES, SCOPES_OF, Role, Version

LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client."""

    client_id: str
    role: Role
    scopes: frozenset[str]
    is_authenticated: bool = True

    @property
    def is_ven(self) -> bool:
        """Whether it is a VEN below, not business logic above."""
        return self.role is Role.VEN


class MachineSecretHasher(PBKDF2PasswordHasher):
    """Hashes secrets that this platform made: 128 random characters cannot be guessed however fast a guess is.

    The many rounds for people's passwords would cost half a second for each token of each VEN.
    """

    algorithm = "pbkdf2_sha256_machine"
    iterations = 1_000


class RoleScopes(BaseScopes):  # type: ignore[misc]
    """The scopes that a client may have, by its role."""

    def get_all_scopes(self) -> dict[str, str]:
        """Return every scope and what it opens."""
        return dict(SCOPES)

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        """Return the scopes of the application's role; none for an application that is no client of the VTN."""
        held = getattr(application, "openadr_client", None)
        return list(SCOPES_OF[Role(held.role)]) if held is not None else []

    def get_default_scopes(self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any) -> list[str]:
        """Return what a client gets that asks for none."""
        return self.get_available_scopes(application, request)


class BearerToken(BaseAuthentication):
    """``Authorization: Bearer``: one look-up by the token's indexed checksum."""

    def authenticate(self, request: Request) -> tuple[Caller, Any] | None:
        """Return the caller; None without such a header; raise for a token that is not in force."""
        words = request.META.get("HTTP_AUTHORIZATION", "").split()
        if not words or words[0].lower() != "bearer":
            return None
        if len(words) != 2:
            raise AuthenticationFailed("the Authorization header is not: Bearer and a token")
        checksum = hashlib.sha256(words[1].encode("utf-8", "surrogatepass")).hexdigest()
        row = (
            get_access_token_model()
            .objects.filter(token_checksum=checksum, expires__gt=timezone.now())
            .values_list("application__client_id", "application__openadr_client__role", "scope")
            .first()
        )
        if row is None or row[1] is None:
            raise AuthenticationFailed("the token is unknown or has expired")
        client_id, role, scope = row
        return Caller(client_id, Role(role), frozenset(scope.split())), None

    def authenticate_header(self, request: Request) -> str:
        """Return what 401 tells the client to send."""
        return 'Bearer realm="openadr3"'


class HasScope(BasePermission):
    """A token is there and has one of the scopes that the view needs for this method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether; raise PermissionDenied naming the scopes otherwise."""
        caller = request.user
        if not isinstance(caller, Caller):
            return False
        needed = view.scopes_needed(request.method)
        if not caller.scopes.isdisjoint(needed):
            return True
        raise PermissionDenied(f"the token has none of the scopes {', '.join(needed)}")


def require_tls(request: HttpRequest) -> None:
    """Raise PermissionDenied for a request that came over the network in the clear."""
    if request.is_secure() or settings.DEBUG or request.META.get("REMOTE_ADDR", "") in LOOPBACK:
        return
    raise PermissionDenied("HTTPS is required")


def token_path(version: Version) -> str:
    """Return where tokens are asked for."""
    return f"/openadr3/{version}/auth/token"
