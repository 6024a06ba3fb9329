"""Capacity limits: decided, kept, read by whoever allocates or promises, judged on the connections' meters.

Writes stand within the transaction of ``operations.receive_event``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from django.conf import settings
from django.db.models import QuerySet

from markets.capacity_limits import CapacityLimit
from markets.core import course
from markets.core.baselines.meter import BaselineError
from markets.core.events import Event, OptType
from markets.core.limits import Bound, Flow, Verdict, capped, judged
from markets.core.obligations import Asked, Decision, Reason
from markets.core.precedence import Cap
from markets.core.product import Kind
from markets.metered_power import metered_power
from markets.models import MarketEvent, Program
from markets.offers import units
from markets.offers.models import AggregationUnit
from sites.core.curves import Direction
from sites.core.intervals import Interval
from sites.metering.models import LiveState
from sites.metering.queries import fleet_envelopes
from sites.registry.models import Asset, Enrollment, Site

JUDGED_EVERY_S: Final = 300
"""Means over so long are compared with the limit [s]: what the catalogue's row asks for, from no document."""
_SITES: Final = frozenset({"resource", "resource_id", "resource_name", "resourcename", "end_device_asset"})
_GROUPS: Final = frozenset({"group", "group_id", "group_name", "service_area", "p_node", "aggregated_p_node"})
_OURSELVES: Final = frozenset({"ven", "ven_id", "ven_name", "party_id", "program_name", "event_name"})


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a limit means."""

    scope: str
    names: tuple[str, ...] = ()


def limit_decision(event: Event, asked: Asked, product: str) -> tuple[Decision, Target | None]:
    """Return the answer to a readable limit: kept as a whole, unless it means nobody that we know."""
    found = _target(event.targets)
    if isinstance(found, Decision):
        return found, None
    count = sites_in(scope=found.scope, names=found.names, product=product).count()
    whom = f"{found.scope} {', '.join(found.names)}".strip()[:120]
    if count == 0:
        text = f"the limit is for {whom}, which has no site of ours"
        return Decision(OptType.OPT_OUT, Reason.TARGET_UNKNOWN, text), None
    lowest_kw = min(abs(power_kw) for _, power_kw in asked.pieces)
    text = f"{count} sites ({whom}) are allocated within {lowest_kw:g} kW"
    return Decision(OptType.OPT_IN, Reason.LIMIT_KEPT, text, asked.requested_kw), found


def _target(targets: Sequence[tuple[str, str]]) -> Target | Decision:
    """Return whom targets mean; a name without a kind is looked up as a site, a unit, then a zone."""
    meant: dict[str, list[str]] = {}
    for kind, name in targets:
        plain = kind.strip().lower()
        if plain in _OURSELVES:
            continue
        if plain in _SITES or (not plain and Site.objects.filter(site_id=name).exists()):
            meant.setdefault(CapacityLimit.Scope.SITES, []).append(name)
        elif plain in _GROUPS or not plain:
            meant.setdefault(_group_scope(name), []).append(name)
        else:
            accepted = ", ".join(sorted(_SITES | _GROUPS | _OURSELVES))
            text = f"the limit is for a target of kind {kind[:40]!r}, accepted: {accepted}"
            return Decision(OptType.OPT_OUT, Reason.TARGET_UNSUPPORTED, text)
    if len(meant) > 1:
        text = f"the limit is for {' and '.join(sorted(meant))} at once, accepted: one kind of target"
        return Decision(OptType.OPT_OUT, Reason.TARGET_UNSUPPORTED, text)
    for scope, names in meant.items():
        return Target(scope, tuple(sorted(set(names))))
    return Target(CapacityLimit.Scope.PROGRAM)


def _group_scope(name: str) -> str:
    is_unit = AggregationUnit.objects.filter(name=name).exists()
    return CapacityLimit.Scope.UNIT if is_unit else CapacityLimit.Scope.ZONE


def sites_in(*, scope: str, names: Collection[str], product: str) -> QuerySet[Site]:
    """Return the sites that a scope means now."""
    if scope == CapacityLimit.Scope.SITES:
        return Site.objects.filter(site_id__in=names)
    if scope == CapacityLimit.Scope.ZONE:
        return Site.objects.filter(grid_zone__in=names)
    if scope == CapacityLimit.Scope.UNIT:
        found: set[str] = set()
        for name in names:
            found |= units.site_ids_of(units.unit_named(name))
        return Site.objects.filter(site_id__in=found)
    return Site.objects.filter(pk__in=Enrollment.objects.filter(program=product).values("site"))


def limits_in(*, window: Interval) -> list[CapacityLimit]:
    """Return the limits in force at any time of a window."""
    rows = CapacityLimit.objects.select_related("program", "event").filter(
        status=CapacityLimit.Status.OPEN, starts_at__lt=window.ends_at, ends_at__gt=window.starts_at
    )
    return list(rows)


def bounds_in(*, window: Interval, limits: Sequence[CapacityLimit] | None = None) -> list[Bound]:
    """Return what binds at any time of a window: of a limit in steps the lowest one that lies in it."""
    found = []
    for row in limits_in(window=window) if limits is None else limits:
        part = row.window.overlap(window)
        if part is None:
            continue
        sites = sites_in(scope=row.scope, names=row.names, product=row.program.product)
        lowest_kw = min(power_kw for _, power_kw in course.pieces(row.course, part))
        found.append(Bound(frozenset(sites.values_list("site_id", flat=True)), row.is_import, lowest_kw))
    return found


def flows_of(*, site_ids: Collection[str], oldest: datetime) -> dict[str, Flow]:
    """Return what flows into sites without any service, as last measured; unknown where that is too old."""
    agreed = Asset.objects.filter(kind=Asset.Kind.PCC, site__site_id__in=site_ids)
    limits = {
        site_id: (import_kw, export_kw)
        for site_id, import_kw, export_kw in agreed.values_list("site__site_id", "rated_kw", "export_limit_kw")
    }
    rows = LiveState.objects.filter(site__site_id__in=site_ids, measured_at__gte=oldest, received_at__gte=oldest)
    # What a site gives flows out: without it so much more would flow in.
    net_kw = {
        site_id: pcc_kw + (service_kw or 0.0)
        for site_id, pcc_kw, service_kw in rows.values_list("site__site_id", "pcc_kw", "service_kw")
        if pcc_kw is not None
    }
    return {site_id: Flow(net_kw.get(site_id), *limits.get(site_id, (0.0, 0.0))) for site_id in site_ids}


def caps_for(
    program: Program, asked: Asked, available_kw: float, *, limits: Sequence[CapacityLimit], at: datetime
) -> tuple[Cap, ...]:
    """Return the most that a program's sites may give while limits bind them, in time with what is asked.

    In shares of what they can keep up: of that, so much is left of the headroom of those measured now. Where none is
    measured nothing can be told, and the dispatcher caps what it arms.
    """
    binding = [row for row in limits if row.window.overlap(asked.window) is not None]
    if not binding:
        return ()
    product = program.catalogue_row
    sustain_s = product.sustain_s if product.curve_name is None else product.curve.sustain_s
    envelopes = fleet_envelopes(at=at, fresh_within_s=settings.FRESH_WITHIN_S, program=program.product)
    ways = [way for way in (1, -1) if product.sign in (way, 0)]
    caps = []
    for period in _periods(binding, asked.window):
        bounds = bounds_in(window=period, limits=binding)
        members = sorted(set().union(*(bound.members for bound in bounds)))
        flows = flows_of(site_ids=members, oldest=at - timedelta(seconds=settings.FRESH_WITHIN_S))
        left = capped(envelopes, bounds, flows)
        for way in ways:
            whole_kw = math.fsum(envelope.sustainable_kw(sustain_s, way) for envelope in envelopes)
            left_kw = math.fsum(envelope.sustainable_kw(sustain_s, way) for envelope in left)
            if left_kw < whole_kw:
                caps.append(Cap(period, way > 0, available_kw * left_kw / whole_kw))
    return tuple(caps)


def _periods(limits: Sequence[CapacityLimit], window: Interval) -> list[Interval]:
    """Return the periods of a window in which one set of limits binds, each with one value."""
    edges = {
        edge
        for row in limits
        for part, _ in course.pieces(row.course, row.window)
        for edge in (part.starts_at, part.ends_at)
        if window.starts_at < edge < window.ends_at
    }
    ordered = [window.starts_at, *sorted(edges), window.ends_at]
    return [Interval(*pair) for pair in itertools.pairwise(ordered)]


def is_limit(row: MarketEvent) -> bool:
    """Tell whether an event is of a program of limits."""
    return row.program is not None and row.program.catalogue_row.kind is Kind.LIMIT


def limit_of(row: MarketEvent) -> CapacityLimit | None:
    """Return the limit of any version of an event, locked."""
    rows = CapacityLimit.objects.select_for_update()
    return rows.filter(event__operator=row.operator, event__vtn_id=row.vtn_id, event__event_id=row.event_id).first()


def keep_limit(
    event: MarketEvent, decision: Decision, asked: Asked | None, target: Target | None, at: datetime
) -> None:
    """Keep, change or end a limit as its event was decided."""
    row = limit_of(event)
    if decision.reason is not Reason.LIMIT_KEPT or target is None or asked is None or event.program is None:
        if row is not None:
            end_limit(row, at)
        return
    runs = row is not None and row.status == CapacityLimit.Status.OPEN and at in row.window
    # What held up to now is still to be judged by.
    steps = course.followed_by(row.course, at, asked.course) if row is not None and runs else asked.course
    row = row or CapacityLimit(created_at=at, revision=0)
    row.program, row.event = event.program, event
    row.is_import = event.program.catalogue_row.direction is Direction.HIGH
    row.scope, row.names = target.scope, list(target.names)
    row.power_kw = min(power_kw for _, power_kw in asked.pieces)
    row.steps = course.stored(steps)
    row.starts_at, row.ends_at = asked.window.starts_at, asked.window.ends_at
    row.status = CapacityLimit.Status.OPEN
    row.revision += 1
    row.changed_at = at
    row.save()


def end_limit(row: CapacityLimit, at: datetime) -> None:
    """Let a limit hold no longer: not begun is cancelled, begun ends now, ended stays as it is."""
    if row.status != CapacityLimit.Status.OPEN or row.ends_at <= at:
        return
    if row.starts_at < at:
        row.ends_at = at
    else:
        row.status = CapacityLimit.Status.CANCELLED
    row.revision += 1
    row.changed_at = at
    row.save(update_fields=["status", "ends_at", "revision", "changed_at"])


def verdict_on(*, limit: CapacityLimit, at: datetime) -> Verdict:
    """Judge a limit on the connections' meters, as far as its window is over.

    The meters of all sites that it means count together; an interval that one of them lacks is missing.
    """
    ended_s = (min(at, limit.ends_at) - limit.starts_at).total_seconds()
    count = max(0, int(ended_s // JUDGED_EVERY_S))
    if count == 0:
        return judged(limit.course, limit.window, np.zeros(0), is_import=limit.is_import, resolution_s=JUDGED_EVERY_S)
    # Meters tell whole seconds.
    starts_at = limit.starts_at.replace(microsecond=0)
    period = Interval(starts_at, starts_at + timedelta(seconds=count * JUDGED_EVERY_S))
    total_kw = np.zeros(count)
    sites = sites_in(scope=limit.scope, names=limit.names, product=limit.program.product)
    meters = {asset.site_id: asset for asset in Asset.objects.filter(kind=Asset.Kind.PCC, site__in=sites)}
    for pk in sites.values_list("pk", flat=True):
        try:
            if pk not in meters:
                raise BaselineError("no meter at the connection")
            # At the connection consumption is positive: what flows in from the grid.
            total_kw += metered_power(asset=meters[pk], period=period, resolution_s=JUDGED_EVERY_S).consumption_kw
        except BaselineError:
            total_kw[:] = np.nan
    return judged(limit.course, period, total_kw, is_import=limit.is_import, resolution_s=JUDGED_EVERY_S)
