"""The registry in Django's admin: read by dispatchers and auditors, changed by superusers only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from sites.registry import permissions
from sites.registry.models import Asset, Enrollment, Membership, Site


class ReadMostlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Staff with a fleet-wide role may read; only a superuser may write."""

    def has_module_permission(self, request: Any) -> bool:
        """Show the app to whoever may read it."""
        return permissions.may_audit(request.user)

    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        """Allow dispatchers and auditors."""
        return permissions.may_audit(request.user)

    def has_add_permission(self, request: Any, *args: Any) -> bool:
        """Allow superusers."""
        return bool(request.user.is_active and request.user.is_superuser)

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Allow superusers."""
        return self.has_add_permission(request)

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Allow superusers."""
        return self.has_add_permission(request)


@admin.register(Site)
class SiteAdmin(ReadMostlyAdmin):
    """Sites with their place on the wire."""

    list_display = ("site_id", "name", "grid_zone", "time_zone", "loss_of_link", "partition", "enrolled_at")
    list_filter = ("grid_zone", "loss_of_link")
    search_fields = ("site_id", "name")
    readonly_fields = ("site_id", "partition", "enrolled_at")

    def has_add_permission(self, request: Any, *args: Any) -> bool:
        """Refuse: sites come by a manifest, which is checked as a whole."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Refuse: a site's books stay."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Allow superusers."""
        return bool(request.user.is_active and request.user.is_superuser)


@admin.register(Asset)
class AssetAdmin(ReadMostlyAdmin):
    """Assets with their nameplate."""

    list_display = ("site", "name", "kind", "rated_kw", "export_limit_kw", "capacity_kwh", "reserve_kwh")
    list_filter = ("kind",)
    list_select_related = ("site",)
    search_fields = ("site__site_id", "name")
    readonly_fields = ("site", "name", "kind")


@admin.register(Membership)
class MembershipAdmin(ReadMostlyAdmin):
    """Owners of sites."""

    list_display = ("user", "site")
    list_select_related = ("user", "site")
    search_fields = ("user__username", "site__site_id")


@admin.register(Enrollment)
class EnrollmentAdmin(ReadMostlyAdmin):
    """Programs that sites serve."""

    list_display = ("site", "program", "since")
    list_filter = ("program",)
    list_select_related = ("site",)
