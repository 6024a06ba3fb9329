"""Tells operators that an answer of ours has changed without their asking: an event was cut, lost or given back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.utils import timezone

from markets import operations, queries
from markets.obligation_changes import ObligationChange
from markets.openadr.operators import Config, Ven3Config
from markets.openadr.ven3.client import RequestRefused, Ven3Client
from markets.openadr.ven3.mapping import opt_report
from markets.openadr.ven20b import VenClient
from markets.openadr.ven_session import LAST_BACKOFF_S, MessageRefused, VtnUnreachable, wait_for_stop

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0


class ChangeService:
    """What is not told yet, the newest of each event, is sent until the operator has it; told is told once."""

    kinds: frozenset[str] = frozenset()

    def __init__(self, config: Config) -> None:
        self._config = config

    async def take(self, client: VenClient, kind: str, payload: dict[str, Any]) -> None:
        """A VTN sends none of these."""

    async def run(self, client: Any, stop: asyncio.Event) -> None:
        """Look for changes, and tell them."""
        pause_s = LOOK_EVERY_S
        while not stop.is_set():
            if client.registered.is_set():
                try:
                    for change in await sync_to_async(self._untold)():
                        await self._tell(client, change)
                        await sync_to_async(self._keep)(change)
                    pause_s = LOOK_EVERY_S
                except (VtnUnreachable, MessageRefused) as error:
                    pause_s = min(pause_s * 2.0, LAST_BACKOFF_S)
                    log.warning(
                        "openadr.change_not_told operator=%s retry_s=%g error=%s", self._config.operator, pause_s, error
                    )
            await wait_for_stop(stop, pause_s)

    async def _tell(self, client: Any, change: ObligationChange) -> None:
        if isinstance(self._config, Ven3Config):
            taken = await self._reported(client, self._config, change)
        else:
            taken = await self._answered(client, change)
        log.info(
            "openadr.change_told operator=%s event_id=%s opt=%s reason=%s kw=%g taken=%s",
            self._config.operator, change.event.event_id, change.opt_type, change.reason, change.after_kw, taken,
        )  # fmt: skip

    async def _answered(self, client: VenClient, change: ObligationChange) -> bool:
        """Answer the event anew; 2.0b's answer has no size, so that the description carries reason and size."""
        one = {
            "response_code": 200,
            "response_description": f"{change.reason} {change.after_kw:g} kW",
            "opt_type": change.opt_type,
            "request_id": uuid4().hex,
            "event_id": change.event.event_id,
            "modification_number": change.event.modification_number,
        }
        _, answer = await client.exchange(
            "EiEvent",
            "oadrCreatedEvent",
            response={"response_code": 200, "response_description": "OK", "request_id": one["request_id"]},
            event_responses=[one],
        )
        response = answer.get("response")
        return isinstance(response, dict) and response.get("response_code") == 200

    async def _reported(self, client: Ven3Client, config: Ven3Config, change: ObligationChange) -> bool:
        raw = client.events.get(change.event.event_id, {"id": change.event.event_id})
        if not config.answers:
            return False
        report = opt_report(
            raw, change.opt_type, change.reason, change.after_kw, ven_name=config.ven_name, version=config.version
        )
        try:
            await client.create("reports", report)
        except RequestRefused as refused:
            log.warning("openadr.answer_refused operator=%s error=%s", config.operator, refused)
            return False
        return True

    def _untold(self) -> list[ObligationChange]:
        close_old_connections()
        newest = {change.event_id: change for change in queries.changes_to_tell(operator=self._config.operator)}
        return list(newest.values())

    def _keep(self, change: ObligationChange) -> None:
        close_old_connections()
        operations.keep_told(change=change, at=timezone.now())
