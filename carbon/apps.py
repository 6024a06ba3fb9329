"""The carbon book, as a Django app."""

from django.apps import AppConfig


class CarbonConfig(AppConfig):
    """Register the app under its own label."""

    name = "carbon"
    label = "carbon"
