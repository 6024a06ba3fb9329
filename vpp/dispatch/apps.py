"""Arming the fleet, as a Django app."""

from django.apps import AppConfig


class DispatchConfig(AppConfig):
    """Register the app under its own label."""

    name = "vpp.dispatch"
    label = "dispatch"
