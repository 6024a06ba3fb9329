"""Our OpenADR 3 VTN, as a Django app."""

from django.apps import AppConfig


class Vtn3Config(AppConfig):
    """Register the app under its own label."""

    name = "markets.openadr.vtn3"
    label = "vtn3"
