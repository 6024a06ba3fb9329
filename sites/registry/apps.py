"""Sites, meters, assets, and who may see or act on which, as a Django app."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    """Register the app under its own label."""

    name = "sites.registry"
    label = "registry"
