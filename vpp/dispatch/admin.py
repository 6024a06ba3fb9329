"""Dispatches, assignments and the lease to look at; they change by operations alone."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from vpp.dispatch.models import Dispatch, Lease, SiteAssignment


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """No row is added, changed or deleted by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


@admin.register(Dispatch)
class DispatchAdmin(ReadOnly):
    """What the fleet serves."""

    list_display = ["dispatch_id", "product", "power_kw", "armed_kw", "starts_at", "ends_at", "status"]
    list_filter = ["status"]


@admin.register(SiteAssignment)
class SiteAssignmentAdmin(ReadOnly):
    """What sites are asked to hold."""

    list_display = ["site", "sequence", "dispatch", "power_kw", "sends", "acknowledged_at", "refusal", "superseded"]
    list_select_related = ["site", "dispatch"]
    search_fields = ["site__site_id"]


@admin.register(Lease)
class LeaseAdmin(ReadOnly):
    """Who leads."""

    list_display = ["name", "holder", "token", "expires_at"]
