"""Obligations and the grid-support book, as a Django app."""

from django.apps import AppConfig


class MarketsConfig(AppConfig):
    """Register the app under its own label."""

    name = "markets"
    label = "markets"
