"""Addresses of the market's API, and of its schema."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView

from vpp.console.api import HasRole
from vpp.market import offer_views, views, window_views

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
    path("api/v1/market/rules/", offer_views.Rules.as_view(), name="api-market-rules"),
    path("api/v1/market/units/", offer_views.Units.as_view(), name="api-market-units"),
    path("api/v1/market/units/<str:name>/headroom/", offer_views.UnitHeadroom.as_view(), name="api-market-headroom"),
    path(
        "api/v1/market/units/<str:name>/qualifications/",
        offer_views.Qualifications.as_view(),
        name="api-market-qualifications",
    ),
    path("api/v1/market/units/<str:name>/baselines/", offer_views.Baselines.as_view(), name="api-market-baselines"),
    path("api/v1/market/offers/", offer_views.Offers.as_view(), name="api-market-offers"),
    path("api/v1/market/offers/<int:pk>/", offer_views.OfferDetail.as_view(), name="api-market-offer"),
    path("api/v1/market/offers/<int:pk>/close/", offer_views.OfferClosing.as_view(), name="api-market-offer-close"),
    path("api/v1/market/offers/<int:pk>/awards/", offer_views.Awards.as_view(), name="api-market-awards"),
    path("api/v1/market/redeclarations/", offer_views.Redeclarations.as_view(), name="api-market-redeclarations"),
    path("api/v1/market/windows/", window_views.SiteWindows.as_view(), name="api-market-windows"),
    path(
        "api/v1/market/windows/<int:pk>/withdraw/",
        window_views.SiteWindowWithdrawal.as_view(),
        name="api-market-window-withdraw",
    ),
    path(
        "api/v1/market/obligations/<str:dispatch_id>/runs/<int:run>/difference/",
        views.Difference.as_view(),
        name="api-market-difference",
    ),
    path("api/v1/market/events/", views.Events.as_view(), name="api-market-events"),
    path("api/v1/market/events/<int:pk>/", views.Event.as_view(), name="api-market-event"),
    path("api/v1/market/sites/<slug:site_id>/statements/", views.StatementMonths.as_view(), name="api-market-months"),
    path(
        "api/v1/market/sites/<slug:site_id>/statements/<str:month>/",
        views.MonthlyStatement.as_view(),
        name="api-market-statement",
    ),
]
urlpatterns = [
    *api_patterns,
    path("api/schema/", SpectacularAPIView.as_view(permission_classes=[HasRole]), name="api-schema"),
]
