"""Who a site is on the wire, as a Django app: tokens, requests, certificates, revocation, alarms."""

from django.apps import AppConfig


class IdentityConfig(AppConfig):
    """Register the app under its own label."""

    name = "sites.identity"
    label = "identity"
