"""Our reports to one operator's VTN of OpenADR 3: what events' reportDescriptors ask for, made when it is due.

A report that is there is kept in the database and not made again. Values of an instant are taken at the end of each
interval and wait in memory: those that a restart loses are told as missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from markets import report_orders, reporting
from markets.core.report_orders import METERED_AFTER
from markets.core.reports import Figure, Quantity, Status, metered_figure
from markets.openadr.report_content3 import (
    AGGREGATED,
    TYPES,
    EventReport,
    Refusal,
    Values,
    refusal_body,
    report_body,
    reports_on,
)
from markets.openadr.report_terms import LATE_S, LONGEST_BACKOFF_S, LOOK_EVERY_S, ReportTerms, stored
from markets.openadr.ven3.client import RequestRefused, Ven3Client
from markets.openadr.ven3.mapping import canonical
from markets.openadr.ven_session import FIRST_BACKOFF_S, MessageRefused, VtnUnreachable, wait_for_stop
from markets.reporting import Resource
from sites.core.intervals import Interval

log = logging.getLogger(__name__)

OLDEST: Final = timedelta(days=1)
"""A report that was due longer ago than this is not made any more."""
_LIVE: Final = tuple(kind.quantity for kind in TYPES.values())


@dataclass
class ReportService3:
    """Reports to one operator; the session calls ``run``."""

    operator: str
    terms: ReportTerms
    _planned: dict[str, tuple[bytes, list[EventReport | Refusal]]] = field(default_factory=dict)
    """By event: its content and what is to be reported on it."""
    _samples: dict[tuple[str, datetime], dict[str, dict[Quantity, Figure | Status]]] = field(default_factory=dict)
    """By event and instant."""
    _looked_at: datetime | None = None

    async def run(self, client: Ven3Client, stop: asyncio.Event) -> None:
        """Sample and send until ``stop``; samples are taken while the VTN is away too."""
        backoff_s, retry_at = FIRST_BACKOFF_S, timezone.now()
        while not stop.is_set():
            at = timezone.now()
            if client.registered.is_set():
                self._plan(client.events)
                await self._sample(client, at)
                if at >= retry_at:
                    try:
                        await self._send_due(client, at)
                    except (VtnUnreachable, MessageRefused) as error:
                        log.warning(
                            "openadr.reports_wait operator=%s retry_s=%g error=%s", self.operator, backoff_s, error
                        )
                        retry_at = at + timedelta(seconds=backoff_s)
                        backoff_s = min(2.0 * backoff_s, LONGEST_BACKOFF_S)
                    else:
                        backoff_s = FIRST_BACKOFF_S
            await wait_for_stop(stop, LOOK_EVERY_S)

    def _plan(self, events: Mapping[str, dict[str, Any]]) -> None:
        """Plan the reports of new and changed events; forget those that are gone."""
        held = self._planned
        self._planned = {}
        for event_id, event in events.items():
            content = canonical(event)
            known = held.get(event_id)
            self._planned[event_id] = known if known and known[0] == content else (content, reports_on(event))
        self._samples = {key: kept for key, kept in self._samples.items() if key[0] in self._planned}

    async def _sample(self, client: Ven3Client, at: datetime) -> None:
        """Take the live values of intervals that have just ended."""
        after = max(self._looked_at or at, at - timedelta(seconds=LATE_S))
        self._looked_at = at
        for event_id, (_, reports) in self._planned.items():
            ended = {
                ends
                for report in reports
                if isinstance(report, EventReport) and not report.is_metered
                for _, _, ends in report.intervals
                if after < ends <= at
            }
            if ended:
                values = await stored(self._live, client.events[event_id], client.programs, at)
                for ends in ended:
                    self._samples[event_id, ends] = values

    async def _send_due(self, client: Ven3Client, at: datetime) -> None:
        due = [report for _, reports in self._planned.values() for report in reports if _is_due(report, at)]
        if not due:
            return
        sent = await stored(report_orders.event_reports_sent, operator=self.operator)
        for report in due:
            event = client.events.get(report.event_id)
            if event is None or (report.event_id, report.digest) in sent:
                continue
            if isinstance(report, Refusal):
                log.warning("openadr.report_refused operator=%s error=%s", self.operator, report.refused)
                body = refusal_body(report, event=event, ven_name=client.ven_name, version=client.version)
            else:
                values = await stored(self._values, report, event, client.programs)
                if not any(values):
                    # Not one of our programs: the event was answered so.
                    continue
                body = report_body(report, values, event=event, ven_name=client.ven_name, version=client.version)
            report_id = ""
            try:
                report_id = str((await client.create("reports", body)).get("id") or "")
            except RequestRefused as refused:
                log.warning("openadr.report_not_taken operator=%s error=%s", self.operator, refused)
            await stored(
                report_orders.keep_event_report,
                operator=self.operator, event_id=report.event_id, digest=report.digest,
                report_id=report_id[:128], at=at,
            )  # fmt: skip

    # --- Reads, in a thread ---

    def _resources(self, event: Mapping[str, Any], programs: Mapping[str, dict[str, Any]]) -> list[Resource]:
        """Return the resources of an event's program, the program's own first; none for a program that is not ours."""
        name = str((programs.get(str(event.get("programID"))) or {}).get("programName") or event.get("programID") or "")
        found = reporting.resources(operator=self.operator, with_sites=self.terms.with_sites)
        return [resource for resource in found if resource.market_context == name]

    def _live(
        self, event: Mapping[str, Any], programs: Mapping[str, dict[str, Any]], at: datetime
    ) -> dict[str, dict[Quantity, Figure | Status]]:
        return {
            resource.name: reporting.live_values(
                resource=resource, quantities=_LIVE, at=at,
                fresh_within_s=self.terms.fresh_within_s, dropout_margin=self.terms.dropout_margin,
            )
            for resource in self._resources(event, programs)
        }  # fmt: skip

    def _values(
        self, report: EventReport, event: Mapping[str, Any], programs: Mapping[str, dict[str, Any]]
    ) -> list[Values]:
        """Return the values of each interval by the name that they are told under."""
        resources = self._resources(event, programs)
        told = {resource: resource.name for resource in resources if resource.site_id}
        if report.is_aggregate:
            told = dict.fromkeys(resources[:1], AGGREGATED)
        elif not told:
            told = {resource: resource.name for resource in resources}
        values: list[Values] = []
        for _, starts_at, ends_at in report.intervals:
            if report.is_metered:
                values.append(
                    {
                        name: {report.quantity: _metered(report.quantity, one, starts_at, ends_at)}
                        for one, name in told.items()
                    }
                )
                continue
            sample = self._samples.get((report.event_id, ends_at), {})
            values.append({name: sample.get(one.name, {}) for one, name in told.items()})
        return values


def _metered(quantity: Quantity, resource: Resource, starts_at: datetime, ends_at: datetime) -> Figure:
    period = Interval(starts_at, ends_at)
    return metered_figure(
        quantity,
        reporting.energies(resource=resource, period=period),
        sites_total=reporting.site_count(resource=resource),
        interval_s=period.duration_s,
    )


def _is_due(report: EventReport | Refusal, at: datetime) -> bool:
    if isinstance(report, Refusal):
        return True
    due_at = report.due_at + (METERED_AFTER if report.is_metered else timedelta(0))
    return due_at <= at <= due_at + OLDEST
