"""An event in the platform's database, made by the platform's own operations; for the console's tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User

from markets import queries as market_queries
from markets.core.events import Event, EventInterval, EventSignal
from markets.models import GridSupportEntry
from markets.operations import ensure_programs, receive_event
from sites.core.intervals import Interval
from sites.ledger.operations import append_entry
from sites.ledger.postings import posting
from sites.registry.models import Site
from sites.registry.operations import grant_ownership
from sites.registry.permissions import OWNER, ROLES
from vpp.dispatch.models import SiteAssignment
from vpp.dispatch.operations import arm_obligation
from vpp.dispatch.recording import Sending, record_acknowledgements, record_sent
from vpp.dispatch.reports import SiteReport

EVENT_ID = "grid-2019-08-09"
DISPATCH_ID = f"DC-{EVENT_ID}"


def a_fleet(count: int, kinds: Sequence[str] = ("pcc", "battery", "pv", "load")) -> list[dict[str, Any]]:
    """Return the manifest of sites ``site-0001`` …, each with one asset of each kind."""
    nameplates = {
        "pcc": {"rated_kw": 80.0, "export_limit_kw": 60.0},
        "battery": {"rated_kw": 50.0, "capacity_kwh": 100.0, "reserve_kwh": 20.0},
        "pv": {"rated_kw": 12.0},
        "load": {"rated_kw": 30.0},
    }
    return [
        {
            "site_id": f"site-{number:04d}", "name": f"Site {number}", "grid_zone": "GB", "time_zone": "Europe/London",
            "nominal_hz": 50.0, "nominal_voltage_v": 230.0, "phases": 3, "loss_of_link": "hold",
            "assets": [{"name": kind, "kind": kind, **nameplates[kind]} for kind in kinds],
        }
        for number in range(1, count + 1)
    ]  # fmt: skip


def a_person(role: str, *, owns: Sequence[str] = ()) -> User:
    """Return somebody of that name in the role of that name, if there is one; an owner gets the sites."""
    person = User.objects.create(username=role)
    if role in ROLES:
        # The migration's groups are gone after a test that empties the tables.
        person.groups.add(Group.objects.get_or_create(name=role)[0])
    if role == OWNER:
        grant_ownership(person, Site.objects.filter(site_id__in=owns))
    return person


def accept_event(*, share: float, at: datetime) -> str:
    """Let the operator ask for a share of what the fleet has, from a second from now on for ten minutes."""
    program = next(row for row in ensure_programs() if row.name == "neso-dc-low")
    available_kw = market_queries.available_kw(
        market_context=program.market_context,
        at=at,
        fresh_within_s=settings.FRESH_WITHIN_S,
        dropout_margin=settings.DROPOUT_MARGIN,
    )
    starts_at, duration = at + timedelta(seconds=3), timedelta(minutes=10)
    wanted = EventInterval(starts_at, duration, -share * available_kw)
    signal = EventSignal(program.signal_name, program.signal_type, (wanted,))
    event = Event("vtn", EVENT_ID, 0, "far", program.market_context, starts_at, duration, (signal,))
    decision = receive_event(raw=b"<oadrDistributeEvent/>", event=event, available_kw=available_kw, at=at)
    return decision.opt.value


def arm(*, silent: int, at: datetime) -> int:
    """Arm what is owed; all sites but so many acknowledge. Return the number of assignments."""
    dispatch = arm_obligation(obligation=market_queries.open_obligations(at=at)[0], at=at)
    rows = list(SiteAssignment.objects.filter(dispatch=dispatch).select_related("site").order_by("pk"))
    record_sent(sendings=[Sending(assignment_pk=row.pk, sent_at=at) for row in rows])
    reports = [
        SiteReport(
            site_id=row.site.site_id, received_at=at + timedelta(milliseconds=40 + index), state="armed",
            held_hash=row.content_hash, held_sequence=row.sequence, refused_hash="", refusal="", refused_sequence=0,
        )
        for index, row in enumerate(rows[silent:])
    ]  # fmt: skip
    record_acknowledgements(reports=reports)
    return len(rows)


def book(*, site_id: str, amount: str, at: datetime) -> GridSupportEntry:
    """Append one balanced entry to the grid-support book on a site's battery."""
    return append_entry(
        GridSupportEntry,
        chain=f"{site_id}/battery",
        kind="settlement",
        period=Interval(at - timedelta(minutes=1), at),
        dispatch_id="DC-earlier",
        body={
            "postings": [
                posting(f"asset/{site_id}/availability", "GBP", amount),
                posting("fleet/neso-dc-low/clearing", "GBP", f"-{amount}"),
            ],
            "facts": {"contracted_kw": "10"},
        },
        at=at,
    )


def main() -> None:
    """Put a running event into the database of the process's settings."""
    at = datetime.now(UTC)
    answer = accept_event(share=0.8, at=at)
    assignments = arm(silent=1, at=at)
    book(site_id="site-0003", amount="12.40", at=at)
    print(f"{answer} {assignments}")
