"""Addresses of the market's API, and of its schema."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from vpp.console.api import HasRole
from vpp.market import views

api_patterns = [
    path("api/v1/market/products/", views.Products.as_view(), name="api-market-products"),
    path("api/v1/market/obligations/", views.Obligations.as_view(), name="api-market-obligations"),
    path("api/v1/market/obligations/<str:dispatch_id>/runs/", views.Runs.as_view(), name="api-market-runs"),
    path(
        "api/v1/market/obligations/<str:dispatch_id>/runs/<int:run>/lines/",
        views.Lines.as_view(),
        name="api-market-lines",
    ),
    path(
        "api/v1/market/obligations/<str:dispatch_id>/runs/<int:run>/shares/",
        views.Shares.as_view(),
        name="api-market-shares",
    ),
]
urlpatterns = [
    *api_patterns,
    path("api/schema/", SpectacularAPIView.as_view(permission_classes=[HasRole]), name="api-schema"),
]
