"""Tells a 2.0b VTN our opt schedules (EiOpt): what waits in the database is sent until the VTN answers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from uuid import uuid4

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.utils import timezone

from markets import operator_opts
from markets.openadr.ven20b import VenClient
from markets.openadr.ven_session import LAST_BACKOFF_S, MessageRefused, VtnUnreachable, wait_for_stop
from markets.operator_opts import OperatorOpt

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
RESPONSE_OK: Final = 200


class OptService20b:
    """A VenService of one operator."""

    kinds: frozenset[str] = frozenset()

    def __init__(self, operator: str) -> None:
        self._operator = operator

    async def take(self, client: VenClient, kind: str, payload: dict[str, Any]) -> None:
        """A VTN sends none of these."""

    async def run(self, client: VenClient, stop: asyncio.Event) -> None:
        """Look for what is to be told, and tell it."""
        pause_s = LOOK_EVERY_S
        while not stop.is_set():
            if client.registered.is_set():
                try:
                    for opt in await sync_to_async(self._waiting)():
                        await self._tell(client, opt)
                    pause_s = LOOK_EVERY_S
                except (VtnUnreachable, MessageRefused) as error:
                    pause_s = min(pause_s * 2.0, LAST_BACKOFF_S)
                    log.warning("openadr.opt_not_told operator=%s retry_s=%g error=%s", self._operator, pause_s, error)
            await wait_for_stop(stop, pause_s)

    async def _tell(self, client: VenClient, opt: OperatorOpt) -> None:
        if opt.state == OperatorOpt.State.CANCEL_WANTED:
            kind, answer = await client.exchange(
                "EiOpt", "oadrCancelOpt", opt_id=opt.opt_id, request_id=uuid4().hex, ven_id=client.ven_id
            )
        else:
            kind, answer = await client.exchange("EiOpt", "oadrCreateOpt", **_content(opt))
        response = answer.get("response")
        response = response if isinstance(response, dict) else {}
        code, description = response.get("response_code"), response.get("response_description")
        is_taken = kind in ("oadrCreatedOpt", "oadrCanceledOpt") and code == RESPONSE_OK
        log.info("openadr.opt_told operator=%s opt_id=%s state=%s code=%s", self._operator, opt.opt_id, opt.state, code)
        await sync_to_async(self._keep)(opt, is_taken, f"{code} {description}")

    def _waiting(self) -> list[OperatorOpt]:
        close_old_connections()
        return operator_opts.opts_to_tell(operator=self._operator, at=timezone.now())

    def _keep(self, opt: OperatorOpt, is_taken: bool, answer: str) -> None:
        close_old_connections()
        operator_opts.keep_told(opt=opt, is_taken=is_taken, answer=answer, at=timezone.now())


def _content(opt: OperatorOpt) -> dict[str, Any]:
    window = {"dtstart": opt.starts_at, "duration": opt.ends_at - opt.starts_at}
    return {
        "opt_id": opt.opt_id,
        "opt_type": opt.opt_type,
        "opt_reason": opt.reason,
        "market_context": opt.market_context or None,
        "vavailability": {"components": [window]},
        "created_date_time": opt.created_at,
        "request_id": uuid4().hex,
        "targets": [{"resource_id": opt.resource}] if opt.resource else [],
    }
