"""Writes of the dispatcher: arm, record what sites reported, replace who refused, cancel, lapse."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Max, QuerySet

from markets.models import Obligation
from sites.core.assignments import Assignment
from sites.core.curves import ResponseCurve, curve_named
from sites.core.envelope import OperatingEnvelope
from sites.metering.queries import fleet_envelopes
from sites.registry.models import Site
from vpp.dispatch import leases, queries
from vpp.dispatch.allocation import WATT_KW, Allocation, allocate
from vpp.dispatch.models import Dispatch, SiteAssignment
from vpp.dispatch.reports import SiteReport

DECLARED_BASELINE_KW = 0.0
"""Battery power that is declared without the service [kW]: no site has a schedule of its own yet."""
SILENT_SENDS = 4
"""A site that did not answer so many sendings is counted as silent: 7 s with repetitions after 1, 2
and 4 s. Sendings, not seconds: while the dispatcher or the broker is away nobody is silent."""
WORTH_REPLACING = 0.01
"""A missing share smaller than this part of the obligation is not worth arming sites anew."""


class NothingToArm(RuntimeError):
    """No enrolled site is fresh and free with power to give; asked again at the next tick."""


def arm_obligation(*, obligation: Obligation, at: datetime, token: int | None = None) -> Dispatch:
    """Share an obligation among the sites that can serve it and desire the shares; idempotent.

    Asks for the obligation over (1 − dropout margin), up to what the free and fresh sites sustain.
    An obligation whose terms changed (its revision rose) is shared anew, with the next sequences.
    One transaction; ``token`` fences it against another leader.

    Raises NothingToArm when no site can take any of it, LeaseLost, CurveError.
    """
    curve = curve_named(obligation.program.product)
    with transaction.atomic():
        _require(token)
        held = Dispatch.objects.filter(dispatch_id=obligation.dispatch_id).first()
        if held is not None and held.obligation_revision >= obligation.revision:
            return held
        envelopes = _free_envelopes(curve=curve, dispatch=held, at=at)
        allocation = allocate(_target_kw(obligation.power_kw), _sustainable_kw(envelopes, curve), minimum_kw=WATT_KW)
        if not allocation.power_kw.any():
            raise NothingToArm(
                f"obligation {obligation.dispatch_id}: {len(envelopes)} free sites with data of the last "
                f"{settings.FRESH_WITHIN_S:g} s, accepted: at least one with power to give"
            )
        dispatch = held or Dispatch(dispatch_id=obligation.dispatch_id, obligation=obligation, created_at=at)
        dispatch.obligation_revision = obligation.revision
        dispatch.status = Dispatch.Status.OPEN
        dispatch.product = curve.name
        dispatch.power_kw = obligation.power_kw
        dispatch.starts_at, dispatch.ends_at = obligation.starts_at, obligation.ends_at
        dispatch.save()
        powers_kw = dict.fromkeys(_desired_kw(dispatch), 0.0) | _by_site(envelopes, allocation)
        _desire(dispatch=dispatch, curve=curve, powers_kw=powers_kw, at=at)
    return dispatch


def replace_refused(*, dispatch: Dispatch, at: datetime, token: int | None = None) -> int:
    """Give the share of sites that refused or stay silent to sites with room; return the new rows.

    Only before the window begins: in an event the fleet answers its own frequency, and moving
    shares would fight that.
    """
    with transaction.atomic():
        _require(token)
        dispatch = Dispatch.objects.get(pk=dispatch.pk)
        if dispatch.status != Dispatch.Status.OPEN or at >= dispatch.starts_at:
            return 0
        curve = curve_named(dispatch.product)
        current = queries.current_rows(dispatch=dispatch)
        refused = {row.site.site_id for row in current if row.refusal}
        silent = {
            row.site.site_id
            for row in current
            if not row.acknowledged_at and not row.refusal and row.sends >= SILENT_SENDS and row.power_kw > 0.0
        }
        held_kw = queries.held_kw(dispatch=dispatch)
        pledged_kw = {
            row.site.site_id: held_kw.get(row.site.site_id, 0.0)
            if row.site.site_id in refused | silent
            else row.power_kw
            for row in current
        }
        # A silent site that held nothing before shall not come back with a share that others have.
        powers_kw = {site_id: 0.0 for site_id in silent if pledged_kw[site_id] == 0.0}
        missing_kw = _target_kw(dispatch.power_kw) - math.fsum(pledged_kw.values())
        is_short = math.fsum(pledged_kw.values()) < dispatch.power_kw * (1.0 - WORTH_REPLACING)
        if (refused or silent or is_short) and missing_kw > WORTH_REPLACING * dispatch.power_kw:
            usable = [
                envelope
                for envelope in _free_envelopes(curve=curve, dispatch=dispatch, at=at)
                if envelope.site_id not in refused | silent
            ]
            sustainable_kw = _sustainable_kw(usable, curve)
            room_kw = [
                max(0.0, sustained_kw - pledged_kw.get(envelope.site_id, 0.0))
                for envelope, sustained_kw in zip(usable, sustainable_kw, strict=True)
            ]
            if math.fsum(room_kw) > WORTH_REPLACING * dispatch.power_kw:
                more = allocate(missing_kw, sustainable_kw, ceiling_kw=room_kw, minimum_kw=WATT_KW)
                for site_id, power_kw in _by_site(usable, more).items():
                    powers_kw[site_id] = pledged_kw.get(site_id, 0.0) + power_kw
        return _desire(dispatch=dispatch, curve=curve, powers_kw=powers_kw, at=at)


def reissue_stale(*, at: datetime, token: int | None = None) -> int:
    """Ask sites again that hold a higher sequence than ours, with one above it; return the new rows.

    So it is after the database came back from a backup.
    """
    with transaction.atomic():
        _require(token)
        rows = list(queries.stale_rows(at=at))
        count = 0
        for dispatch in {row.dispatch.pk: row.dispatch for row in rows}.values():
            powers_kw = {row.site.site_id: row.power_kw for row in rows if row.dispatch.pk == dispatch.pk}
            count += _desire(dispatch=dispatch, curve=curve_named(dispatch.product), powers_kw=powers_kw, at=at)
        return count


def cancel_dispatch(*, dispatch: Dispatch, at: datetime, token: int | None = None) -> int:
    """Disarm every site of a dispatch by an assignment of no power; return the new rows.

    It carries the window that was armed: one that has ended would be refused as expired.
    """
    with transaction.atomic():
        _require(token)
        dispatch = Dispatch.objects.get(pk=dispatch.pk)
        if dispatch.status != Dispatch.Status.OPEN:
            return 0
        dispatch.status = Dispatch.Status.CANCELLED
        dispatch.save(update_fields=["status"])
        powers_kw = dict.fromkeys(_desired_kw(dispatch), 0.0)
        return _desire(dispatch=dispatch, curve=curve_named(dispatch.product), powers_kw=powers_kw, at=at)


def lapse_dispatches(*, at: datetime, token: int | None = None) -> int:
    """Mark the dispatches whose window has ended; the sites let go by themselves. Return how many."""
    with transaction.atomic():
        _require(token)
        return Dispatch.objects.filter(status=Dispatch.Status.OPEN, ends_at__lte=at).update(
            status=Dispatch.Status.LAPSED
        )


@dataclass(frozen=True, slots=True)
class Sending:
    """One assignment put on the wire."""

    assignment_pk: int
    sent_at: datetime


def record_sent(*, sendings: Sequence[Sending], token: int | None = None) -> None:
    """Record a batch of sendings: the first and the last one of each assignment, and their number."""
    if not sendings:
        return
    with transaction.atomic():
        _require(token)
        rows = SiteAssignment.objects.only("first_sent_at", "last_sent_at", "sends").in_bulk(
            sorted({sending.assignment_pk for sending in sendings})
        )
        for sending in sendings:
            row = rows.get(sending.assignment_pk)
            if row is not None:
                row.first_sent_at = row.first_sent_at or sending.sent_at
                row.last_sent_at = sending.sent_at
                row.sends += 1
        SiteAssignment.objects.bulk_update(rows.values(), ["first_sent_at", "last_sent_at", "sends"], batch_size=200)


def record_acknowledgements(*, reports: Sequence[SiteReport], token: int | None = None) -> None:
    """Record a batch of reported states on the assignments that they speak of.

    The held hash acknowledges the assignment that has it, also one that is superseded by now; the
    refused hash puts the refusal's name on the one that was refused. What an acknowledgement said
    once stays: a later report changes only ``reported_*``.
    """
    if not reports:
        return
    with transaction.atomic():
        _require(token)
        hashes = {report.held_hash for report in reports} | {report.refused_hash for report in reports}
        by_hash = {
            row.content_hash: row
            for row in _reported(SiteAssignment.objects.filter(content_hash__in=sorted(hashes - {""})))
        }
        site_ids = sorted({report.site_id for report in reports})
        desired = {
            row.site.site_id: by_hash.setdefault(row.content_hash, row)
            for row in _reported(SiteAssignment.objects.filter(superseded=False, site__site_id__in=site_ids))
        }
        for report in reports:
            held = by_hash.get(report.held_hash)
            refused = by_hash.get(report.refused_hash)
            # A hash of another site's assignment acknowledges nothing.
            if held is not None and held.site.site_id == report.site_id:
                held.acknowledged_at = held.acknowledged_at or report.received_at
                held.refusal = ""
                _note(held, report)
            if refused is not None and refused.site.site_id == report.site_id and not refused.acknowledged_at:
                refused.refusal = report.refusal
            if report.site_id in desired:
                _note(desired[report.site_id], report)
        SiteAssignment.objects.bulk_update(by_hash.values(), _REPORTED_FIELDS, batch_size=100)


_REPORTED_FIELDS = [
    "acknowledged_at",
    "refusal",
    "reported_at",
    "reported_state",
    "reported_hash",
    "reported_sequence",
]


def _reported(rows: QuerySet[SiteAssignment]) -> QuerySet[SiteAssignment]:
    return rows.select_related("site").only("content_hash", "ends_at", "site__site_id", *_REPORTED_FIELDS)


def _note(row: SiteAssignment, report: SiteReport) -> None:
    # After its window a site reports that it holds nothing; that says nothing of what it held in it.
    if report.received_at >= row.ends_at:
        return
    row.reported_at = report.received_at
    row.reported_state = report.state
    row.reported_hash = report.held_hash
    row.reported_sequence = report.held_sequence


def _require(token: int | None) -> None:
    if token is not None:
        leases.require_lease(name=leases.DISPATCH, token=token)


def _target_kw(power_kw: float) -> float:
    """Return what is asked of the fleet for a size owed, so that it is met after the usual dropouts [kW]."""
    return power_kw / (1.0 - float(settings.DROPOUT_MARGIN))


def _free_envelopes(*, curve: ResponseCurve, dispatch: Dispatch | None, at: datetime) -> list[OperatingEnvelope]:
    """Return the fresh envelopes of the product's sites that no other dispatch has armed.

    A site holds one assignment: arming it for a second dispatch would take it from the first.
    """
    busy = set(queries.armed_site_ids(at=at, except_dispatch=dispatch))
    envelopes = fleet_envelopes(at=at, fresh_within_s=settings.FRESH_WITHIN_S, program=curve.name)
    return [envelope for envelope in envelopes if envelope.site_id not in busy]


def _sustainable_kw(envelopes: Sequence[OperatingEnvelope], curve: ResponseCurve) -> list[float]:
    return [envelope.sustainable_kw(curve.sustain_s, curve.sign) for envelope in envelopes]


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


def _desire(*, dispatch: Dispatch, curve: ResponseCurve, powers_kw: Mapping[str, float], at: datetime) -> int:
    """Give each site its next desired assignment, and the dispatch its new sum; return the new rows."""
    if not powers_kw:
        return 0
    sites = {site.site_id: site for site in Site.objects.only("site_id").filter(site_id__in=sorted(powers_kw))}
    highest = SiteAssignment.objects.filter(site__in=sites.values()).order_by().values("site_id")
    sequences = {
        # A site may hold a higher sequence than we know of, when the database comes from a backup.
        row["site_id"]: max(row["ours"], row["theirs"])
        for row in highest.annotate(ours=Max("sequence"), theirs=Max("reported_sequence"))
    }
    rows = []
    for site_id, power_kw in powers_kw.items():
        site = sites[site_id]
        assignment = Assignment(
            assignment_id=str(uuid.uuid4()),
            site_id=site_id,
            sequence=sequences.get(site.pk, 0) + 1,
            dispatch_id=dispatch.dispatch_id,
            curve_name=curve.name,
            direction=curve.direction,
            points=curve.points,
            power_kw=power_kw,
            baseline_kw=DECLARED_BASELINE_KW,
            starts_at=dispatch.starts_at,
            ends_at=dispatch.ends_at,
            trigger=curve.trigger,
            recovery=curve.recovery,
        )
        rows.append(
            SiteAssignment(
                dispatch=dispatch,
                site=site,
                assignment_id=assignment.assignment_id,
                sequence=assignment.sequence,
                power_kw=assignment.power_kw,
                baseline_kw=assignment.baseline_kw,
                body=assignment.to_bytes(),
                content_hash=assignment.content_hash,
                ends_at=assignment.ends_at,
                created_at=at,
            )
        )
    SiteAssignment.objects.filter(site__in=sites.values(), superseded=False).update(superseded=True)
    SiteAssignment.objects.bulk_create(rows, batch_size=500)
    dispatch.armed_kw = math.fsum(_desired_kw(dispatch).values())
    dispatch.save(update_fields=["armed_kw"])
    return len(rows)
