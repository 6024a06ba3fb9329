"""Our reports to one operator's VTN of OpenADR 2.0b: offered, asked for, sampled, sent; beside its events.

What was asked for is in the database before it is confirmed. Samples wait in memory for their report: those that a
restart loses are told as missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from openleadr import enums

from markets import report_orders, reporting
from markets.core.report_orders import (
    MAX_VALUES,
    METERED_AFTER,
    Order,
    ReportRefused,
    accepted,
    due_through,
    history_steps,
    next_sample_at,
    sample_instants,
)
from markets.core.reports import Figure, Quantity, Status, metered_figure
from markets.openadr import report_content20b as content
from markets.openadr.report_content20b import METADATA, REFUSAL_CODES, Told, asked_of, parts_of
from markets.openadr.report_terms import LATE_S, LONGEST_BACKOFF_S, LOOK_EVERY_S, ReportTerms, stored
from markets.openadr.ven20b import VenClient
from markets.openadr.ven_session import FIRST_BACKOFF_S, MessageRefused, VtnUnreachable
from markets.openadr.vtn20b.writing import canonical_object, signed_object
from markets.report_orders import ReportOrder
from markets.reporting import Resource
from sites.core.intervals import Interval

log = logging.getLogger(__name__)

OFFER_EVERY_S: Final = 60.0
"""How often it is looked whether other resources are to be offered [s]."""
NOMINAL_HERTZ: Final = 50
"""Told with each power in the list of our reports; the values do not depend on it."""
MAX_SITE_MINUTES: Final = 3_000_000
"""Metered minutes that one history may be made from."""

Sample = dict[str, Figure | Status]
"""Values by rID."""


@dataclass
class ReportService20b:
    """Reports to one operator; the session calls ``take`` and ``run``."""

    operator: str
    terms: ReportTerms
    kinds: frozenset[str] = frozenset({"oadrCreateReport", "oadrCancelReport", "oadrRegisterReport"})
    _samples: dict[str, dict[datetime, Sample]] = field(default_factory=dict)
    """By order and instant, until they are sent."""
    _sampled_through: datetime | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _must_offer: bool = False
    _offered_at: datetime | None = None
    _registration_id: str = ""

    async def take(self, client: VenClient, kind: str, payload: dict[str, Any]) -> None:
        """Work off a message of the VTN and answer it."""
        if kind == "oadrCreateReport":
            await self._create(client, payload)
        elif kind == "oadrCancelReport":
            await self._cancel(client, payload)
        else:
            # A VTN may offer reports of its own; none of them is wanted.
            await self._send(
                client, "oadrRegisteredReport", response=_response(200, "OK", payload.get("request_id")),
                report_requests=[],
            )  # fmt: skip
        self._changed.set()

    async def run(self, client: VenClient, stop: asyncio.Event) -> None:
        """Offer, sample and send until ``stop``; samples are taken while the VTN is away too."""
        backoff_s, retry_at = FIRST_BACKOFF_S, timezone.now()
        while not stop.is_set():
            at = timezone.now()
            orders = await stored(self._orders)
            await self._sample(orders, at)
            if client.registered.is_set() and at >= retry_at:
                try:
                    await self._speak(client, orders, at)
                except (VtnUnreachable, MessageRefused) as error:
                    log.warning("openadr.reports_wait operator=%s retry_s=%g error=%s", self.operator, backoff_s, error)
                    retry_at = at + timedelta(seconds=backoff_s)
                    backoff_s = min(2.0 * backoff_s, LONGEST_BACKOFF_S)
                else:
                    backoff_s = FIRST_BACKOFF_S
            await _first_of(stop, self._changed, within_s=self._wait_s(orders, timezone.now()))
            self._changed.clear()

    async def _speak(self, client: VenClient, orders: Sequence[ReportOrder], at: datetime) -> None:
        """Offer and send what is due at an instant."""
        is_told = self._registration_id == client.registration_id and not self._must_offer
        if not is_told or self._offered_at is None or at - self._offered_at >= timedelta(seconds=OFFER_EVERY_S):
            await self._offer(client, at)
        for row in orders:
            await self._send_due(client, row, at)
        running = {row.order_id for row in orders}
        self._samples = {name: kept for name, kept in self._samples.items() if name in running}

    # --- What we offer and what is asked of us ---

    async def _offer(self, client: VenClient, at: datetime) -> None:
        """Tell the VTN our list when it does not have it, and take up what it asks for in return."""
        registration_id = str(client.registration_id or "")
        resources = await stored(self._resources)
        names = [(resource.name, resource.market_context) for resource in resources]
        digest = hashlib.sha256(json.dumps([names, NOMINAL_HERTZ]).encode()).hexdigest()
        known = await stored(
            report_orders.offer_told, operator=self.operator, registration_id=registration_id, digest=digest
        )
        if not known or self._must_offer:
            reports = content.offers(names, hertz=NOMINAL_HERTZ, at=at) if names else []
            kind, answer = await self._send(client, "oadrRegisterReport", reports=reports)
            if kind != "oadrRegisteredReport" or _code(answer) != 200:
                log.warning("openadr.reports_not_registered operator=%s code=%s", self.operator, _code(answer))
                self._offered_at = at
                return
            requests = answer.get("report_requests") or []
            kept = await self._take_up(client, requests, answer) if requests else []
            await stored(
                report_orders.keep_offer,
                operator=self.operator, registration_id=registration_id, digest=digest, kept=kept, at=at,
            )  # fmt: skip
            log.info("openadr.reports_offered operator=%s resources=%d asked=%d", self.operator, len(names), len(kept))
        self._must_offer, self._offered_at, self._registration_id = False, at, registration_id

    async def _create(self, client: VenClient, payload: dict[str, Any]) -> None:
        requests = payload.get("report_requests") or []
        if any(_specifier_of(one) == METADATA for one in requests):
            self._must_offer = True
            requests = [one for one in requests if _specifier_of(one) != METADATA]
        await self._take_up(client, requests, payload)

    async def _take_up(
        self, client: VenClient, requests: Sequence[dict[str, Any]], payload: dict[str, Any]
    ) -> list[str]:
        """Keep the requests that we can do, confirm them, and return the ids of the orders that run now."""
        at = timezone.now()
        resources = await stored(self._resources)
        offered = content.specifiers(resource.name for resource in resources)
        rows = await stored(self._orders)
        orders: list[Order] = []
        refused: list[ReportRefused] = []
        for raw in requests:
            try:
                order = accepted(asked_of(raw), offered, running=len(rows) + len(orders), at=at)
                await stored(_require_readable, order, {resource.name: resource for resource in resources})
                orders.append(order)
            except ReportRefused as refusal:
                log.warning("openadr.report_refused operator=%s error=%s", self.operator, refusal)
                refused.append(refusal)
        await stored(report_orders.keep_orders, operator=self.operator, orders=orders, at=at)
        taken = [order.order_id for order in orders]
        pending = sorted({row.order_id for row in rows} | set(taken))
        code, words = 200, "OK"
        if refused:
            # One response for the whole message: what is not in the list of pending reports is refused.
            code = int(REFUSAL_CODES.get(refused[0].name, enums.STATUS_CODES.REPORT_NOT_SUPPORTED))
            words = "; ".join(str(one) for one in refused)[:255]
        response = payload.get("response")
        request_id = payload.get("request_id") or (response.get("request_id") if isinstance(response, dict) else "")
        await self._send(
            client, "oadrCreatedReport", response=_response(code, words, request_id),
            pending_reports=[{"report_request_id": one} for one in pending],
        )  # fmt: skip
        self._changed.set()
        return taken

    async def _cancel(self, client: VenClient, payload: dict[str, Any]) -> None:
        named = payload.get("report_request_id")
        names = [str(one) for one in (named if isinstance(named, list) else [named])]
        unknown = []
        for order_id in names:
            rows = {row.order_id: row for row in await stored(self._orders)}
            if order_id in rows and payload.get("report_to_follow") in (True, "true"):
                await self._send_through(client, rows[order_id], timezone.now(), is_done=False)
            ended = await stored(
                report_orders.end_order,
                operator=self.operator, order_id=order_id, state=ReportOrder.State.CANCELLED,
            )  # fmt: skip
            if ended is None:
                unknown.append(order_id)
            else:
                log.info("openadr.report_cancelled operator=%s order=%s", self.operator, order_id)
        pending = [row.order_id for row in await stored(self._orders)]
        code, words = 200, "OK"
        if unknown:
            code = int(REFUSAL_CODES["report_request_unknown"])
            words = f"report_request_unknown: {unknown[0][:64]!r} is none of yours"
        await self._send(
            client, "oadrCanceledReport", response=_response(code, words, payload.get("request_id")),
            pending_reports=[{"report_request_id": one} for one in pending],
        )  # fmt: skip

    # --- What we tell ---

    async def _sample(self, orders: Sequence[ReportOrder], at: datetime) -> None:
        """Take the samples whose instant has just come."""
        after = self._sampled_through or at - timedelta(seconds=LATE_S)
        # Those that are too late to be taken stay missing.
        after = max(after, at - timedelta(seconds=LATE_S))
        due: dict[str, datetime] = {}
        for row in orders:
            order = row.order
            if order.is_once or order.is_history:
                continue
            instants = sample_instants(order, after=after, through=at)
            if instants:
                due[row.order_id] = instants[-1]
        self._sampled_through = at
        if not due:
            return
        wanted = {point for row in orders if row.order_id in due for point in row.order.points}
        values = await stored(self._values, wanted, at)
        for row in orders:
            if row.order_id in due:
                kept = self._samples.setdefault(row.order_id, {})
                kept[due[row.order_id]] = {point: values[point] for point in row.order.points if point in values}
                most = max(1, MAX_VALUES // len(row.order.points))
                while len(kept) > most:
                    del kept[min(kept)]

    async def _send_due(self, client: VenClient, row: ReportOrder, at: datetime) -> None:
        order = row.order
        if order.is_history:
            if order.ends_at is not None and at >= order.ends_at + METERED_AFTER:
                told = await stored(self._history, order)
                await self._report(client, row, told, through=order.ends_at, is_done=True)
        elif order.is_once:
            if at >= order.starts_at:
                values = await stored(self._values, set(order.points), at)
                told = [Told(point, at, values.get(point)) for point in order.points]
                await self._report(client, row, told, through=at, is_done=True)
        else:
            through = due_through(order, sent_through=row.sent_through, at=at)
            if through is not None:
                is_done = order.ends_at is not None and through >= order.ends_at
                await self._send_through(client, row, through, is_done=is_done)

    async def _send_through(self, client: VenClient, row: ReportOrder, through: datetime, *, is_done: bool) -> None:
        order = row.order
        if order.is_history or order.is_once:
            return
        most = max(1, MAX_VALUES // len(order.points))
        reach = timedelta(seconds=most * order.granularity_s)
        instants = sample_instants(order, after=max(row.sent_through, through - reach), through=through)
        kept = self._samples.get(row.order_id, {})
        told = [Told(point, at, kept.get(at, {}).get(point)) for at in instants for point in order.points]
        await self._report(client, row, told, through=through, is_done=is_done)
        for at in [at for at in kept if at <= through]:
            del kept[at]

    async def _report(
        self, client: VenClient, row: ReportOrder, told: Sequence[Told], *, through: datetime, is_done: bool
    ) -> None:
        element = content.update_object(
            request_id=secrets.token_hex(8), report_id=secrets.token_hex(8), order_id=row.order_id,
            specifier=row.specifier, told=told, created_at=timezone.now(), ven_id=str(client.ven_id),
        )  # fmt: skip
        _, answer = await client.exchange_object("EiReport", canonical_object(element, "oadrUpdateReport"))
        code = _code(answer)
        if code == int(enums.STATUS_CODES.INVALID_ID):
            log.warning("openadr.report_unknown operator=%s order=%s", self.operator, row.order_id)
            state = ReportOrder.State.UNKNOWN
            await stored(report_orders.end_order, operator=self.operator, order_id=row.order_id, state=state)
            return
        if code != 200:
            log.warning("openadr.report_not_taken operator=%s order=%s code=%s", self.operator, row.order_id, code)
        await stored(
            report_orders.mark_sent, operator=self.operator, order_id=row.order_id, through=through, is_done=is_done
        )
        cancel = answer.get("cancel_report")
        if isinstance(cancel, dict) and cancel:
            await self._cancel(client, cancel)

    # --- Reads, in a thread ---

    def _orders(self) -> list[ReportOrder]:
        return report_orders.running_orders(operator=self.operator)

    def _resources(self) -> list[Resource]:
        return reporting.resources(operator=self.operator, with_sites=self.terms.with_sites)

    def _values(self, points: set[str], at: datetime) -> Sample:
        """Return the values of an instant for rIDs whose resource is still there."""
        resources = {resource.name: resource for resource in self._resources()}
        wanted: dict[str, list[Quantity]] = {}
        for point in sorted(points):
            name, quantity = parts_of(point)
            if name in resources:
                wanted.setdefault(name, []).append(quantity)
        values: Sample = {}
        for name, quantities in wanted.items():
            found = reporting.live_values(
                resource=resources[name], quantities=quantities, at=at,
                fresh_within_s=self.terms.fresh_within_s, dropout_margin=self.terms.dropout_margin,
            )  # fmt: skip
            values |= {content.point_id(name, quantity): value for quantity, value in found.items()}
        return values

    def _history(self, order: Order) -> list[Told]:
        resources = {resource.name: resource for resource in self._resources()}
        told = []
        for starts_at, ends_at in history_steps(order):
            held: dict[str, Any] = {}
            for point in order.points:
                name, quantity = parts_of(point)
                figure = None
                if name in resources:
                    if name not in held:
                        period = Interval(starts_at, ends_at)
                        held[name] = reporting.energies(resource=resources[name], period=period)
                    figure = metered_figure(
                        quantity, held[name],
                        sites_total=reporting.site_count(resource=resources[name]), interval_s=order.granularity_s,
                    )  # fmt: skip
                told.append(Told(point, starts_at, figure, order.granularity_s))
        return told

    async def _send(self, client: VenClient, kind: str, **payload: Any) -> tuple[str | None, dict[str, Any]]:
        fields = {"request_id": secrets.token_hex(8), **payload, "ven_id": client.ven_id}
        return await client.exchange_object("EiReport", signed_object(kind, **fields))

    def _wait_s(self, orders: Sequence[ReportOrder], at: datetime) -> float:
        instants = [
            found
            for row in orders
            if not (row.order.is_once or row.order.is_history)
            and (found := next_sample_at(row.order, after=self._sampled_through or at)) is not None
        ]
        until_s = min(((found - at).total_seconds() for found in instants), default=LOOK_EVERY_S)
        return min(max(until_s, 0.01), LOOK_EVERY_S)


def _require_readable(order: Order, resources: dict[str, Resource]) -> None:
    if not order.is_history or order.ends_at is None:
        return
    names = {parts_of(point)[0] for point in order.points}
    sites = sum(reporting.site_count(resource=resources[name]) for name in names)
    minutes = int(sites * (order.ends_at - order.starts_at) / timedelta(minutes=1))
    if minutes > MAX_SITE_MINUTES:
        raise ReportRefused("report_too_large", f"made from {minutes} metered minutes, accepted: {MAX_SITE_MINUTES}")


def _response(code: int, words: str, request_id: object) -> dict[str, Any]:
    return {"response_code": code, "response_description": words, "request_id": str(request_id or "")}


def _code(answer: dict[str, Any]) -> int:
    """Return the response code of an answer; 200 for one without, as openleadr's VTN sends it."""
    response = answer.get("response")
    try:
        return int(response["response_code"]) if isinstance(response, dict) else 200
    except (KeyError, ValueError, TypeError):
        return 0


def _specifier_of(request: dict[str, Any]) -> str:
    specifier = request.get("report_specifier")
    return str(specifier.get("report_specifier_id")) if isinstance(specifier, dict) else ""


async def _first_of(*events: asyncio.Event, within_s: float | None = None) -> None:
    """Return when one of the events is set, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waits, return_exceptions=True)
