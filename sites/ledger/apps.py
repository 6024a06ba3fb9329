"""The append-only mechanism all three books use, as a Django app."""

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """Register the app under its own label."""

    name = "sites.ledger"
    label = "ledger"
