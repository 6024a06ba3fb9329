"""Writes of the dispatcher: arm, record what sites reported, replace who refused, cancel, lapse."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings
from django.db import transaction

from markets.core.limits import capped
from markets.core.products import PRODUCTS
from markets.core.products import Kind as ProductKind
from markets.limiting import bounds_in, flows_of
from markets.models import Obligation
from markets.offers.queries import sold_sites
from sites.core.allocation import WATT_KW, Allocation, FloatArray, allocate
from sites.core.curves import CurveError, ResponseCurve, curve_named
from sites.core.envelope import OperatingEnvelope
from sites.core.feeders import limited_kw
from sites.core.intervals import Interval
from sites.core.streams import StreamProduct, stream_product
from sites.core.synchronous import synchronous_area
from sites.metering.queries import fleet_envelopes
from sites.registry.queries import feeders_of
from sites.registry.windows import closed_sites
from sites.wire.topics import signal_topic
from vpp.dispatch import leases, queries
from vpp.dispatch.desiring import MakeBody, curve_bodies, desire, stream_bodies
from vpp.dispatch.freezing import FreezeWatch
from vpp.dispatch.models import Dispatch, Kind, SiteAssignment
from vpp.dispatch.resharing import BoolArray, Fleet, Terms, reshared
from vpp.dispatch.standing import Bounds, over_delivery_of

UNKNOWN_SUSTAIN_S = 3600.0
"""Taken for a product that has left the catalogue: the longest that one of it asks for."""
MOVED_AT_ONCE = 50
"""Sites that follow their headroom in one round, at the least [count]: a small fleet moves as a whole."""


class NothingToArm(RuntimeError):
    """No enrolled site is fresh and free with power to give; asked again at the next tick."""


def arm_obligation(*, obligation: Obligation, at: datetime, token: int | None = None) -> Dispatch:
    """Share an obligation among the sites that can serve it and desire the shares; idempotent.

    A product with a curve is armed by it; one that follows a signal or an instruction opens a setpoint stream of the
    obligation's name.
    Asks for the obligation over (1 − dropout margin), up to what the free and fresh sites sustain.
    An obligation whose terms changed (its revision rose) is shared anew, with the next sequences.
    One transaction; ``token`` fences it against another leader.

    Raises NothingToArm when no site can take any of it, LeaseLost, CurveError, KeyError for a signal that no stream
    carries, TopicInvalid for a name that no topic bears.
    """
    duty = _duty_owed(obligation.program.product)
    if duty.kind == Kind.STREAM:
        signal_topic(obligation.dispatch_id)
    with transaction.atomic():
        leases.require_dispatch(token)
        held = Dispatch.objects.filter(dispatch_id=obligation.dispatch_id).first()
        if held is not None and held.obligation_revision >= obligation.revision:
            return held
        window = _ahead(obligation, at)
        envelopes = _free_envelopes(duty=duty, dispatch=held, at=at, window=window, obligation=obligation)
        target_kw = _target_kw(obligation.power_kw, duty)
        allocation = allocate(target_kw, _sustainable_kw(envelopes, duty, dispatch=held, at=at), minimum_kw=WATT_KW)
        if not allocation.power_kw.any():
            raise NothingToArm(
                f"obligation {obligation.dispatch_id}: {len(envelopes)} free sites with data of the last "
                f"{settings.FRESH_WITHIN_S:g} s, accepted: at least one with power to give"
            )
        dispatch = held or Dispatch(dispatch_id=obligation.dispatch_id, obligation=obligation, created_at=at)
        dispatch.obligation_revision = obligation.revision
        dispatch.status = Dispatch.Status.OPEN
        dispatch.kind, dispatch.product = duty.kind, duty.product
        dispatch.power_kw = obligation.power_kw
        dispatch.starts_at, dispatch.ends_at = obligation.starts_at, obligation.ends_at
        dispatch.short_since = at
        dispatch.save()
        powers_kw = dict.fromkeys(_desired_kw(dispatch), 0.0) | _by_site(envelopes, allocation)
        desire(dispatch=dispatch, make_body=_bodies(dispatch), powers_kw=powers_kw, at=at)
    return dispatch


def open_stream(
    *,
    dispatch_id: str,
    product: StreamProduct,
    power_kw: float,
    window: Interval,
    at: datetime,
    token: int | None = None,
) -> Dispatch:
    """Grant a setpoint stream to the sites that can serve it, so much each way in all; idempotent by its id.

    Beside a curve a site gives the stream what that leaves of its headroom. Sites that release at a lost link take
    part: without its signal a stream is nothing anyway. Raises NothingToArm when no site can take any of it.
    """
    with transaction.atomic():
        leases.require_dispatch(token)
        held = Dispatch.objects.filter(dispatch_id=dispatch_id).first()
        if held is not None:
            return held
        duty = _duty_of_stream(product)
        envelopes = _free_envelopes(duty=duty, dispatch=None, at=at, window=window)
        allocation = allocate(
            _target_kw(power_kw, duty), _sustainable_kw(envelopes, duty, dispatch=None, at=at), minimum_kw=WATT_KW
        )
        if not allocation.power_kw.any():
            raise NothingToArm(
                f"stream {dispatch_id}: {len(envelopes)} free sites with data of the last "
                f"{settings.FRESH_WITHIN_S:g} s, accepted: at least one with power to give both ways"
            )
        dispatch = Dispatch.objects.create(
            dispatch_id=dispatch_id, kind=Kind.STREAM, product=product.name, power_kw=power_kw, created_at=at,
            starts_at=window.starts_at, ends_at=window.ends_at, short_since=at,
        )  # fmt: skip
        powers_kw = _by_site(envelopes, allocation)
        desire(dispatch=dispatch, make_body=stream_bodies(dispatch, product), powers_kw=powers_kw, at=at)
    return dispatch


@dataclass(frozen=True, slots=True)
class Review:
    """What a look at a dispatch found and did."""

    firm_kw: float
    upper_kw: float
    changed: int
    """New desired assignments."""
    is_frozen: bool


def review_dispatch(
    *, dispatch: Dispatch, at: datetime, freeze: FreezeWatch, turns: Turns, token: int | None = None
) -> Review:
    """Compare what sites hold with what is promised, note a lack, and desire other shares where that helps.

    What sites that refused, are silent or not firm any more leave open goes to others at once; the shares of those
    whose turn has come follow their headroom and energy. While the window is open and the frequency is away, or
    unknown, nothing moves: the fleet answers its own frequency, and moving shares would fight that. A stream's shares
    are moved by the same rules: each site goes over to its own with the next value of the signal, on the stream's ramp.
    """
    with transaction.atomic():
        leases.require_dispatch(token)
        dispatch = Dispatch.objects.get(pk=dispatch.pk)
        now = queries.standing(dispatch=dispatch, at=at)
        _note_lack(dispatch, firm_kw=now.firm_kw, at=at)
        if dispatch.status == Dispatch.Status.OPEN and (kept_out := _kept_out(dispatch, now, at)):
            # The owner comes first, also while the frequency is away; others take over at the next look.
            released = desire(dispatch=dispatch, make_body=_bodies(dispatch), powers_kw=kept_out, at=at)
            return Review(now.firm_kw, now.upper_kw, released, False)
        areas = {synchronous_area(zone) for zone, _ in now.deviations_hz}
        freeze.note([(synchronous_area(zone), hz) for zone, hz in now.deviations_hz], at=at)
        is_frozen = dispatch.starts_at <= at and (not areas or freeze.is_frozen(areas, at=at))
        if dispatch.status != Dispatch.Status.OPEN or is_frozen:
            return Review(now.firm_kw, now.upper_kw, 0, is_frozen)
        duty = _duty_of(dispatch.kind, dispatch.product)
        envelopes = _free_envelopes(
            duty=duty, dispatch=dispatch, at=at, window=_ahead(dispatch, at), obligation=dispatch.obligation
        )
        sustainable_kw = _sustainable_kw(envelopes, duty, dispatch=dispatch, at=at)
        site_ids, fleet = _fleet(now, envelopes, sustainable_kw, turns)
        terms = Terms(dispatch.power_kw, _target_kw(dispatch.power_kw, duty), _limit_kw(dispatch.power_kw, duty))
        wanted_kw = reshared(fleet, terms)
        changed = np.flatnonzero(np.abs(wanted_kw - fleet.asked_kw) > WATT_KW)
        powers_kw = {site_ids[place]: round(float(wanted_kw[place]), 6) for place in changed}
        count = desire(dispatch=dispatch, make_body=_bodies(dispatch), powers_kw=powers_kw, at=at)
        return Review(now.firm_kw, now.upper_kw, count, False)


def _kept_out(dispatch: Dispatch, now: queries.Standing, at: datetime) -> dict[str, float]:
    """Return no power for each armed site whose owner keeps it out of what is left of the window, by site_id [kW]."""
    closed = closed_sites(period=_ahead(dispatch, at))
    asked = {now.site_ids[site] for site, power_kw in now.asked_kw.items() if power_kw > 0.0}
    return dict.fromkeys(sorted(asked & closed.keys()), 0.0)


def _ahead(row: Obligation | Dispatch, at: datetime) -> Interval:
    """Return what is left of a window; of one that has ended its last instant."""
    return Interval(max(row.starts_at, min(at, row.ends_at - timedelta(microseconds=1))), row.ends_at)


@dataclass(frozen=True, slots=True)
class Turns:
    """Which sites may follow their headroom now: each once in a period, spread over it by its name."""

    period_s: float
    since_s: float
    """When turns were taken last [s], on any clock that does not jump."""
    until_s: float

    def due(self, site_ids: Sequence[str]) -> BoolArray:
        """Return for each site whether its turn lies in the time since."""
        if self.period_s <= 0.0 or not site_ids:
            return np.zeros(len(site_ids), np.bool_)
        rounds = max(1, min(round(self.period_s), len(site_ids) // MOVED_AT_ONCE))
        first, last = (math.floor(s / self.period_s * rounds) for s in (self.since_s, self.until_s))
        now = {number % rounds for number in range(max(first, last - rounds) + 1, last + 1)}
        return np.array([zlib.crc32(site_id.encode()) % rounds in now for site_id in site_ids], np.bool_)


def _fleet(
    now: queries.Standing, envelopes: Sequence[OperatingEnvelope], each_kw: FloatArray, turns: Turns
) -> tuple[list[str], Fleet]:
    """Return the sites that hold something or could, and what the sharing needs of each."""
    sustainable_kw = dict(zip((e.site_id for e in envelopes), each_kw.tolist(), strict=True))
    by_id = {site_id: site for site, site_id in now.site_ids.items()}
    site_ids = sorted(by_id.keys() | sustainable_kw.keys())
    sites = [by_id.get(site_id) for site_id in site_ids]
    nothing = Bounds(0.0, 0.0)
    bounds = [nothing if site is None else now.bounds[site] for site in sites]
    in_vain = now.refused | now.silent
    return site_ids, Fleet(
        asked_kw=np.array([0.0 if site is None else now.asked_kw.get(site, 0.0) for site in sites]),
        low_kw=np.array([bound.low_kw if site in now.firm else 0.0 for site, bound in zip(sites, bounds, strict=True)]),
        high_kw=np.array([bound.high_kw for bound in bounds]),
        sustainable_kw=np.array([sustainable_kw.get(site_id, 0.0) for site_id in site_ids]),
        is_answering=np.array([site not in in_vain for site in sites], np.bool_),
        is_silent=np.array([site in now.silent for site in sites], np.bool_),
        is_settled=np.array([site not in now.waiting for site in sites], np.bool_),
        is_due=turns.due(site_ids),
    )


def _note_lack(dispatch: Dispatch, *, firm_kw: float, at: datetime) -> None:
    """Note since when firm power is under the promise, and how long it was when it covers it again."""
    is_short = firm_kw < dispatch.power_kw - WATT_KW
    if is_short and dispatch.short_since is None:
        dispatch.short_since = at
    elif not is_short and dispatch.short_since is not None:
        dispatch.restored_in_s = max(0.0, (at - dispatch.short_since).total_seconds())
        dispatch.short_since = None
    else:
        return
    dispatch.save(update_fields=["short_since", "restored_in_s"])


def reissue_stale(*, at: datetime, token: int | None = None) -> int:
    """Ask sites again that hold a higher sequence than ours, with one above it; return the new rows.

    So it is after the database came back from a backup.
    """
    with transaction.atomic():
        leases.require_dispatch(token)
        rows = list(queries.stale_rows(at=at))
        count = 0
        for dispatch in {row.dispatch.pk: row.dispatch for row in rows}.values():
            powers_kw = {row.site.site_id: row.power_kw for row in rows if row.dispatch.pk == dispatch.pk}
            count += desire(dispatch=dispatch, make_body=_bodies(dispatch), powers_kw=powers_kw, at=at)
        return count


def cancel_dispatch(*, dispatch: Dispatch, at: datetime, token: int | None = None) -> int:
    """Disarm every site of a dispatch by an assignment of no power; return the new rows.

    It carries the window that was armed: one that has ended would be refused as expired.
    """
    with transaction.atomic():
        leases.require_dispatch(token)
        dispatch = Dispatch.objects.get(pk=dispatch.pk)
        if dispatch.status != Dispatch.Status.OPEN:
            return 0
        dispatch.status = Dispatch.Status.CANCELLED
        dispatch.save(update_fields=["status"])
        powers_kw = dict.fromkeys(_desired_kw(dispatch), 0.0)
        return desire(dispatch=dispatch, make_body=_bodies(dispatch), powers_kw=powers_kw, at=at)


def lapse_dispatches(*, at: datetime, token: int | None = None) -> int:
    """Mark the dispatches whose window has ended; the sites let go by themselves. Return how many."""
    with transaction.atomic():
        leases.require_dispatch(token)
        return Dispatch.objects.filter(status=Dispatch.Status.OPEN, ends_at__lte=at).update(
            status=Dispatch.Status.LAPSED
        )


def _bodies(dispatch: Dispatch) -> MakeBody:
    if dispatch.kind == Kind.STREAM:
        return stream_bodies(dispatch, stream_product(dispatch.product))
    return curve_bodies(dispatch, curve_named(dispatch.product))


@dataclass(frozen=True, slots=True)
class Duty:
    """What a product asks of each site, curve or stream."""

    kind: Kind
    product: str
    sustain_s: float
    """Full power is kept up for so long [s]."""
    sign: int
    """+1 into the bus, -1 out of it, 0 both ways."""


def _duty_of_curve(curve: ResponseCurve) -> Duty:
    return Duty(Kind.CURVE, curve.name, curve.sustain_s, curve.sign)


def _duty_of_stream(product: StreamProduct) -> Duty:
    return Duty(Kind.STREAM, product.name, product.sustain_s, product.sign)


def _duty_owed(product: str) -> Duty:
    """Return the duty of an obligation's product: by its curve, or by a stream where it has none."""
    row = PRODUCTS.get(product)
    if row is None or row.kind is ProductKind.CURVE:
        return _duty_of_curve(curve_named(product))
    return _duty_of_stream(stream_product(product))


def _duty_of(kind: str, product: str) -> Duty:
    """Return a dispatch's duty; raise CurveError or KeyError for a product that nobody knows any more."""
    return _duty_of_stream(stream_product(product)) if kind == Kind.STREAM else _duty_of_curve(curve_named(product))


def _limit_kw(power_kw: float, duty: Duty) -> float:
    """Return the most that sites may hold together for a size owed [kW]."""
    return power_kw * (1.0 + over_delivery_of(duty.product).share)


def _target_kw(power_kw: float, duty: Duty) -> float:
    """Return what is asked of the fleet for a size owed, so that it is met after the usual dropouts [kW]."""
    return min(power_kw / (1.0 - float(settings.DROPOUT_MARGIN)), _limit_kw(power_kw, duty))


def _free_envelopes(
    *, duty: Duty, dispatch: Dispatch | None, at: datetime, window: Interval, obligation: Obligation | None = None
) -> list[OperatingEnvelope]:
    """Return what the product's fresh sites have left beside their assignment of the other kind.

    Of an award the sites of the unit that was sold; of any the sites whose owner does not keep them out of the window.
    Without those that another dispatch of this kind has armed: a site holds one of each, so arming it for a second
    would take it from the first. A site that releases at a lost link may serve a stream.
    """
    is_curve = duty.kind == Kind.CURVE
    busy = set(queries.armed_site_ids(at=at, kind=duty.kind, except_dispatch=dispatch))
    others = queries.asked(at=at, kind=Kind.STREAM if is_curve else Kind.CURVE)
    duties = {product: _duty_beside(kind, product) for _, kind, product in others.values()}
    envelopes = fleet_envelopes(
        at=at, fresh_within_s=settings.FRESH_WITHIN_S, program=duty.product, holds_without_link=is_curve, window=window
    )
    sold = None if obligation is None else sold_sites(obligation=obligation)
    free = []
    for envelope in envelopes:
        if envelope.site_id in busy or (sold is not None and envelope.site_id not in sold):
            continue
        power_kw, _, product = others.get(envelope.site_id, (0.0, "", ""))
        free.append(_beside(envelope, power_kw, duties[product]) if power_kw else envelope)
    return _within_limits(free, dispatch=dispatch, window=window, at=at)


def _within_limits(
    envelopes: list[OperatingEnvelope], *, dispatch: Dispatch | None, window: Interval, at: datetime
) -> list[OperatingEnvelope]:
    """Return the envelopes as far as operators' capacity limits leave room for service beside what others serve."""
    bounds = bounds_in(window=window)
    if not bounds:
        return envelopes
    members = sorted(set().union(*(bound.members for bound in bounds)))
    serving_kw = _serving_kw(dispatch, at)
    flows = flows_of(site_ids=members, oldest=at - timedelta(seconds=settings.FRESH_WITHIN_S))
    return capped(envelopes, bounds, flows, serving_kw)


def _duty_beside(kind: str, product: str) -> Duty:
    """Return the duty of another dispatch; of one that nobody knows any more the most that it may take."""
    try:
        return _duty_of(kind, product)
    except (CurveError, KeyError):
        return Duty(Kind(kind), product, UNKNOWN_SUSTAIN_S, 0)


def _beside(envelope: OperatingEnvelope, power_kw: float, duty: Duty) -> OperatingEnvelope:
    """Return what a site has left beside a share of another duty: of its power, and of the energy behind that."""
    energy_kwh = power_kw * duty.sustain_s / 3600.0
    up, down = float(duty.sign >= 0), float(duty.sign <= 0)
    return replace(
        envelope,
        discharge_kw=max(0.0, envelope.discharge_kw - up * power_kw),
        charge_kw=max(0.0, envelope.charge_kw - down * power_kw),
        usable_energy_kwh=max(0.0, envelope.usable_energy_kwh - up * energy_kwh),
        absorbable_energy_kwh=max(0.0, envelope.absorbable_energy_kwh - down * energy_kwh),
    )


def _serving_kw(dispatch: Dispatch | None, at: datetime) -> dict[str, tuple[float, float]]:
    """Return what sites are asked for by other dispatches, by site_id: into and out of the bus [kW]."""
    serving_kw: dict[str, tuple[float, float]] = {}
    for site_id, power_kw, kind, product in queries.asked_by_others(at=at, except_dispatch=dispatch):
        sign = _duty_beside(kind, product).sign
        into_kw, out_kw = serving_kw.get(site_id, (0.0, 0.0))
        serving_kw[site_id] = (into_kw + power_kw * (sign >= 0), out_kw + power_kw * (sign <= 0))
    return serving_kw


def _sustainable_kw(
    envelopes: Sequence[OperatingEnvelope], duty: Duty, *, dispatch: Dispatch | None, at: datetime
) -> FloatArray:
    """Return what each site can keep up [kW], so that no feeder passes its limit with what others serve behind it."""
    each_kw = np.array([envelope.sustainable_kw(duty.sustain_s, duty.sign) for envelope in envelopes])
    site_ids = [envelope.site_id for envelope in envelopes]
    if not feeders_of(site_ids=site_ids).parent.size:
        return each_kw
    serving_kw = _serving_kw(dispatch, at)
    everybody = [*site_ids, *sorted(serving_kw.keys() - set(site_ids))]
    taken_kw = np.array([serving_kw.get(site_id, (0.0, 0.0)) for site_id in everybody]).reshape(-1, 2)
    feeders = feeders_of(site_ids=everybody).less(taken_kw[:, 0], 1).less(taken_kw[:, 1], -1)
    all_kw = np.concatenate((each_kw, np.zeros(len(everybody) - len(site_ids))))
    return limited_kw(all_kw, feeders, duty.sign)[: len(site_ids)]


def _by_site(envelopes: Sequence[OperatingEnvelope], allocation: Allocation) -> dict[str, float]:
    """Return the shares that are some power, by site_id [kW]; a microwatt is not worth digits."""
    return {
        envelope.site_id: round(float(power_kw), 6)
        for envelope, power_kw in zip(envelopes, allocation.power_kw, strict=True)
        if power_kw > 0.0
    }


def _desired_kw(dispatch: Dispatch) -> dict[str, float]:
    """Return what sites are asked to hold for a dispatch now, by site_id [kW]."""
    rows = SiteAssignment.objects.filter(dispatch=dispatch, superseded=False, power_kw__gt=0.0)
    return dict(rows.values_list("site__site_id", "power_kw"))
