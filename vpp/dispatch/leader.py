"""One leader arms the fleet: lease, ticks, and the batches between gateway and database."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connections

from sites.core import observe
from sites.observability import metrics
from sites.observability.health import Health
from sites.registry.models import Site
from vpp.dispatch import commands, keys, leases, operations, queries, recording
from vpp.dispatch.exchange import DesiredRow
from vpp.dispatch.freezing import FreezeWatch
from vpp.dispatch.gateway import Gateway
from vpp.dispatch.instructing import Instructor
from vpp.dispatch.leases import LeaseLost
from vpp.dispatch.models import Dispatch
from vpp.dispatch.recording import Sending
from vpp.dispatch.reports import SiteReport
from vpp.dispatch.signing import our_seeds

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

WRITE_EVERY_S: Final = 0.1
"""Sendings and acknowledgements go to the database in batches so often [s]."""
STORM_WRITE_EVERY_S: Final = 3.0
"""While many sites are armed at once, only so often [s]; looking after the fleet waits as long."""
REVIEW_EVERY_S: Final = 1.0
"""Refused, silent, stale and lapsed assignments are looked at at most so often [s]."""
REVIEW_REST: Final = 5.0
"""At least so many times as long as a look took passes until the next."""
RESTART_AFTER_S: Final = 1.0
"""After an unforeseen fault leading starts over, no faster than this [s]."""
DATABASE_WITHIN_S: Final = 5.0
"""A database that has answered nothing for so long is gone [s]; a standby asks it as well."""
ANNOUNCE_EVERY_S: Final = 1.0
"""Announced keys are looked for so often [s]."""
EXPECTED_EVERY_S: Final = 10.0
"""The list of enrolled sites is read again so often [s]."""


class Leader:
    """Stands by until the lease is free, then arms the fleet until it is lost or the process ends."""

    def __init__(self, *, health: Health) -> None:
        self._health = health
        self._database_answers = health.expect_beat("database", within_s=DATABASE_WITHIN_S)
        health.watch("broker", self._broker_fault)
        health.watch("signal", self._signal_fault)
        self._gateway: Gateway | None = None
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        # One thread, so one database connection: writes come in the order they were decided.
        self._database = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._told: dict[str, str] = {}
        self._short: set[str] = set()
        self._unheard: list[str] = []
        """Streams in their window whose signal nobody sends."""

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by and lead until stopped; then give the lease back."""
        leading = asyncio.create_task(self._stand_by_and_lead())
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([leading, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        finally:
            for task in (leading, stopped):
                task.cancel()
            await asyncio.gather(leading, stopped, return_exceptions=True)

    def _broker_fault(self) -> str:
        """Only the leader is connected; who stands by needs no broker."""
        return "" if self._gateway is None else self._gateway.down_reason

    def _signal_fault(self) -> str:
        """A stream without its signal is a duty that is not served, however firm its sites are."""
        named = ", ".join(self._unheard[:5])
        return f"nobody sends the signal of {named}; accepted: run_stream for each" if named else ""

    async def _stand_by_and_lead(self) -> None:
        is_standby_told = False
        try:
            while True:
                token = await self._try(lambda: leases.take_lease(
                    name=leases.DISPATCH, holder=self.holder, lease_s=settings.LEASE_S, at=_now()
                ))  # fmt: skip
                if token is None:
                    if not is_standby_told:
                        logger.info("lease.standby holder=%s", self.holder)
                        is_standby_told = True
                    await asyncio.sleep(settings.LEASE_S / 10.0)
                    continue
                is_standby_told = False
                logger.info("lease.taken holder=%s token=%d", self.holder, token)
                try:
                    await self._lead(token)
                except LeaseLost as error:
                    logger.warning("lease.lost %s", error)
                except Exception:
                    # What is decided stands in the database: leading starts over from there.
                    logger.exception("dispatch.restarted holder=%s", self.holder)
                    await asyncio.sleep(RESTART_AFTER_S)
        finally:
            await self._call(connections.close_all)
            self._database.shutdown(wait=False)

    async def _lead(self, token: int) -> None:
        gateway = Gateway(
            broker=settings.BROKER,
            signing_keys=our_seeds(),
            resend_after_s=settings.RESEND_AFTER_S,
            max_bytes=settings.MAX_PAYLOAD_BYTES,
            max_clock_ahead_s=settings.MAX_CLOCK_AHEAD_S,
        )
        if known := await self._try(keys.known_key_ids):
            gateway.know_keys(known)
        self._gateway = gateway
        metrics.DISPATCH_LEADS.set(1)
        duties = [
            asyncio.create_task(duty)
            for duty in (
                gateway.run(),
                self._renew(token),
                self._tick(gateway, token),
                self._write(gateway, token),
                self._write_commands(gateway, token),
                self._review(gateway, token),
                self._expect(gateway),
                self._announce(gateway),
                Instructor(self._try).run(),
            )
        ]
        try:
            done, _ = await asyncio.wait(duties, return_when=asyncio.FIRST_COMPLETED)
            for duty in done:
                duty.result()
        finally:
            self._gateway = None
            self._unheard = []
            metrics.DISPATCH_LEADS.set(0)
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            # Acknowledgements that are only in memory still; without them the next leader would ask again.
            await self._try(lambda: _record(gateway.take_sendings(), gateway.take_reports(), token))
            await self._try(
                lambda: _record_commands(
                    gateway.take_command_sendings(), gateway.take_answers(), gateway.take_key_reports(), token
                )
            )
            await self._try(lambda: leases.release_lease(name=leases.DISPATCH, token=token, at=_now()))

    async def _renew(self, token: int) -> None:
        renewed_at = _now()
        while True:
            await asyncio.sleep(settings.LEASE_S / 3.0)
            at = _now()
            renewed = await self._try(lambda at=at: _renewed(token, at))  # type: ignore[misc]
            if renewed:
                renewed_at = at
            elif (at - renewed_at).total_seconds() > settings.LEASE_S:
                raise LeaseLost("the lease could not be renewed within its time")

    async def _tick(self, gateway: Gateway, token: int) -> None:
        """Arm and cancel what the market asks for, and hand what is new to the gateway."""
        last_pk = 0
        handed: set[int] = set()
        while True:
            waiting = await self._try(lambda: commands.command_rows(at=_now()))
            if waiting is not None:
                # By key and not by the last one: rows of several web processes need not appear in order.
                gateway.command([row for row in waiting if row.assignment_pk not in handed])
                handed = {row.assignment_pk for row in waiting}
            rows = await self._try(lambda last_pk=last_pk: self._decide(token, last_pk))  # type: ignore[misc]
            if rows:
                last_pk = rows[-1].assignment_pk
                gateway.desire(rows)
                logger.info("assignment.desired sites=%d through=%d", len(rows), last_pk)
            await asyncio.sleep(settings.DISPATCH_TICK_S)

    async def _write(self, gateway: Gateway, token: int) -> None:
        sendings: list[Sending] = []
        reports: list[SiteReport] = []
        written_s = time.monotonic()
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            # The database's thread takes the interpreter from the gateway: while many sites are armed it waits.
            # Nothing is lost by that: what may have been sent counts from the decision on.
            if _can_wait(gateway, since_s=written_s):
                continue
            written_s = time.monotonic()
            sendings += gateway.take_sendings()
            reports += gateway.take_reports()
            if not sendings and not reports:
                continue
            # Kept for the next round when the database does not take them.
            if await self._try(lambda s=sendings, r=reports: _record(s, r, token)):  # type: ignore[misc]
                logger.info(
                    "%s %d, %s %d",
                    observe.ASSIGNMENT_SENT,
                    len(sendings),
                    observe.ASSIGNMENT_ACKNOWLEDGED,
                    len(reports),
                )
                metrics.DISPATCH_SENT.inc(len(sendings))
                for report in reports:
                    metrics.DISPATCH_REPORTS.labels(
                        "refused" if report.refusal else "held" if report.held_hash else "none"
                    ).inc()
                sendings, reports = [], []

    async def _write_commands(self, gateway: Gateway, token: int) -> None:
        sendings: list[Sending] = []
        answers: list[SiteReport] = []
        key_reports: list[SiteReport] = []
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            sendings += gateway.take_command_sendings()
            answers += gateway.take_answers()
            key_reports += gateway.take_key_reports()
            if not sendings and not answers and not key_reports:
                continue
            # Kept for the next round when the database does not take them.
            if await self._try(
                lambda s=sendings, a=answers, k=key_reports: _record_commands(s, a, k, token)  # type: ignore[misc]
            ):
                sendings, answers, key_reports = [], [], []

    async def _review(self, gateway: Gateway, token: int) -> None:
        freeze = FreezeWatch()
        # Turns go by the monotonic clock: a step of the wall clock must not give all sites their turn at once.
        turned_s = time.monotonic()
        while True:
            began_s = time.monotonic()
            if _can_wait(gateway, since_s=turned_s):
                # What was sent and answered is not written yet: nothing to look at.
                await asyncio.sleep(WRITE_EVERY_S)
                continue
            turns = operations.Turns(settings.REARM_EVERY_S, turned_s, began_s)
            if await self._try(lambda t=turns: self._look_after(token, freeze, t)):  # type: ignore[misc]
                turned_s = began_s
            # A fleet so large that looking at it takes long is looked at less often: writes must not wait for it.
            await asyncio.sleep(max(REVIEW_EVERY_S, REVIEW_REST * (time.monotonic() - began_s)))

    async def _announce(self, gateway: Gateway) -> None:
        """Hand announced keys to the gateway, for the sites that lack them."""
        while True:
            rows = await self._try(lambda: keys.announcement_rows(at=_now()))
            if rows:
                gateway.announce(rows)
            await asyncio.sleep(ANNOUNCE_EVERY_S)

    async def _expect(self, gateway: Gateway) -> None:
        while True:
            site_ids = await self._try(lambda: list(Site.objects.values_list("site_id", flat=True)))
            if site_ids is not None:
                gateway.expect(site_ids)
            await asyncio.sleep(EXPECTED_EVERY_S)

    def _decide(self, token: int, last_pk: int) -> list[DesiredRow]:
        at = _now()
        for obligation in queries.obligations_to_arm(at=at):
            self._guarded(obligation.dispatch_id, lambda o=obligation: operations.arm_obligation(  # type: ignore[misc]
                obligation=o, at=at, token=token
            ))  # fmt: skip
        for dispatch in queries.dispatches_to_cancel(at=at):
            self._guarded(dispatch.dispatch_id, lambda d=dispatch: operations.cancel_dispatch(  # type: ignore[misc]
                dispatch=d, at=at, token=token
            ))  # fmt: skip
        return queries.desired_rows(at=at, after_pk=last_pk)

    def _look_after(self, token: int, freeze: FreezeWatch, turns: operations.Turns) -> bool:
        at = _now()
        if queries.has_lapsed(at=at):
            operations.lapse_dispatches(at=at, token=token)
        if queries.stale_rows(at=at).exists():
            operations.reissue_stale(at=at, token=token)
        reviews: list[operations.Review] = []
        promised_kw = 0.0
        for dispatch in queries.open_dispatches(at=at):
            promised_kw += dispatch.power_kw
            self._guarded(dispatch.dispatch_id, lambda d=dispatch: reviews.append(  # type: ignore[misc]
                self._review_one(d, at, freeze, turns, token)
            ))  # fmt: skip
        self._note_unheard(queries.unheard_streams(at=at))
        metrics.FLEET_KW.labels("promised").set(promised_kw)
        metrics.FLEET_KW.labels("firm").set(sum(review.firm_kw for review in reviews))
        metrics.FLEET_KW.labels("upper").set(sum(review.upper_kw for review in reviews))
        return True

    def _note_unheard(self, names: list[str]) -> None:
        for name in set(names) - set(self._unheard):
            logger.error("stream.unheard dispatch_id=%s nobody sends its signal, accepted: run_stream %s", name, name)
        for name in set(self._unheard) - set(names):
            logger.info("stream.heard dispatch_id=%s", name)
        self._unheard = names
        metrics.STREAMS_UNHEARD.set(len(names))

    def _review_one(
        self, dispatch: Dispatch, at: datetime, freeze: FreezeWatch, turns: operations.Turns, token: int
    ) -> operations.Review:
        review = operations.review_dispatch(dispatch=dispatch, at=at, freeze=freeze, turns=turns, token=token)
        if review.changed:
            logger.info("assignment.reshared dispatch_id=%s sites=%d", dispatch.dispatch_id, review.changed)
        short_s = (at - dispatch.short_since).total_seconds() if dispatch.short_since else 0.0
        if short_s > settings.REPLACE_WITHIN_S and dispatch.dispatch_id not in self._short:
            self._short.add(dispatch.dispatch_id)
            logger.warning(
                "dispatch.short dispatch_id=%s promised_kw=%.3f firm_kw=%.3f upper_kw=%.3f for_s=%.0f frozen=%s",
                dispatch.dispatch_id, dispatch.power_kw, review.firm_kw, review.upper_kw, short_s, review.is_frozen,
            )  # fmt: skip
        elif dispatch.short_since is None:
            self._short.discard(dispatch.dispatch_id)
        return review

    def _guarded(self, dispatch_id: str, operation: Callable[[], Any]) -> None:
        """Run one dispatch's operation; what is wrong with one must not stop the others."""
        try:
            operation()
        except (LeaseLost, DatabaseError):
            raise
        except Exception as error:  # noqa: BLE001 - any fault of one obligation is told by name, and the rest goes on
            told = f"{type(error).__name__}: {error}"
            # The same every tick: told once.
            if self._told.get(dispatch_id) != told:
                self._told[dispatch_id] = told
                metrics.DISPATCH_FAILED.inc()
                logger.error("dispatch.failed dispatch_id=%s %s", dispatch_id, told)
        else:
            self._told.pop(dispatch_id, None)

    async def _try(self, operation: Callable[[], Result]) -> Result | None:
        """Run an operation in the database's thread; a database that does not answer is tried again later."""
        try:
            result = await self._call(operation)
        except DatabaseError as error:
            logger.error("database.failed %s: %s", type(error).__name__, error)
            await self._call(close_old_connections)
            return None
        self._database_answers()
        return result

    async def _call(self, operation: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._database, operation)


def _can_wait(gateway: Gateway, *, since_s: float) -> bool:
    """Tell whether the database may be left alone while many sites are armed at once; ``since_s``: last done [s]."""
    storms_for_s = gateway.storms_for_s
    return storms_for_s is not None and min(storms_for_s, time.monotonic() - since_s) < STORM_WRITE_EVERY_S


def _record(sendings: list[Sending], reports: list[SiteReport], token: int) -> bool:
    recording.record_sent(sendings=sendings, token=token)
    recording.record_acknowledgements(reports=reports, token=token)
    return True


def _record_commands(
    sendings: list[Sending], answers: list[SiteReport], key_reports: list[SiteReport], token: int
) -> bool:
    commands.record_commands_sent(sendings=sendings, token=token)
    commands.record_answers(reports=answers, token=token)
    keys.record_keys(reports=key_reports, token=token)
    return True


def _renewed(token: int, at: datetime) -> bool:
    leases.renew_lease(name=leases.DISPATCH, token=token, lease_s=settings.LEASE_S, at=at)
    return True


def _now() -> datetime:
    return datetime.now(UTC)
