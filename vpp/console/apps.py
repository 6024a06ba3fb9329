"""The dispatcher's pages, as a Django app."""

from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    """Register the app under its own label."""

    name = "vpp.console"
    label = "console"
