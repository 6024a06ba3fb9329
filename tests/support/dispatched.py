"""A small fleet and its dispatch in Django's own database: owed, armed, acknowledged, refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from markets.models import MarketEvent, Obligation
from markets.operations import ProgramSeed, ensure_programs
from sites.metering.models import LiveState
from sites.registry.models import Asset, Enrollment, Site
from vpp.dispatch import queries, recording
from vpp.dispatch.models import Dispatch, SiteAssignment
from vpp.dispatch.recording import Sending
from vpp.dispatch.reports import SiteReport

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_fleet(*powers_kw: float) -> list[Site]:
    """Sites with as much discharge power and energy for an hour of it, measured now."""
    sites = []
    for number, power_kw in enumerate(powers_kw, 1):
        site = Site.objects.create(
            site_id=f"site-{number:04d}", name=f"Site {number}", grid_zone="GB", nominal_hz=50.0,
            nominal_voltage_v=230.0, loss_of_link="hold", partition=0, enrolled_at=NOW,
        )  # fmt: skip
        Enrollment.objects.create(site=site, program="neso-dc-low", since=NOW)
        Asset.objects.create(site=site, name="battery", kind="battery", rated_kw=power_kw, capacity_kwh=1_000.0)
        LiveState.objects.create(
            site=site, measured_at=NOW, received_at=NOW, mode="grid_tied", discharge_kw=power_kw, charge_kw=power_kw,
            usable_energy_kwh=power_kw, absorbable_energy_kwh=power_kw,
        )  # fmt: skip
        sites.append(site)
    return sites


def an_obligation(
    power_kw: float, *, name: str = "1", starts_s: float = 30.0, lasts_s: float = 60.0, product: str = "neso-dc-low"
) -> Obligation:
    (program,) = ensure_programs(seeds=[ProgramSeed(product, f"http://grid-operator.example/{product}")])
    event = MarketEvent.objects.create(
        vtn_id="vtn", event_id=name, modification_number=0, program=program, raw=b"", content_hash=name,
        operator_status="far", received_at=NOW, decided_at=NOW, opt_type="optIn", reason="accepted", reason_text="",
        requested_kw=power_kw, available_kw=power_kw,
    )  # fmt: skip
    return Obligation.objects.create(
        dispatch_id=f"{program.catalogue_row.dispatch_prefix}-{name}", program=program, event=event,
        power_kw=power_kw, starts_at=after(starts_s),
        ends_at=after(starts_s + lasts_s), created_at=NOW, changed_at=NOW,
    )  # fmt: skip


def desired_kw() -> dict[str, float]:
    rows = SiteAssignment.objects.filter(superseded=False)
    return dict(rows.values_list("site__site_id", "power_kw"))


def acknowledge(rows: Sequence[SiteAssignment], *, at: datetime, **report: Any) -> None:
    recording.record_sent(sendings=[Sending(row.pk, at) for row in rows])
    recording.record_acknowledgements(
        reports=[
            SiteReport(
                site_id=row.site.site_id, received_at=at + timedelta(milliseconds=40), state="armed",
                held_hash=row.content_hash, held_sequence=row.sequence, **report,
            )
            for row in rows
        ]
    )  # fmt: skip


def refuse(row: SiteAssignment, refusal: str, *, at: datetime, held_sequence: int = 0) -> None:
    recording.record_sent(sendings=[Sending(row.pk, at)])
    report = SiteReport(
        site_id=row.site.site_id, received_at=at, state="refused", refused_hash=row.content_hash,
        refused_sequence=row.sequence, refusal=refusal, held_sequence=held_sequence,
    )  # fmt: skip
    recording.record_acknowledgements(reports=[report])


def current(dispatch: Dispatch) -> list[SiteAssignment]:
    return queries.current_rows(dispatch=dispatch)
