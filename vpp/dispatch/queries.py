"""Reads of the dispatcher: what is desired, who acknowledged, how fast, and the shares to settle."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings
from django.db.models import F, Q, QuerySet

from markets.core.settlement import ContractedShare
from markets.models import Obligation
from markets.queries import open_obligations
from sites.core.assignments import Refusal
from sites.metering.models import LiveState
from vpp.dispatch.exchange import DesiredRow
from vpp.dispatch.models import Dispatch, SiteAssignment


@dataclass(frozen=True, slots=True)
class DispatchSummary:
    """How a dispatch stands at an instant."""

    dispatch_id: str
    product: str
    status: str
    starts_at: datetime
    ends_at: datetime
    sites: int
    """Sites that were asked at any time."""
    armed: int
    """Sites that are asked for some power now and did not refuse."""
    acknowledged: int
    """Of those, the ones that said that they hold exactly that."""
    refused: int
    withdrawn: int
    """Sites that are asked for nothing any more."""
    obligation_kw: float
    armed_kw: float
    acknowledged_kw: float
    """Sum of what sites have acknowledged last [kW]."""
    firm_kw: float
    """Of that, the part of sites whose data is fresh now [kW]."""
    arm_ms_p50: float | None
    """First sending to acknowledgement, by the gateway's clock [ms]; None before the first one."""
    arm_ms_p99: float | None
    all_acknowledged_ms: float | None
    """From the decision to the last acknowledgement of its first round [ms]; None while one is missing."""


def open_dispatches(*, at: datetime) -> QuerySet[Dispatch]:
    """Return the dispatches whose window is ahead or open, first start first."""
    return Dispatch.objects.filter(status=Dispatch.Status.OPEN, ends_at__gt=at).order_by("starts_at", "dispatch_id")


def obligations_to_arm(*, at: datetime) -> list[Obligation]:
    """Return the open obligations that have no dispatch yet, or one on older terms."""
    owed = list(open_obligations(at=at))
    if not owed:
        return []
    armed = dict(Dispatch.objects.filter(obligation__in=owed).values_list("obligation_id", "obligation_revision"))
    return [row for row in owed if armed.get(row.pk, 0) < row.revision]


def dispatches_to_cancel(*, at: datetime) -> QuerySet[Dispatch]:
    """Return the open dispatches whose obligation was taken back: before its window, or cut short in it."""
    is_cut_short = Q(obligation__revision__gt=F("obligation_revision"), obligation__ends_at__lte=at, ends_at__gt=at)
    return Dispatch.objects.filter(
        Q(obligation__status=Obligation.Status.CANCELLED) | is_cut_short, status=Dispatch.Status.OPEN
    )


def desired_rows(*, at: datetime, after_pk: int = 0) -> list[DesiredRow]:
    """Return what sites shall hold and what has not lapsed, in the order it was decided.

    ``after_pk`` leaves out what the caller knows already.
    """
    rows = SiteAssignment.objects.filter(superseded=False, ends_at__gt=at, pk__gt=after_pk).order_by("pk")
    columns = rows.values_list(
        "pk",
        "site__site_id",
        "sequence",
        "body",
        "content_hash",
        "ends_at",
        "acknowledged_at",
        "refusal",
    )
    return [
        DesiredRow(
            assignment_pk=pk,
            site_id=site_id,
            sequence=sequence,
            body=bytes(body),
            content_hash=content_hash,
            ends_at=ends_at,
            acknowledged=acknowledged_at is not None,
            refused=bool(refusal),
        )
        for pk, site_id, sequence, body, content_hash, ends_at, acknowledged_at, refusal in columns
    ]


def has_lapsed(*, at: datetime) -> bool:
    """Tell whether a dispatch still counts as open though its window has ended."""
    return Dispatch.objects.filter(status=Dispatch.Status.OPEN, ends_at__lte=at).exists()


def stale_rows(*, at: datetime) -> QuerySet[SiteAssignment]:
    """Return the desired assignments that sites refused because they hold as high a sequence or a higher one."""
    return SiteAssignment.objects.select_related("site", "dispatch").filter(
        superseded=False,
        ends_at__gt=at,
        refusal__in=[Refusal.STALE.value, Refusal.REPEATED.value],
        reported_sequence__gte=F("sequence"),
    )


def armed_site_ids(*, at: datetime, except_dispatch: Dispatch | None = None) -> QuerySet[SiteAssignment, str]:
    """Return the sites that another open dispatch has asked for power."""
    rows = SiteAssignment.objects.filter(
        superseded=False, power_kw__gt=0.0, refusal="", ends_at__gt=at, dispatch__status=Dispatch.Status.OPEN
    )
    if except_dispatch is not None and except_dispatch.pk is not None:
        rows = rows.exclude(dispatch=except_dispatch)
    return rows.values_list("site__site_id", flat=True)


def assignments(*, dispatch_id: str) -> QuerySet[SiteAssignment]:
    """Return all assignments of a dispatch, superseded ones too, by site and sequence."""
    return (
        SiteAssignment.objects.filter(dispatch__dispatch_id=dispatch_id)
        .select_related("site")
        .defer("body")
        .order_by("site__site_id", "sequence")
    )


def current_rows(*, dispatch: Dispatch) -> list[SiteAssignment]:
    """Return each site's latest assignment of a dispatch, by site_id."""
    return _latest(assignments(dispatch_id=dispatch.dispatch_id))


def held_kw(*, dispatch: Dispatch) -> dict[str, float]:
    """Return what each site acknowledged last for a dispatch, by site_id [kW]."""
    return {row.site.site_id: row.power_kw for row in _held(assignments(dispatch_id=dispatch.dispatch_id))}


def contracted_shares(*, dispatch_id: str) -> list[ContractedShare]:
    """Return the shares that sites had acknowledged last in the obligation's window, as they are settled.

    None for a site that held no power. What was disarmed when the operator cut the window short is
    still a share: it was held up to there.
    """
    ends_at = Obligation.objects.values_list("ends_at", flat=True).get(dispatch_id=dispatch_id)
    return [
        ContractedShare(site_id=row.site.site_id, contracted_kw=row.power_kw, baseline_kw=row.baseline_kw)
        for row in _held(assignments(dispatch_id=dispatch_id).filter(acknowledged_at__lt=ends_at))
        if row.power_kw > 0.0
    ]


def arm_latencies_ms(*, dispatch_id: str) -> list[float]:
    """Return first sending to acknowledgement of each acknowledged assignment [ms].

    One that was acknowledged before this or an earlier process recorded a sending has none.
    """
    return _latencies_ms(assignments(dispatch_id=dispatch_id))


def dispatch_summary(*, dispatch_id: str, at: datetime) -> DispatchSummary:
    """Return how a dispatch stands; raise Dispatch.DoesNotExist naming it."""
    try:
        dispatch = Dispatch.objects.get(dispatch_id=dispatch_id)
    except Dispatch.DoesNotExist:
        raise Dispatch.DoesNotExist(f"dispatch {dispatch_id!r} is not known") from None
    rows = list(assignments(dispatch_id=dispatch_id))
    current, held = _latest(rows), _held(rows)
    fresh_from = at - timedelta(seconds=settings.FRESH_WITHIN_S)
    fresh = set(
        LiveState.objects.filter(site__assignments__dispatch=dispatch, measured_at__gt=fresh_from)
        .values_list("site_id", flat=True)
        .distinct()
    )
    asked = [row for row in current if row.power_kw > 0.0 and not row.refusal]
    latencies_ms = _latencies_ms(rows)
    p50, p99 = np.percentile(latencies_ms, [50, 99]).tolist() if latencies_ms else (None, None)
    return DispatchSummary(
        dispatch_id=dispatch.dispatch_id,
        product=dispatch.product,
        status=dispatch.status,
        starts_at=dispatch.starts_at,
        ends_at=dispatch.ends_at,
        sites=len(current),
        armed=len(asked),
        acknowledged=sum(row.acknowledged_at is not None for row in asked),
        refused=sum(bool(row.refusal) for row in current),
        withdrawn=sum(row.power_kw == 0.0 for row in current),
        obligation_kw=dispatch.power_kw,
        armed_kw=dispatch.armed_kw,
        acknowledged_kw=math.fsum(row.power_kw for row in held),
        firm_kw=math.fsum(row.power_kw for row in held if row.site_id in fresh and _agrees(row)),
        arm_ms_p50=p50,
        arm_ms_p99=p99,
        all_acknowledged_ms=_all_acknowledged_ms(rows, dispatch.created_at),
    )


def _latest(rows: Iterable[SiteAssignment]) -> list[SiteAssignment]:
    # Rows come by site and sequence: the last one of a site stays.
    return list({row.site_id: row for row in rows}.values())


def _held(rows: Iterable[SiteAssignment]) -> list[SiteAssignment]:
    """Return what each site acknowledged last: a newer row that it did not take changes nothing."""
    return _latest(row for row in rows if row.acknowledged_at is not None)


def _agrees(row: SiteAssignment) -> bool:
    """Tell whether the site's last report still named this assignment: it may have lost it."""
    return row.reported_hash == row.content_hash


def _latencies_ms(rows: Iterable[SiteAssignment]) -> list[float]:
    return [
        (row.acknowledged_at - row.first_sent_at).total_seconds() * 1e3
        for row in rows
        if row.acknowledged_at and row.first_sent_at and row.acknowledged_at >= row.first_sent_at
    ]


def _all_acknowledged_ms(rows: Iterable[SiteAssignment], decided_at: datetime) -> float | None:
    first_round = [row.acknowledged_at for row in rows if row.created_at == decided_at]
    acknowledged = [at for at in first_round if at is not None]
    if not acknowledged or len(acknowledged) < len(first_round):
        return None
    return (max(acknowledged) - decided_at).total_seconds() * 1e3
