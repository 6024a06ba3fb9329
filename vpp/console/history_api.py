"""The API of histories: one site's metrics over a period, by second, minute or quarter of an hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from django.conf import settings
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from sites.core.intervals import Interval
from sites.metering.history import STEPS, Array, History, TooMuch, history, readable_metrics, resolution_for
from sites.registry import permissions
from sites.registry.models import Site
from vpp.console.api import HasRole
from vpp.console.serializers import HistorySerializer

MAX_METRICS: Final = 8
FIGURES: Final = ("mean", "low", "high", "count")
DIGITS: Final = 6
"""Significant digits of a figure: a hertz to 0.1 mHz, a megawatt to 1 W."""
PARAMETERS: Final = frozenset({"metric", "from", "to", "resolution", "figure"})
DECLARED: Final = [
    OpenApiParameter("metric", str, required=True, many=True, description=f"up to {MAX_METRICS} names, each once"),
    OpenApiParameter("from", str, description="ISO 8601 instant with its offset; an hour before `to` without it"),
    OpenApiParameter("to", str, description="ISO 8601 instant with its offset, exclusive; now without it"),
    OpenApiParameter("resolution", str, enum=["auto", *STEPS], description="auto without it"),
    OpenApiParameter("figure", str, enum=FIGURES, many=True, description="all of them without it"),
]


class ParameterRefused(ValueError):
    """A parameter that cannot be served; the message names what it held and what is accepted."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field


class SiteHistory(APIView):
    """``GET sites/<site_id>/history/?metric=…&from=…&to=…&resolution=…&figure=…``."""

    permission_classes = [HasRole]

    @extend_schema(parameters=DECLARED, responses=HistorySerializer)
    def get(self, request: Request, site_id: str) -> Response:
        """Return the series; 404 for a site that is not visible, 400 naming the field and what is accepted."""
        sites = permissions.visible_sites(request.user).prefetch_related("assets")
        site = get_object_or_404(sites, site_id=site_id)
        try:
            return Response(_answer(request, site, at=timezone.now()))
        except ParameterRefused as error:
            body = {"error": "parameter_invalid", "field": error.field, "detail": str(error)}
            return Response(body, status=400)


def _answer(request: Request, site: Site, *, at: datetime) -> dict[str, Any]:
    given = request.query_params
    if unknown := sorted(given.keys() - PARAMETERS):
        raise ParameterRefused(unknown[0][:40], f"is not known, accepted: {', '.join(sorted(PARAMETERS))}")
    metrics = _chosen(given.getlist("metric"), readable_metrics(site=site))
    ends_at = _instant(given.get("to"), "to", default=at)
    starts_at = _instant(given.get("from"), "from", default=ends_at - timedelta(hours=1))
    if not starts_at < ends_at:
        raise ParameterRefused("from", f"is {starts_at.isoformat()}, accepted: before to ({ends_at.isoformat()})")
    period = Interval(starts_at, ends_at)
    resolution = given.get("resolution", "auto")
    if resolution == "auto":
        kept = {"1s": settings.READING_DAYS, "1min": settings.ROLL_UP_DAYS}
        resolution = resolution_for(period, kept_since={name: at - timedelta(days=d) for name, d in kept.items()})
    elif resolution not in STEPS:
        raise ParameterRefused("resolution", f"is {resolution!r:.40}, accepted: auto, {', '.join(STEPS)}")
    figures = _figures(given.getlist("figure"))
    try:
        found = history(site=site, metrics=metrics, period=period, resolution=resolution)
    except TooMuch as error:
        raise ParameterRefused("from", f"to {ends_at.isoformat()} is {error}") from None
    return _json(site, found, resolution, figures)


def _chosen(names: list[str], readable: dict[str, str]) -> dict[str, str]:
    if not 1 <= len(names) <= MAX_METRICS or len(set(names)) != len(names):
        raise ParameterRefused("metric", f"was given {len(names)} times, accepted: 1 to {MAX_METRICS}, each once")
    for name in names:
        if name not in readable:
            raise ParameterRefused("metric", f"is {name!r:.80}, accepted: {', '.join(sorted(readable))}")
    return {name: readable[name] for name in names}


def _figures(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if name not in FIGURES:
            raise ParameterRefused("figure", f"is {name!r:.40}, accepted: {', '.join(FIGURES)}")
    return tuple(figure for figure in FIGURES if not names or figure in names)


def _instant(text: str | None, field: str, *, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        at = datetime.fromisoformat(text)
        # The grid's edges must be instants of a calendar too.
        if at.tzinfo is not None and 2000 <= at.year <= 9000:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ParameterRefused(field, f"is {text!r:.60}, accepted: an ISO 8601 instant with its offset, from 2000 on")


def _json(site: Site, found: History, resolution: str, figures: tuple[str, ...]) -> dict[str, Any]:
    return {
        "site_id": site.site_id,
        "starts_at": found.starts_at.isoformat(),
        "resolution": resolution,
        "step_s": int(found.step.total_seconds()),
        "steps": found.steps,
        "series": [
            {
                "metric": series.metric,
                "unit": series.unit,
                **{
                    figure: _numbers(values)
                    for figure, values in (
                        ("mean", series.means), ("low", series.lows), ("high", series.highs), ("count", series.counts),
                    )
                    if figure in figures
                },
            }
            for series in found.series
        ],
    }  # fmt: skip


def _numbers(values: Array) -> list[float | None]:
    """Return figures as JSON holds them: null where nothing was measured."""
    return [None if np.isnan(value) else float(f"{value:.{DIGITS}g}") for value in values.tolist()]
