"""Who may see or act on which site: the one place where rights are decided."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet

from sites.core.requests import SiteRequest
from sites.registry.models import Site

DISPATCHER: Final = "dispatcher"
OWNER: Final = "owner"
AUDITOR: Final = "auditor"
DESK: Final = "desk"
"""The market desk: what operators asked, what was owed, offered and settled; no site, no carbon, nothing to arm."""
ROLES: Final = (DISPATCHER, AUDITOR, DESK, OWNER)
"""Widest view first: a user in several groups has the first of these."""


def role_of(user: Any) -> str | None:
    """Return a user's role, or None when it has none, is not logged in or is switched off.

    A superuser counts as a dispatcher.
    """
    if not getattr(user, "is_authenticated", False) or not user.is_active:
        return None
    if user.is_superuser:
        return DISPATCHER
    groups = set(user.groups.filter(name__in=ROLES).values_list("name", flat=True))
    return next((role for role in ROLES if role in groups), None)


def visible_sites(user: Any) -> QuerySet[Site]:
    """Return the sites that a user may see: all for dispatchers and auditors, an owner's own, else none.

    The market desk sees none: it has what was settled of them (``sites_in_settlements``), not their life.
    """
    role = role_of(user)
    if role in {DISPATCHER, AUDITOR}:
        return Site.objects.all()
    if role == OWNER:
        return Site.objects.filter(memberships__user=user)
    return Site.objects.none()


def may_operate(user: Any) -> bool:
    """Tell whether a user may act on the fleet; only dispatchers may."""
    return role_of(user) == DISPATCHER


def may_issue_token(user: Any, site: Site) -> bool:
    """Tell whether a user may hand a site's installer an enrolment token: dispatchers, and the site's owner.

    A token only lets the site ask; whether it is let in is ``may_decide_enrolment``.
    """
    role = role_of(user)
    return role == DISPATCHER or (role == OWNER and visible_sites(user).filter(pk=site.pk).exists())


def may_decide_enrolment(user: Any) -> bool:
    """Tell whether a user may approve, refuse and revoke sites' certificates; only dispatchers may."""
    return role_of(user) == DISPATCHER


def may_audit(user: Any) -> bool:
    """Tell whether a user may read the whole fleet's books: dispatchers and auditors may."""
    return role_of(user) in {DISPATCHER, AUDITOR}


def may_read_market(user: Any) -> bool:
    """Tell whether a user may read the fleet's market: events, obligations, dispatches, offers and settlements."""
    return role_of(user) in {DISPATCHER, AUDITOR, DESK}


def may_trade(user: Any) -> bool:
    """Tell whether a user may make units, offers, baselines and note awards: dispatchers and the market desk may."""
    return role_of(user) in {DISPATCHER, DESK}


def may_set_windows(user: Any, site: Site) -> bool:
    """Tell whether a user may keep a site out of service for a while: dispatchers, and the site's owner."""
    return role_of(user) in {DISPATCHER, OWNER} and visible_sites(user).filter(pk=site.pk).exists()


def sites_in_settlements(user: Any) -> QuerySet[Site]:
    """Return the sites whose parts of settlements a user may read: all for who reads the market, an owner's own."""
    return Site.objects.all() if role_of(user) == DESK else visible_sites(user)


DISPATCHER_REQUESTS: Final = frozenset(SiteRequest) - {SiteRequest.MAINTENANCE_ON, SiteRequest.MAINTENANCE_OFF}
"""Operation: also what only the key at the site does, so that the site's own refusal stands in the trail."""
OWNER_REQUESTS: Final = frozenset({SiteRequest.MAINTENANCE_ON, SiteRequest.MAINTENANCE_OFF})
"""Work at one's own site."""


def permitted_requests(user: Any, site: Site) -> frozenset[SiteRequest]:
    """Return what a user may ask of a site: a dispatcher operates every site, an owner works at the own ones."""
    if not visible_sites(user).filter(pk=site.pk).exists():
        return frozenset()
    role = role_of(user)
    if role == DISPATCHER:
        return DISPATCHER_REQUESTS
    return OWNER_REQUESTS if role == OWNER else frozenset()
