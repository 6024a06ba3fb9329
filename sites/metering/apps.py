"""The meter book, as a Django app."""

from django.apps import AppConfig


class MeteringConfig(AppConfig):
    """Register the app under its own label."""

    name = "sites.metering"
    label = "metering"
