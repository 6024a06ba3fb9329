"""Which pages a role opens; the role itself and rights on sites are decided in sites.registry.permissions."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase

from sites.registry.permissions import AUDITOR, DESK, DISPATCHER, OWNER, role_of

View = Callable[..., HttpResponseBase]

FLEET_ROLES: Final = frozenset({DISPATCHER, AUDITOR})
"""Those who may see the whole fleet."""
SITE_ROLES: Final = FLEET_ROLES | {OWNER}
"""Those who may see sites; which ones is decided site by site."""
MARKET_ROLES: Final = FLEET_ROLES | {DESK}
"""Those who may read the fleet's market."""
ALL_ROLES: Final = SITE_ROLES | {DESK}


def page_for(roles: frozenset[str]) -> Callable[[View], View]:
    """Open a page to these roles: a stranger is sent to the login, another role gets 403 with the reason."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            role = role_of(request.user)
            if role not in roles:
                wanted = " or ".join(sorted(roles))
                held = f"you are signed in as {role}" if role else "your account has no role yet"
                raise PermissionDenied(f"This page is for the role {wanted}; {held}.")
            return view(request, *args, **kwargs)

        return login_required(guarded)

    return decorate
