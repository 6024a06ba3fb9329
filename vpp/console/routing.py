"""Addresses of the websockets."""

from __future__ import annotations

from django.urls import URLPattern, path

from vpp.console.consumers import FleetConsumer, SitesConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/fleet/", FleetConsumer.as_asgi()),
    path("ws/sites/", SitesConsumer.as_asgi()),
    path("ws/sites/<slug:site_id>/", SitesConsumer.as_asgi()),
]
