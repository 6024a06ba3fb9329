"""Addresses of the dispatch API."""

from django.urls import path

from vpp.dispatch import api

app_name = "dispatch"
urlpatterns = [
    path("dispatches/", api.DispatchList.as_view(), name="dispatches"),
    path("dispatches/<str:dispatch_id>/", api.DispatchDetail.as_view(), name="dispatch"),
    path("dispatches/<str:dispatch_id>/impact/", api.DispatchImpactDetail.as_view(), name="impact"),
    path("dispatches/<str:dispatch_id>/assignments/", api.AssignmentList.as_view(), name="assignments"),
    path("sites/<slug:site_id>/commands/", api.SiteCommands.as_view(), name="commands"),
]
