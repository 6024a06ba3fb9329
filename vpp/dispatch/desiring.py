"""The next desired assignment of many sites in one write: bodies made once, rows inserted by one statement."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

from django.db import connection
from django.db.models import Max, Sum
from django.db.models.functions import Greatest

from sites.core.assignments import Assignment
from sites.core.curves import ResponseCurve
from sites.core.streams import StreamGrant, StreamProduct
from sites.registry.models import Site
from vpp.dispatch.models import Dispatch, SiteAssignment

DECLARED_BASELINE_KW: Final = 0.0
"""Battery power that is declared without the service [kW]: no site has a schedule of its own yet."""
MAX_IN: Final = 5_000
"""Values in one list of a query."""


class MakeBody(Protocol):
    """What signs and sends as one site's share."""

    def __call__(self, *, assignment_id: str, site_id: str, sequence: int, power_kw: float) -> bytes:
        """Return the body."""


def curve_bodies(dispatch: Dispatch, curve: ResponseCurve) -> MakeBody:
    """Return what makes a site's assignment of a curve."""
    template = Assignment(
        assignment_id="x", site_id="x", sequence=1, dispatch_id=dispatch.dispatch_id, curve_name=curve.name,
        direction=curve.direction, points=curve.points, power_kw=0.0, baseline_kw=DECLARED_BASELINE_KW,
        starts_at=dispatch.starts_at, ends_at=dispatch.ends_at, trigger=curve.trigger, recovery=curve.recovery,
    )  # fmt: skip
    return lambda **share: replace(template, **share).to_bytes()


def stream_bodies(dispatch: Dispatch, product: StreamProduct) -> MakeBody:
    """Return what makes a site's grant of a stream: the same power each way that the product has."""
    template = StreamGrant(
        assignment_id="x", site_id="x", sequence=1, dispatch_id=dispatch.dispatch_id, stream=dispatch.dispatch_id,
        up_kw=0.0, down_kw=0.0, max_age_s=product.max_age_s, ramp_per_s=product.ramp_per_s,
        starts_at=dispatch.starts_at, ends_at=dispatch.ends_at,
    )  # fmt: skip

    up, down = float(product.sign >= 0), float(product.sign <= 0)

    def make(*, assignment_id: str, site_id: str, sequence: int, power_kw: float) -> bytes:
        share = {"assignment_id": assignment_id, "site_id": site_id, "sequence": sequence}
        return replace(template, **share, up_kw=up * power_kw, down_kw=down * power_kw).to_bytes()  # type: ignore[arg-type]

    return make


def desire(*, dispatch: Dispatch, make_body: MakeBody, powers_kw: Mapping[str, float], at: datetime) -> int:
    """Give each site its next desired assignment, and the dispatch its new sum; return the new rows.

    Within a transaction of the caller.
    """
    if not powers_kw:
        return 0
    sites = _sites(list(powers_kw))
    sequences = _sequences(list(sites.values()))
    rows = []
    for site_id, power_kw in powers_kw.items():
        site = sites[site_id]
        sequence = sequences.get(site, 0) + 1
        assignment_id = str(uuid.uuid4())
        body = make_body(assignment_id=assignment_id, site_id=site_id, sequence=sequence, power_kw=power_kw)
        rows.append((site, assignment_id, sequence, power_kw, body, hashlib.sha256(body).hexdigest()))
    for start in range(0, len(rows), MAX_IN):
        part = [row[0] for row in rows[start : start + MAX_IN]]
        desired = SiteAssignment.objects.filter(site__in=part, kind=dispatch.kind, superseded=False)
        desired.update(superseded=True)
    _insert(dispatch, rows, at)
    asked = SiteAssignment.objects.filter(dispatch=dispatch, superseded=False)
    dispatch.armed_kw = float(asked.aggregate(sum=Sum("power_kw"))["sum"] or 0.0)
    dispatch.save(update_fields=["armed_kw"])
    return len(rows)


def _sites(site_ids: list[str]) -> dict[str, int]:
    """Return the sites' keys by site_id."""
    found: dict[str, int] = {}
    for start in range(0, len(site_ids), MAX_IN):
        found |= dict(Site.objects.filter(site_id__in=site_ids[start : start + MAX_IN]).values_list("site_id", "pk"))
    return found


def _sequences(sites: list[int]) -> dict[int, int]:
    """Return the highest sequence that each site was asked or said to hold.

    A site may hold a higher one than we know of, when the database comes from a backup.
    """
    found: dict[int, int] = {}
    for start in range(0, len(sites), MAX_IN):
        rows = SiteAssignment.objects.filter(site__in=sites[start : start + MAX_IN]).order_by()
        highest = rows.values("site_id").annotate(highest=Greatest(Max("sequence"), Max("reported_sequence")))
        found |= dict(highest.values_list("site_id", "highest"))
    return found


def _insert(dispatch: Dispatch, rows: list[tuple[int, str, int, float, bytes, str]], at: datetime) -> None:
    """Insert by one statement: a tenth of the time of ``bulk_create``, which makes an expression of each value."""
    columns: dict[str, Any] = {
        "dispatch_id": dispatch.pk, "kind": dispatch.kind, "baseline_kw": DECLARED_BASELINE_KW,
        "ends_at": _instant(dispatch.ends_at), "created_at": _instant(at), "sends": 0, "reported_state": "",
        "reported_hash": "", "reported_sequence": 0, "refusal": "", "superseded": False, "is_replaced": False,
    }  # fmt: skip
    names = [*columns, "site_id", "assignment_id", "sequence", "power_kw", "body", "content_hash"]
    marks = ", ".join(["%s"] * len(names))
    common = tuple(columns.values())
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {SiteAssignment._meta.db_table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608
            [common + row for row in rows],
        )


def _instant(at: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(at)
