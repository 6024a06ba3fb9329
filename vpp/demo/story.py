"""The demo's story, stage by stage: an operator's event arms a fleet, the frequency falls, a feeder opens."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db.models import Count, Max, Min

from carbon.operations import close_period
from markets import operations as markets
from markets import queries as market_queries
from markets.core.products import Basis
from sites.core.curves import curve_named
from sites.core.intervals import Interval
from sites.identity.management.commands.make_service_certificate import BROKER
from sites.identity.rights import SERVICE_NAMES
from sites.metering import queries as metering_queries
from sites.metering.models import LiveState, MeterInterval
from sites.registry.models import Asset
from sites.registry.operations import enrol_sites
from vpp.console.operations import create_demo_users
from vpp.demo import broker
from vpp.demo.processes import Processes
from vpp.demo.progress import Progress
from vpp.demo.workspace import DemoError, Workspace
from vpp.dispatch import queries as dispatch_queries
from vpp.dispatch.models import Dispatch, SiteAssignment

PRODUCT = "neso-dc-low"
INTERVAL_S = 5
"""Length of the metered intervals in the demo; a fleet in service uses 60 s."""
TRACE = "gb-20190809"
BEFORE_TRIP_S = 20.0
AFTER_TRIP_S = 34.0
LEAD_S = 1.0
"""From the operator's event to the first second of the replay."""
WINDOW_BEFORE_TRIP_S = 10.0
FEEDER_OPENS_S = 8.0
FEEDER_BACK_S = 11.0
"""After the trip; the site then waits its 20 s before it may return (G99), and synchronizes."""
FAST_SWITCHES = ("forced", "sic")
OFFERED_SHARE = 0.8
"""Share of the fleet's sustainable power that the operator asks for."""
OWNED_SITES = 3
KEEPS_UP_S = 0.6
"""The simulation calls itself behind from 0.5 s on, and tells a last time when it has caught up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When what happens, fixed as the operator issues its event."""

    event_id: str
    power_kw: float
    plays_at: float
    """Unix seconds, as the next one."""
    trip_at: float
    window: Interval
    """The obligation's own period, on the metering grid."""

    @property
    def ends_at(self) -> float:
        """The last second of the replay, Unix seconds."""
        return self.trip_at + AFTER_TRIP_S


def await_condition(condition: Callable[[], bool], *, within_s: float, what: str, every_s: float = 0.1) -> None:
    """Return once the condition holds; raise DemoError naming what was awaited in vain."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"waited {within_s:g} s in vain for: {what}")
        time.sleep(every_s)


def prepare_platform(manifest: list[dict[str, Any]]) -> dict[str, str]:
    """Enroll the fleet, load the programs, make the people; return their passwords by name."""
    at = datetime.now(UTC)
    enrol_sites(manifest=manifest, program=PRODUCT, at=at)
    markets.ensure_programs()
    return create_demo_users(owned_site_ids=[site["site_id"] for site in manifest[:OWNED_SITES]])


def make_keys(workspace: Workspace) -> None:
    """Make both authorities and the certificates of the broker and the services, as `docs/enrolment.md` says."""
    call_command("make_site_ca", folder=workspace.keys, stdout=StringIO())
    call_command(
        "make_service_certificate", BROKER, *SERVICE_NAMES,
        folder=workspace.keys, host=[broker.HOST], url=workspace.broker_url, stdout=StringIO(),
    )  # fmt: skip


def admit_services(workspace: Workspace) -> None:
    """Write the broker's first users: the platform's own services."""
    call_command("keep_broker", "nats", folder=workspace.broker_folder, once=True, stdout=StringIO())


def certify_fleet(workspace: Workspace, *, url: str) -> None:
    """Take each site from token to certificate, and let the running broker know them at once."""
    call_command("enrol_simulated_sites", folder=workspace.identities, url=url, stdout=StringIO())
    call_command(
        "keep_broker", "nats",
        folder=workspace.broker_folder, pid_file=workspace.broker_pid, once=True, stdout=StringIO(),
    )  # fmt: skip


def make_database() -> None:
    """Bring the run's own database to the newest form."""
    call_command("migrate", verbosity=0)


def await_fleet(processes: Processes, progress: Progress, *, sites: int) -> None:
    """Wait until every site's live data stands in the database and is fresh, and until the VEN is registered."""

    def all_fresh() -> bool:
        processes.supervisor.require_alive()
        since = datetime.now(UTC) - timedelta(seconds=settings.FRESH_WITHIN_S)
        count = LiveState.objects.filter(measured_at__gte=since, discharge_kw__isnull=False).count()
        progress.detail(f"{count} of {sites} sites")
        return count >= sites

    await_condition(all_fresh, within_s=60.0, what=f"fresh data of {sites} sites in the database")
    # Two hundred that start at once lag a little; in the event they must not.
    with contextlib.suppress(DemoError):
        await_condition(lambda: processes.lag_s < KEEPS_UP_S, within_s=20.0, what="a simulation that keeps up")
    processes.require_real_time()
    progress.detail("the VEN registers with the grid operator")
    processes.operator.await_said(lambda said: said["event"] == "registered", within_s=30.0, what="VEN registered")


def sustainable_kw(*, at: datetime) -> float:
    """Return what the fleet can hold for the product's whole duration [kW], as the platform stored it."""
    curve = curve_named(PRODUCT)
    envelopes = metering_queries.fleet_envelopes(at=at, fresh_within_s=settings.FRESH_WITHIN_S, program=PRODUCT)
    return sum(envelope.sustainable_kw(curve.sustain_s, curve.sign) for envelope in envelopes)


def issue_event(processes: Processes) -> Plan:
    """Let the grid operator issue its event, and the sites' grid begin to play the recorded day."""
    offered_kw = sustainable_kw(at=datetime.now(UTC))
    power_kw = math.floor(offered_kw * OFFERED_SHARE * 10.0) / 10.0
    if power_kw <= 0.0:
        raise DemoError(f"the fleet offers {offered_kw:.1f} kW; nothing to ask for")
    now = time.time()
    trip_at = now + LEAD_S + BEFORE_TRIP_S
    # Window and metering share their borders, so that what is settled was metered in whole intervals.
    starts_at = math.ceil((trip_at - WINDOW_BEFORE_TRIP_S) / INTERVAL_S) * INTERVAL_S
    ends_at = math.floor((trip_at + AFTER_TRIP_S) / INTERVAL_S) * INTERVAL_S
    plan = Plan(
        event_id=f"{TRACE}-{int(now)}",
        power_kw=power_kw,
        plays_at=now + LEAD_S,
        trip_at=trip_at,
        window=Interval(datetime.fromtimestamp(starts_at, UTC), datetime.fromtimestamp(ends_at, UTC)),
    )
    event = {
        "cmd": "event",
        "event_id": plan.event_id,
        "market_context": market_queries.program_named(PRODUCT).market_context,
        "signal_name": "LOAD_DISPATCH",
        "signal_type": "delta",
        # OpenADR counts consumption: less of it is negative, and is our power into the grid.
        "power_kw": -power_kw,
        "starts_at": plan.window.starts_at.isoformat(),
        "duration_s": ends_at - starts_at,
    }
    processes.operator.tell(json.dumps(event))
    processes.simulator.tell(f"play {TRACE} from -{BEFORE_TRIP_S:g} to {AFTER_TRIP_S:g} at {plan.plays_at:.6f}")
    return plan


def await_armed(processes: Processes, progress: Progress, plan: Plan) -> str:
    """Wait until each armed site has acknowledged; return the dispatch id."""
    opted = processes.operator.await_said(lambda said: said["event"] == "opt", within_s=15.0, what="an answer")
    if opted["opt"] != "optIn":
        reason = market_queries.recent_events(limit=1)[0].reason_text
        raise DemoError(f"our VEN answered {opted['opt']}: {reason}")
    progress.note(f"the operator's VTN has our opt-in after {opted['latency_ms']:.0f} ms")
    found: list[str] = []

    def acknowledged() -> bool:
        processes.require_real_time()
        dispatch = Dispatch.objects.filter(obligation__event__event_id=plan.event_id).first()
        if dispatch is None:
            return False
        found[:] = [dispatch.dispatch_id]
        summary = dispatch_queries.dispatch_summary(dispatch_id=dispatch.dispatch_id, at=datetime.now(UTC))
        progress.detail(f"{summary.acknowledged} of {summary.armed} sites")
        return 0 < summary.armed == summary.acknowledged

    await_condition(acknowledged, within_s=15.0, what="every armed site's acknowledgement")
    return found[0]


def open_a_feeder(processes: Processes, plan: Plan, *, dispatch_id: str) -> str:
    """Tell the plant which site loses its feeder in the event and when it comes back; return the site.

    The armed three-phase site with the median share: neither the one that would hide nor the one that would sink
    the fleet's figure. Its static switch is one that can keep two milliseconds; sites with naturally commutated
    switches or contactors take 11 to 37 ms (docs/benchmarks.md).
    """
    ready = processes.simulator.await_said(lambda said: said["event"] == "ready", within_s=1.0, what="sites are ready")
    fast = [site_id for site_id, kind in ready["switch_kinds"].items() if kind in FAST_SWITCHES]
    rows = list(
        SiteAssignment.objects.filter(dispatch__dispatch_id=dispatch_id, acknowledged_at__isnull=False)
        .filter(site__phases=3, site__site_id__in=fast)
        .order_by("power_kw", "site__site_id")
        .values_list("site__site_id", flat=True)
    )
    if not rows:
        raise DemoError("no three-phase site with a fast switch is armed; use more sites or another seed")
    site_id = rows[len(rows) // 2]
    processes.simulator.tell(f"open-feeder {site_id} at {plan.trip_at + FEEDER_OPENS_S:.6f}")
    processes.simulator.tell(f"close-feeder {site_id} at {plan.trip_at + FEEDER_BACK_S:.6f}")
    return site_id


def follow_event(processes: Processes, progress: Progress, plan: Plan, *, dispatch_id: str, islanded: str) -> None:
    """Show the event as the platform stores it, until the replay's last second."""
    told: set[str] = set()

    def tell_once(key: str, text: str) -> None:
        if key not in told:
            told.add(key)
            progress.note(text)

    while time.time() < plan.ends_at:
        processes.require_real_time()
        live = metering_queries.fleet_live(at=datetime.now(UTC), fresh_within_s=settings.FRESH_WITHIN_S)
        if live.frequency_hz is not None:
            progress.detail(
                f"trip {time.time() - plan.trip_at:+5.1f} s   {live.frequency_hz:.3f} Hz   "
                f"due {live.required_kw or 0:8.1f} kW   delivered {live.service_kw or 0:8.1f} kW"
            )
            if live.frequency_hz < 49.5:
                tell_once("low", f"below 49.5 Hz: the whole {plan.power_kw:.1f} kW are due")
        mode = LiveState.objects.filter(site__site_id=islanded).values_list("mode", flat=True).first()
        if mode == "islanded":
            tell_once("islanded", f"{islanded} lost its feeder and carries its load")
        time.sleep(0.2)


def await_books_ready(
    processes: Processes, progress: Progress, plan: Plan, *, dispatch_id: str, islanded: str
) -> Interval:
    """Wait until everything metered in the window is stored; return the period that all sites metered in full."""
    shares = dispatch_queries.contracted_shares(dispatch_id=dispatch_id)
    site_ids = [share.site_id for share in shares]

    def complete() -> bool:
        processes.require_real_time()
        if market_queries.metering_gaps(window=plan.window, site_ids=site_ids):
            return False
        last = Asset.objects.annotate(last=Max("intervals__ends_at")).aggregate(least=Min("last"))["least"]
        return last is not None and last >= plan.window.ends_at

    await_condition(complete, within_s=30.0, what="the window's records and intervals of every site")
    await_condition(
        lambda: any(waveform.site_id == islanded for waveform in metering_queries.waveforms(period=event_period(plan))),
        within_s=15.0,
        what=f"the waveform of {islanded}",
    )
    await_condition(
        lambda: LiveState.objects.filter(site__site_id=islanded, mode="grid_tied").exists(),
        within_s=25.0,
        what=f"{islanded} back on the grid",
    )
    progress.note(f"{islanded} has synchronized and reclosed")
    return metered_in_full()


def event_period(plan: Plan) -> Interval:
    """Return the replay's whole period."""
    return Interval(
        datetime.fromtimestamp(plan.plays_at, UTC), datetime.fromtimestamp(plan.ends_at + 2 * INTERVAL_S, UTC)
    )


def metered_in_full() -> Interval:
    """Return the period in which each asset has its numbered intervals, on the metering grid."""
    rows = (
        MeterInterval.objects.filter(revision=0)
        .values("asset")
        .annotate(first=Min("starts_at"), last=Max("ends_at"), count=Count("pk"))
    )
    first = max(row["first"] for row in rows).timestamp()
    last = min(row["last"] for row in rows).timestamp()
    starts_at = math.ceil(first / INTERVAL_S) * INTERVAL_S
    ends_at = math.floor(last / INTERVAL_S) * INTERVAL_S
    return Interval(datetime.fromtimestamp(starts_at, UTC), datetime.fromtimestamp(ends_at, UTC))


def close_books(*, dispatch_id: str, metered: Interval) -> None:
    """Settle the obligation and close the carbon of the metered period."""
    at = datetime.now(UTC)
    obligation = market_queries.obligation_named(dispatch_id=dispatch_id)
    if obligation is None:
        raise DemoError(f"obligation {dispatch_id} is gone")
    shares = dispatch_queries.contracted_shares(dispatch_id=dispatch_id)
    markets.settle_obligation(obligation=obligation, shares=shares, basis=Basis.DEMONSTRATION, at=at)
    # The newest typed-in factors are older than the demo's day; the entries carry that as a note.
    close_period(period=metered, at=at, allow_older_vintage=True)
