"""What was sent to sites and what they reported, written in batches: one statement a kind of change, many rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from vpp.dispatch import leases
from vpp.dispatch.models import SiteAssignment
from vpp.dispatch.reports import SiteReport

MAX_IN: Final = 5_000
"""Values in one list of a query."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One assignment put on the wire."""

    assignment_pk: int
    sent_at: datetime


@dataclass(slots=True)
class _Known:
    """A row that reports speak of."""

    pk: int
    site_id: str
    site: int
    kind: str
    sequence: int
    ends_at: datetime
    is_acknowledged: bool


def record_sent(*, sendings: Sequence[Sending], token: int | None = None) -> None:
    """Record a batch of sendings: the first and the last one of each assignment, and their number."""
    if not sendings:
        return
    with transaction.atomic():
        leases.require_dispatch(token)
        _update(
            "first_sent_at = COALESCE(first_sent_at, %s), last_sent_at = %s, sends = sends + 1",
            "id = %s",
            [(_text(s.sent_at), _text(s.sent_at), s.assignment_pk) for s in sendings],
        )


def record_acknowledgements(*, reports: Sequence[SiteReport], token: int | None = None) -> None:
    """Record a batch of reported states on the assignments that they speak of.

    The held hash acknowledges the assignment that has it, also one that is superseded by now, and replaces
    everything older of its kind; the refused hash puts the refusal's name on the one that was refused. What an
    acknowledgement said once stays: a later report changes only ``reported_*``.
    """
    if not reports:
        return
    with transaction.atomic():
        leases.require_dispatch(token)
        by_hash, desired = _spoken_of(reports)
        acknowledged, refused, noted, replaced = [], [], [], []
        for report in reports:
            held = by_hash.get(report.held_hash)
            # A hash of another site's assignment acknowledges nothing.
            if held is not None and held.site_id == report.site_id:
                if not held.is_acknowledged:
                    held.is_acknowledged = True
                    acknowledged.append((_text(report.received_at), held.pk))
                    replaced.append((held.site, held.kind, held.sequence))
                noted += _note(held, report)
            rejected = by_hash.get(report.refused_hash)
            if rejected is not None and rejected.site_id == report.site_id and not rejected.is_acknowledged:
                refused.append((report.refusal, rejected.pk))
            wanted = desired.get((report.site_id, report.kind))
            if wanted is not None and (held is None or wanted.pk != held.pk):
                noted += _note(wanted, report)
        _update("acknowledged_at = %s, refusal = ''", "id = %s", acknowledged)
        _update("is_replaced = %s", "site_id = %s AND kind = %s AND sequence < %s AND is_replaced = %s",
                [(True, site, kind, sequence, False) for site, kind, sequence in replaced])  # fmt: skip
        _update("refusal = %s", "id = %s AND acknowledged_at IS NULL", refused)
        _update("reported_at = %s, reported_state = %s, reported_hash = %s, reported_sequence = %s", "id = %s", noted)


def _spoken_of(reports: Sequence[SiteReport]) -> tuple[dict[str, _Known], dict[tuple[str, str], _Known]]:
    """Return the rows whose hashes are named, by hash, and the desired rows of the sites, by site and kind."""
    hashes = {report.held_hash for report in reports} | {report.refused_hash for report in reports}
    by_hash: dict[str, _Known] = {}
    desired: dict[tuple[str, str], _Known] = {}
    columns = (
        "content_hash", "superseded", "pk", "site__site_id", "site_id", "kind", "sequence", "ends_at", "acknowledged_at"
    )  # fmt: skip
    site_ids = sorted({report.site_id for report in reports})
    lists: list[tuple[str, list[str], dict[str, bool]]] = [
        ("content_hash__in", sorted(hashes - {""}), {}),
        ("site__site_id__in", site_ids, {"superseded": False}),
    ]
    for condition, values, more in lists:
        for start in range(0, len(values), MAX_IN):
            rows = SiteAssignment.objects.filter(**{condition: values[start : start + MAX_IN]}, **more)
            for values_ in rows.order_by().values_list(*columns):
                content_hash, superseded, pk, site_id, site, kind, sequence, ends_at, acknowledged_at = values_
                is_acknowledged = acknowledged_at is not None
                row = by_hash.setdefault(
                    content_hash, _Known(pk, site_id, site, kind, sequence, ends_at, is_acknowledged)
                )
                if not superseded:
                    desired[row.site_id, row.kind] = row
    return by_hash, desired


def _note(row: _Known, report: SiteReport) -> list[tuple[Any, ...]]:
    # After its window a site reports that it holds nothing; that says nothing of what it held in it.
    if report.received_at >= row.ends_at:
        return []
    return [(_text(report.received_at), report.state, report.held_hash, report.held_sequence, row.pk)]


def _update(changes: str, condition: str, rows: Iterable[Sequence[Any]]) -> None:
    """Run one statement for many rows: a tenth of the time of Django's ``bulk_update``, which builds cases."""
    listed = list(rows)
    if listed:
        with connection.cursor() as cursor:
            cursor.executemany(f"UPDATE {SiteAssignment._meta.db_table} SET {changes} WHERE {condition}", listed)  # noqa: S608


def _text(at: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(at)
