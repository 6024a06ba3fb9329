"""The dispatcher as the source of streams whose plan it knows: instructions, told again and again to their end."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from sites.core.streams import stream_product
from vpp.dispatch import queries
from vpp.dispatch.keys import seed_for_all
from vpp.dispatch.leases import LeaseLost
from vpp.dispatch.models import Dispatch
from vpp.dispatch.plans import Plan
from vpp.dispatch.signing import our_seeds
from vpp.dispatch.streaming import StreamSender

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
"""Plans, and what sites hold of them, are read so often [s]."""
WORTH_TELLING: Final = 1e-3
"""A value that changed by no more waits for its turn."""
Ask = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a read in the leader's database thread; None when the database does not answer."""


class Instructor:
    """Sends the plans of all open instructions while its process leads: one sender a stream."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._plans: dict[str, Plan] = {}
        self._senders: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look for plans and keep a sender for each until cancelled."""
        try:
            while True:
                plans = await self._ask(lambda: queries.planned_streams(at=_now()))
                # While the database is away each sender goes on with the plan that it has.
                if plans is not None:
                    self._plans = {plan.dispatch_id: plan for plan in plans}
                for name in [name for name, sender in self._senders.items() if sender.done()]:
                    del self._senders[name]
                for plan in self._plans.values():
                    if plan.dispatch_id not in self._senders:
                        self._senders[plan.dispatch_id] = asyncio.create_task(self._send(plan))
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for sender in self._senders.values():
                sender.cancel()
            await asyncio.gather(*self._senders.values(), return_exceptions=True)

    async def _send(self, plan: Plan) -> None:
        try:
            seed = await self._ask(
                lambda: seed_for_all(our_seeds(), dispatch=Dispatch.objects.get(dispatch_id=plan.dispatch_id))
            )
            if seed is None:
                return
            product = stream_product(plan.product)
            sender = StreamSender(
                stream=plan.dispatch_id, product=product, broker=settings.BROKER, signing_key=seed,
                lease_s=settings.LEASE_S,
            )  # fmt: skip
            logger.info("plan.sending dispatch_id=%s", plan.dispatch_id)
            await sender.run(self._values(plan.dispatch_id, product.period_s))
            logger.info("plan.sent dispatch_id=%s values=%d dropped=%d", plan.dispatch_id, sender.sent, sender.dropped)
        except LeaseLost as error:
            logger.warning("plan.lost dispatch_id=%s %s", plan.dispatch_id, error)
        except DatabaseError as error:
            logger.error("database.failed %s: %s", type(error).__name__, error)
            await sync_to_async(close_old_connections)()

    async def _values(self, dispatch_id: str, period_s: float) -> AsyncIterator[float]:
        """Yield what is to be told now, each period and whenever it changes, to the plan's end; then once nothing.

        What sites hold changes meanwhile, so the period is looked at in parts.
        """
        told, told_s = math.nan, -math.inf
        while (plan := self._plans.get(dispatch_id)) is not None and (at := _now()) < plan.window.ends_at:
            value, now_s = plan.value_at(at), time.monotonic()
            # Not "off by more": nothing was told yet.
            if not abs(value - told) <= WORTH_TELLING or now_s - told_s >= period_s:
                told, told_s = value, now_s
                yield value
            await asyncio.sleep(min(plan.wait_s(at, period_s), LOOK_EVERY_S))
        yield 0.0


def _now() -> datetime:
    return datetime.now(UTC)
