"""Addresses of the pages and of the sites API."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, path, re_path

from vpp.console import (
    api,
    dispatch_views,
    enrolment_api,
    enrolment_views,
    history_api,
    late_api,
    quarantine_api,
    views,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.fleet, name="fleet"),
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("sites/", views.sites, name="sites"),
    path("sites/<slug:site_id>/", views.site, name="site"),
    path("sites/<slug:site_id>/requests/<slug:name>/", views.site_request, name="site-request"),
    path("sites/<slug:site_id>/waveforms/<int:number>.json", views.waveform, name="waveform"),
    path("sites/<slug:site_id>/waveforms/<int:number>.zip", views.waveform_download, name="waveform-download"),
    path("my-sites/", views.my_sites, name="my-sites"),
    path("books/", views.books, name="books"),
    path("dispatches/", dispatch_views.dispatches, name="dispatches-page"),
    path("dispatches/<str:dispatch_id>/", dispatch_views.dispatch, name="dispatch-page"),
    path("books/late/", late_api.late_page, name="late-data"),
    path("enrolment/", enrolment_views.enrolment, name="enrolment"),
    path("enrolment/requests/<int:pk>/", enrolment_views.decide, name="decide-request"),
    path("enrolment/alarms/<int:pk>/", enrolment_views.close_alarm, name="close-alarm"),
    path("sites/<slug:site_id>/enrolment-token/", enrolment_views.issue_token, name="issue-token"),
    path("sites/<slug:site_id>/revocation/", enrolment_views.revoke, name="revoke"),
    path("quarantines/<int:pk>/release/", views.release_quarantine, name="release-quarantine"),
    path("api/v1/quarantines/", quarantine_api.QuarantineList.as_view(), name="api-quarantines"),
    path("api/v1/quarantines/<int:pk>/release/", quarantine_api.QuarantineRelease.as_view(), name="api-release"),
    path("api/v1/late-data/", late_api.LateData.as_view(), name="api-late-data"),
    path("healthz", views.healthz, name="healthz"),
    path("api/v1/sites/", api.SiteList.as_view(), name="api-sites"),
    path("api/v1/sites/<slug:site_id>/", api.SiteDetail.as_view(), name="api-site"),
    path("api/v1/sites/<slug:site_id>/intervals/", api.SiteIntervals.as_view(), name="api-intervals"),
    path("api/v1/sites/<slug:site_id>/history/", history_api.SiteHistory.as_view(), name="api-history"),
    path("api/v1/sites/<slug:site_id>/enrolment-token/", enrolment_api.TokenIssue.as_view(), name="api-token"),
    path("api/v1/sites/<slug:site_id>/enrolment-events/", enrolment_api.EventList.as_view(), name="api-events"),
    path("api/v1/sites/<slug:site_id>/revocation/", enrolment_api.Revocation.as_view(), name="api-revocation"),
    path("api/v1/enrolment/", enrolment_api.Enrol.as_view(), name="api-enrol"),
    path("api/v1/enrolment/renewals/", enrolment_api.Renew.as_view(), name="api-renew"),
    path("api/v1/enrolment/requests/", enrolment_api.RequestList.as_view(), name="api-requests"),
    re_path(
        r"^api/v1/enrolment/requests/(?P<pk>[0-9]{1,18})/(?P<decision>approve|refuse)/$",
        enrolment_api.RequestDecision.as_view(),
        name="api-decision",
    ),
    path("api/v1/enrolment/alarms/", enrolment_api.AlarmList.as_view(), name="api-alarms"),
    path("api/v1/enrolment/alarms/<int:pk>/close/", enrolment_api.AlarmClosing.as_view(), name="api-close-alarm"),
]
