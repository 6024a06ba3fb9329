"""Where the numbered streams stand: how far each is stored without a hole, and where its first hole is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from sites.metering.models import HighRateRecord, MeterInterval, RefusedNumber, StreamMark, WaveformRecord
from sites.metering.numbered import StreamKey, StreamState, numbers_above
from sites.metering.streams import RECORD, WAVEFORM
from sites.registry.models import Asset, Site


def stream_states(*, partitions: Iterable[int]) -> dict[StreamKey, StreamState]:
    """Return where all streams of some partitions stand, as an ingest worker starts with them.

    Everything that the first batch after a start needs to know of a stream, in three queries: asked stream by stream,
    the first minute of a large fleet would keep the readings of all waiting.
    """
    wanted = list(partitions)
    states = {}
    newest = MeterInterval.objects.filter(asset=OuterRef("pk"), number=OuterRef("mark")).order_by("-revision")
    assets = _marked(Asset.objects.filter(site__partition__in=wanted), OuterRef("site"), OuterRef("name")).annotate(
        above=Exists(MeterInterval.objects.filter(asset=OuterRef("pk"), number__gt=OuterRef("mark"))),
        into=Subquery(newest.values("register_into_uwh")[:1]),
        out=Subquery(newest.values("register_from_uwh")[:1]),
    )
    for site, name, mark, above, refused, into, out in assets.values_list(
        "site_id", "name", "mark", "above", "refused", "into", "out"
    ):
        last = None if into is None or above else (mark, into, out)
        states[site, name] = StreamState(stored_through=mark, has_above=above or refused, last=last)
    models: tuple[tuple[str, Any], ...] = ((RECORD, HighRateRecord), (WAVEFORM, WaveformRecord))
    for stream, model in models:
        sites = _marked(Site.objects.filter(partition__in=wanted), OuterRef("pk"), Value(stream)).annotate(
            above=Exists(model.objects.filter(site=OuterRef("pk"), number__gt=OuterRef("mark")))
        )
        for site, mark, above, refused in sites.values_list("pk", "mark", "above", "refused"):
            states[site, stream] = StreamState(stored_through=mark, has_above=above or refused)
    return states


def _marked(rows: QuerySet[Any], site: Any, stream: Any) -> QuerySet[Any]:
    """Add each stream's mark, and whether numbers beyond it were refused."""
    mark = Subquery(StreamMark.objects.filter(site=site, stream=stream).values("stored_through")[:1])
    refused = RefusedNumber.objects.filter(Q(number__gt=OuterRef("mark")), site=site, stream=stream)
    marked: QuerySet[Any] = rows.order_by().annotate(mark=Coalesce(mark, Value(0))).annotate(refused=Exists(refused))
    return marked


def marks_of(*, site_pks: Iterable[int]) -> dict[StreamKey, int]:
    """Return how far the streams of some sites are stored; a stream without a row has no entry."""
    marks: dict[StreamKey, int] = {}
    pks = sorted(site_pks)
    for start in range(0, len(pks), 500):
        rows = StreamMark.objects.filter(site_id__in=pks[start : start + 500])
        marks |= {(pk, stream): mark for pk, stream, mark in rows.values_list("site_id", "stream", "stored_through")}
    return marks


def first_holes(*, states: Mapping[StreamKey, StreamState]) -> dict[StreamKey, tuple[int, int]]:
    """Return the first hole (first, last number) of those streams that have rows beyond one."""
    holes = {}
    for key, state in states.items():
        above = numbers_above(key, state.stored_through, limit=1)
        if above and above[0] > state.stored_through + 1:
            holes[key] = (state.stored_through + 1, above[0] - 1)
    return holes
