"""Addresses of the platform; composition only."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("markets.openadr.vtn3.urls")),
    path("", include("vpp.console.urls")),
    path("api/v1/", include("vpp.dispatch.urls")),
    path("", include("vpp.market.urls")),
]
handler404 = "vpp.errors.not_found"
