"""Reads of the dispatcher: what is desired, who acknowledged, how fast, and the shares to settle."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

import numpy as np
from django.conf import settings
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet

from markets.core.course import constant
from markets.core.settlement import ContractedShare, share_over
from markets.models import Obligation
from markets.queries import open_obligations
from sites.core.assignments import Refusal
from sites.core.intervals import Interval
from sites.core.streams import STREAM_PRODUCTS
from sites.metering.models import LiveState
from sites.metering.queries import countable
from sites.registry.models import Site
from vpp.dispatch.exchange import DesiredRow
from vpp.dispatch.leases import held_names, lease_name
from vpp.dispatch.models import Dispatch, Kind, SiteAssignment
from vpp.dispatch.plans import Plan
from vpp.dispatch.standing import Asked, Bounds, OverDelivery, bounds_of, over_delivery_of, upper_kw

SILENT_SENDS: Final = 4
"""A site that did not answer so many sendings is counted as silent: 7 s with repetitions after 1, 2
and 4 s. Sendings, not seconds: while the dispatcher or the broker is away nobody is silent."""
PASSING_REFUSALS: Final = frozenset({Refusal.OUT_OF_ENVELOPE.value, Refusal.LOCKED_OUT.value})
"""Of a state that ends: such a site is asked anew after ``VPP_REARM_EVERY_S``, when it has something to offer."""
_PLANNED: Final = sorted(name for name, row in STREAM_PRODUCTS.items() if row.is_planned)
UNHEARD_AFTER_S: Final = 3.0
"""A stream has so long from the start of its window on until its signal counts as missing [s]."""
MAX_LATENCIES: Final = 100_000
"""Of a dispatch that is armed anew all day, the first so many acknowledgements are judged."""


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
    promised_kw: float
    """What is owed [kW]."""
    armed_kw: float
    acknowledged_kw: float
    """Sum of what sites have acknowledged last [kW]."""
    firm_kw: float
    """What is sure to be there [kW]: the least that sites may hold that have acknowledged, whose data is fresh, that
    stand on the grid and that hold without a link."""
    upper_kw: float
    """The most that may be there [kW]: everything unexpired that a site may hold, silent ones too."""
    limit_kw: float
    """What the upper bound may not pass [kW]: the promise and the product's over-delivery."""
    over_delivery: OverDelivery
    is_unheard: bool
    """A stream in its window whose signal nobody sends."""
    short_since: datetime | None
    """Since when firm power has been under the promise; None while it covers it."""
    restored_in_s: float | None
    """How long the last such lack took to be covered again [s]."""
    arm_ms_p50: float | None
    """First sending to acknowledgement, by the gateway's clock [ms]; None before the first one."""
    arm_ms_p99: float | None
    all_acknowledged_ms: float | None
    """From the decision to the last acknowledgement of its first round [ms]; None while one is missing."""


@dataclass(slots=True)
class Standing:
    """What the sites of a dispatch hold at an instant, as far as it can be known; sites by their keys."""

    bounds: dict[int, Bounds] = field(default_factory=dict)
    site_ids: dict[int, str] = field(default_factory=dict)
    asked_kw: dict[int, float] = field(default_factory=dict)
    """What each is asked to hold for this dispatch now [kW]."""
    refused: set[int] = field(default_factory=set)
    """Sites that refused what they are asked now, those left out that may be asked anew."""
    waiting: set[int] = field(default_factory=set)
    """Sites that have not answered what they are asked now."""
    silent: set[int] = field(default_factory=set)
    """Of those, the ones that were asked in vain often enough."""
    firm: frozenset[int] = frozenset()
    """Sites whose least power can be counted on."""
    deviations_hz: list[tuple[str, float | None]] = field(default_factory=list)
    """Grid zone and deviation from nominal of the sites with fresh data on the grid [Hz]."""

    @property
    def firm_kw(self) -> float:
        """What is sure to be there [kW]."""
        return math.fsum(self.bounds[site].low_kw for site in self.firm)

    @property
    def upper_kw(self) -> float:
        """What may be there at most [kW]."""
        return upper_kw(self.bounds)


def open_dispatches(*, at: datetime) -> QuerySet[Dispatch]:
    """Return the dispatches whose window is ahead or open, first start first."""
    return Dispatch.objects.filter(status=Dispatch.Status.OPEN, ends_at__gt=at).order_by("starts_at", "dispatch_id")


def dispatches_with_statements() -> QuerySet[Dispatch]:
    """Return all dispatches with what they came to, newest window first."""
    rows = Dispatch.objects.select_related("obligation").prefetch_related("obligation__statements")
    return rows.order_by("-starts_at", "-pk")


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
        "kind",
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
            kind=kind,
            sequence=sequence,
            body=bytes(body),
            content_hash=content_hash,
            ends_at=ends_at,
            acknowledged=acknowledged_at is not None,
            refused=bool(refusal),
        )
        for pk, site_id, kind, sequence, body, content_hash, ends_at, acknowledged_at, refusal in columns
    ]


def planned_streams(*, at: datetime) -> list[Plan]:
    """Return the open streams whose plan the dispatcher knows and has to tell now."""
    rows = Dispatch.objects.filter(
        status=Dispatch.Status.OPEN, kind=Kind.STREAM, product__in=_PLANNED, starts_at__lte=at, ends_at__gt=at
    )
    return [
        Plan(
            dispatch_id=row.dispatch_id,
            product=row.product,
            window=row.window,
            course=row.obligation.course if row.obligation else constant(row.window, row.power_kw),
            sign=STREAM_PRODUCTS[row.product].sign,
            firm_kw=standing(dispatch=row, at=at).firm_kw,
        )
        for row in rows.select_related("obligation").order_by("dispatch_id")
    ]


def unheard_streams(*, at: datetime) -> list[str]:
    """Return the streams in their window whose signal nobody sends: a sender holds its stream's lease."""
    begun_by = at - timedelta(seconds=UNHEARD_AFTER_S)
    rows = Dispatch.objects.filter(
        status=Dispatch.Status.OPEN, kind=Kind.STREAM, starts_at__lte=begun_by, ends_at__gt=at
    )
    names = list(rows.order_by("dispatch_id").values_list("dispatch_id", flat=True))
    if not names:
        return []
    heard = held_names(names=map(lease_name, names), at=at)
    return [name for name in names if lease_name(name) not in heard]


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


def armed_site_ids(
    *, at: datetime, kind: str, except_dispatch: Dispatch | None = None
) -> QuerySet[SiteAssignment, str]:
    """Return the sites that another open dispatch has asked for power by an assignment of a kind."""
    rows = SiteAssignment.objects.filter(
        superseded=False, power_kw__gt=0.0, refusal="", ends_at__gt=at, dispatch__status=Dispatch.Status.OPEN, kind=kind
    )
    if except_dispatch is not None and except_dispatch.pk is not None:
        rows = rows.exclude(dispatch=except_dispatch)
    return rows.values_list("site__site_id", flat=True)


def asked(*, at: datetime, kind: str) -> dict[str, tuple[float, str, str]]:
    """Return what sites are asked to hold by assignments of a kind, by site_id: (power [kW], kind, product)."""
    rows = SiteAssignment.objects.filter(superseded=False, kind=kind, power_kw__gt=0.0, refusal="", ends_at__gt=at)
    columns = rows.values_list("site__site_id", "power_kw", "kind", "dispatch__product")
    return {site_id: (power_kw, of_kind, product) for site_id, power_kw, of_kind, product in columns}


def asked_by_others(*, at: datetime, except_dispatch: Dispatch | None) -> list[tuple[str, float, str, str]]:
    """Return what sites are asked to hold for other dispatches: (site_id, power [kW], kind, product) of each."""
    rows = SiteAssignment.objects.filter(superseded=False, power_kw__gt=0.0, refusal="", ends_at__gt=at)
    if except_dispatch is not None and except_dispatch.pk is not None:
        rows = rows.exclude(dispatch=except_dispatch)
    return list(rows.values_list("site__site_id", "power_kw", "kind", "dispatch__product"))


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
    return list(_latest(assignments(dispatch_id=dispatch.dispatch_id)))


def held_kw(*, dispatch: Dispatch) -> dict[str, float]:
    """Return what each site acknowledged last for a dispatch, by site_id [kW]."""
    return dict(_held(assignments(dispatch_id=dispatch.dispatch_id)).values_list("site__site_id", "power_kw"))


def standing(*, dispatch: Dispatch, at: datetime) -> Standing:
    """Return what the sites of a dispatch may hold now, and on which of them one can count."""
    asked = SiteAssignment.objects.filter(dispatch=dispatch, is_replaced=False).values("site_id")
    rows = (
        SiteAssignment.objects.filter(is_replaced=False, site__in=asked, kind=dispatch.kind)
        .order_by("site_id", "sequence")
        .values_list(
            "site_id", "site__site_id", "sequence", "power_kw", "dispatch_id", "ends_at", "acknowledged_at", "refusal",
            "superseded", "sends", "last_sent_at", "content_hash", "reported_hash",
        )
    )  # fmt: skip
    rest = timedelta(seconds=settings.REARM_EVERY_S)
    found = Standing()
    agreed: set[int] = set()
    free_again: list[int] = []
    known = []
    for (
        site, site_id, sequence, power_kw, of, ends_at, acknowledged_at, refusal, superseded, sends, sent_at, *hashes
    ) in rows:  # fmt: skip
        is_acknowledged, is_ours = acknowledged_at is not None, of == dispatch.pk
        known.append(Asked(site, sequence, power_kw, is_ours, ends_at, is_acknowledged, bool(refusal)))
        found.site_ids[site] = site_id
        if is_acknowledged and hashes[0] == hashes[1]:
            agreed.add(site)
        if superseded or not is_ours:
            continue
        if refusal in PASSING_REFUSALS and rest and sent_at is not None and sent_at + rest <= at:
            free_again.append(site)
            continue
        found.asked_kw[site] = power_kw
        if refusal:
            found.refused.add(site)
        elif not is_acknowledged:
            found.waiting.add(site)
            if sends >= SILENT_SENDS and power_kw > 0.0:
                found.silent.add(site)
    found.bounds = bounds_of(known, at=at)
    # What they refused it for may be over. Until they take another share they hold what they took before.
    found.asked_kw |= {site: found.bounds[site].low_kw for site in free_again}
    live = LiveState.objects.filter(countable(at=at, fresh_within_s=settings.FRESH_WITHIN_S), site__in=asked)
    columns = ("site_id", "site__loss_of_link", "site__grid_zone", "frequency_hz", "site__nominal_hz")
    # A stream is served only while the link lives: there nothing is lost by releasing at once.
    held = {Site.LossOfLink.HOLD} if dispatch.kind == Kind.CURVE else set(Site.LossOfLink)
    firm = set()
    for site, loss_of_link, zone, frequency_hz, nominal_hz in live.values_list(*columns):
        found.deviations_hz.append((zone, None if frequency_hz is None else frequency_hz - nominal_hz))
        if loss_of_link in held and site in agreed:
            firm.add(site)
    found.firm = frozenset(firm)
    return found


def contracted_shares(*, dispatch_id: str) -> list[ContractedShare]:
    """Return the shares that sites had acknowledged in the obligation's window, as they are settled.

    Each power counts from its acknowledgement to the next one's (``markets.core.settlement.share_over``); None for a
    site that held no power in the window. What was disarmed when the operator cut the window short is still a
    share: it was held up to there.
    """
    starts_at, ends_at = Obligation.objects.values_list("starts_at", "ends_at").get(dispatch_id=dispatch_id)
    window = Interval(starts_at, ends_at)
    rows = assignments(dispatch_id=dispatch_id).filter(acknowledged_at__lt=ends_at)
    columns = rows.values_list("site__site_id", "acknowledged_at", "power_kw", "baseline_kw")
    streams_kw = _streams_kw(window)
    shares = []
    for site_id, own in groupby(columns, key=lambda row: row[0]):
        held = [(at, power_kw, baseline_kw) for _, at, power_kw, baseline_kw in own if at is not None]
        contracted_kw, moves = share_over(window, [(at, power_kw) for at, power_kw, _ in held])
        if contracted_kw > 0.0:
            baseline_kw = next(baseline for _, power_kw, baseline in reversed(held) if power_kw > 0.0)
            stream_kw = streams_kw.get(site_id, 0.0)
            shares.append(ContractedShare(site_id, contracted_kw, baseline_kw, moves, stream_kw))
    return shares


def _streams_kw(window: Interval) -> dict[str, float]:
    """Return the most that each site may have held of setpoint streams in a window, by site_id [kW]."""
    rows = SiteAssignment.objects.filter(
        kind=Kind.STREAM, refusal="", dispatch__starts_at__lt=window.ends_at, dispatch__ends_at__gt=window.starts_at
    )
    return dict(rows.order_by().values_list("site__site_id").annotate(Max("power_kw")))


def arm_latencies_ms(*, dispatch_id: str) -> list[float]:
    """Return first sending to acknowledgement of each acknowledged assignment [ms].

    One that was acknowledged before this or an earlier process recorded a sending has none.
    """
    rows = SiteAssignment.objects.filter(
        dispatch__dispatch_id=dispatch_id, acknowledged_at__gte=F("first_sent_at")
    ).order_by("pk")
    return [
        (acknowledged_at - first_sent_at).total_seconds() * 1e3
        for acknowledged_at, first_sent_at in rows.values_list("acknowledged_at", "first_sent_at")[:MAX_LATENCIES]
        if acknowledged_at is not None and first_sent_at is not None
    ]


def dispatch_summary(*, dispatch_id: str, at: datetime) -> DispatchSummary:
    """Return how a dispatch stands; raise Dispatch.DoesNotExist naming it."""
    try:
        dispatch = Dispatch.objects.get(dispatch_id=dispatch_id)
    except Dispatch.DoesNotExist:
        raise Dispatch.DoesNotExist(f"dispatch {dispatch_id!r} is not known") from None
    rows = assignments(dispatch_id=dispatch_id)
    current = list(_latest(rows).order_by().values_list("power_kw", "refusal", "acknowledged_at"))
    asked = [acknowledged_at for power_kw, refusal, acknowledged_at in current if power_kw > 0.0 and not refusal]
    latencies_ms = arm_latencies_ms(dispatch_id=dispatch_id)
    p50, p99 = np.percentile(latencies_ms, [50, 99]).tolist() if latencies_ms else (None, None)
    now = standing(dispatch=dispatch, at=at)
    over_delivery = over_delivery_of(dispatch.product)
    return DispatchSummary(
        dispatch_id=dispatch.dispatch_id,
        product=dispatch.product,
        status=dispatch.status,
        starts_at=dispatch.starts_at,
        ends_at=dispatch.ends_at,
        sites=len(current),
        armed=len(asked),
        acknowledged=sum(acknowledged_at is not None for acknowledged_at in asked),
        refused=sum(bool(refusal) for _, refusal, _ in current),
        withdrawn=sum(power_kw == 0.0 for power_kw, _, _ in current),
        promised_kw=dispatch.power_kw,
        armed_kw=dispatch.armed_kw,
        acknowledged_kw=math.fsum(_held(rows).values_list("power_kw", flat=True)),
        firm_kw=now.firm_kw,
        upper_kw=now.upper_kw,
        limit_kw=dispatch.power_kw * (1.0 + over_delivery.share),
        over_delivery=over_delivery,
        is_unheard=dispatch.kind == Kind.STREAM and dispatch_id in unheard_streams(at=at),
        short_since=dispatch.short_since,
        restored_in_s=dispatch.restored_in_s,
        arm_ms_p50=p50,
        arm_ms_p99=p99,
        all_acknowledged_ms=_all_acknowledged_ms(dispatch),
    )


def _latest(rows: QuerySet[SiteAssignment]) -> QuerySet[SiteAssignment]:
    """Keep each site's row with the highest sequence within its dispatch."""
    newer = SiteAssignment.objects.filter(
        dispatch=OuterRef("dispatch"), site=OuterRef("site"), sequence__gt=OuterRef("sequence")
    )
    return rows.filter(~Exists(newer))


def _held(rows: QuerySet[SiteAssignment]) -> QuerySet[SiteAssignment]:
    """Keep what each site acknowledged last: a newer row that it did not take changes nothing."""
    newer = rows.filter(site=OuterRef("site"), sequence__gt=OuterRef("sequence"), acknowledged_at__isnull=False)
    return rows.filter(~Exists(newer.order_by()), acknowledged_at__isnull=False)


def _all_acknowledged_ms(dispatch: Dispatch) -> float | None:
    first_round = SiteAssignment.objects.filter(dispatch=dispatch, created_at=dispatch.created_at).aggregate(
        asked=Count("pk"), acknowledged=Count("acknowledged_at"), last=Max("acknowledged_at")
    )
    if first_round["last"] is None or first_round["acknowledged"] < first_round["asked"]:
        return None
    return float((first_round["last"] - dispatch.created_at).total_seconds() * 1e3)
