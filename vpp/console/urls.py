"""Addresses of the pages and of the sites API."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, path

from vpp.console import api, views

urlpatterns: list[URLPattern] = [
    path("", views.fleet, name="fleet"),
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("sites/", views.sites, name="sites"),
    path("sites/<slug:site_id>/", views.site, name="site"),
    path("sites/<slug:site_id>/waveforms/<int:number>.json", views.waveform, name="waveform"),
    path("sites/<slug:site_id>/waveforms/<int:number>.zip", views.waveform_download, name="waveform-download"),
    path("my-sites/", views.my_sites, name="my-sites"),
    path("books/", views.books, name="books"),
    path("healthz", views.healthz, name="healthz"),
    path("api/v1/sites/", api.SiteList.as_view(), name="api-sites"),
    path("api/v1/sites/<slug:site_id>/", api.SiteDetail.as_view(), name="api-site"),
    path("api/v1/sites/<slug:site_id>/intervals/", api.SiteIntervals.as_view(), name="api-intervals"),
]
