"""Writes of the console: the demo's people."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from sites.registry.models import Membership, Site
from sites.registry.operations import grant_ownership
from sites.registry.permissions import OWNER, ROLES


class SitesNotEnrolled(ValueError):
    """The demo's people cannot be made; the message says what is in the way."""


def create_demo_users(*, owned_site_ids: Iterable[str]) -> dict[str, str]:
    """Make one person per role with a new random password each; return passwords by name.

    Running it again gives new passwords and exactly these sites to the owner. Raises SitesNotEnrolled
    when a site is not enrolled.
    """
    wanted = sorted(set(owned_site_ids))
    sites = list(Site.objects.filter(site_id__in=wanted))
    missing = sorted(set(wanted) - {site.site_id for site in sites})
    if missing:
        raise SitesNotEnrolled(f"not enrolled: {', '.join(missing[:5])}; `manage.py enrol_sites` does it")
    passwords: dict[str, str] = {}
    with transaction.atomic():
        for role in ROLES:
            user, _ = get_user_model()._default_manager.get_or_create(username=role)
            passwords[role] = secrets.token_urlsafe(12)
            user.set_password(passwords[role])
            user.is_active = True
            user.save()
            user.groups.set([Group.objects.get_or_create(name=role)[0]])
            if role == OWNER:
                Membership.objects.filter(user=user).exclude(site__in=sites).delete()
                grant_ownership(user, sites)
    return passwords
