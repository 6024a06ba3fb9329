"""What the page shell asks of the person signed in."""

from __future__ import annotations

from typing import Any

from django import template

from sites.registry import permissions

register = template.Library()


@register.simple_tag
def role_of(user: Any) -> str:
    """Return the person's role, empty without one."""
    return permissions.role_of(user) or ""
