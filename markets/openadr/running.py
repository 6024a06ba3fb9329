"""Our VENs at all declared operators, each a task of its own: one's failure is not another's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.utils import timezone

from markets import operations, queries
from markets.openadr.change_services import ChangeService
from markets.openadr.operators import Config, Ven3Config, VenConfig
from markets.openadr.opt_service20b import OptService20b
from markets.openadr.receiving import keep_answered, owed_event_ids, receive_list, receive_objects, withdraw_gone
from markets.openadr.report_service3 import ReportService3
from markets.openadr.report_service20b import ReportService20b
from markets.openadr.report_terms import report_terms
from markets.openadr.ven3.listening import MqttListener
from markets.openadr.ven3.loop import Answer, Listed, Ven3Callbacks, Ven3Loop, Ven3Service
from markets.openadr.ven20b import EventList, Standing, VenCallbacks, VenLoop, VenService
from markets.openadr.ven_session import MessageRefused, wait_for_stop
from sites.observability.health import Health

log = logging.getLogger(__name__)

RESTART_AFTER_S = 5.0
"""A VEN that ended by a fault of ours is started again after this."""


async def run_operators(declared: Sequence[Config], health: Health, stop: asyncio.Event) -> None:
    """Run a VEN for each operator until ``stop`` is set; health tells each by its name."""
    await asyncio.gather(*(_kept(config, health, stop) for config in declared))


def services_20b(config: VenConfig) -> list[VenService]:
    """Return what is spoken with a 2.0b VTN beside events."""
    return [OptService20b(config.operator), ChangeService(config), ReportService20b(config.operator, report_terms())]


def services_3(config: Ven3Config, loop: Ven3Loop) -> list[Ven3Service]:
    """Return what is spoken with a VTN of OpenADR 3 beside events."""
    services: list[Ven3Service] = [ChangeService(config), ReportService3(config.operator, report_terms())]
    if config.mqtt is not None:
        services.append(MqttListener(config.operator, config.mqtt, loop.notice))
    return services


async def _kept(config: Config, health: Health, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await _run(config, health, stop)
        # Whatever it was: the other operators' VENs go on, and this one comes back.
        except Exception as error:
            log.exception("openadr.ven_failed operator=%s retry_s=%g", config.operator, RESTART_AFTER_S)
            fault = f"its VEN failed: {type(error).__name__}"
            health.watch(_check(config), lambda fault=fault: fault)  # type: ignore[misc]
            await wait_for_stop(stop, RESTART_AFTER_S)


def _check(config: Config) -> str:
    return f"vtn {config.operator}"


async def _run(config: Config, health: Health, stop: asyncio.Event) -> None:
    if isinstance(config, Ven3Config):
        await _run_3(config, health, stop)
    else:
        await _run_20b(config, health, stop)


async def _run_3(config: Ven3Config, health: Health, stop: asyncio.Event) -> None:
    async def decide(changed: list[Listed]) -> list[Answer]:
        return await sync_to_async(receive_objects)(changed, config)

    async def answered(answer: Answer) -> None:
        await sync_to_async(keep_answered)(answer)

    async def owed() -> list[str]:
        return await sync_to_async(owed_event_ids)(config)

    async def withdraw(gone: list[str]) -> None:
        await sync_to_async(withdraw_gone)(config, gone)

    loop = Ven3Loop(config, Ven3Callbacks(decide, answered, owed, withdraw, _refusals(config)))
    loop.services = services_3(config, loop)
    health.watch(_check(config), lambda: loop.fault)
    await loop.run(stop)


def _refusals(config: Config) -> Callable[[MessageRefused], Awaitable[None]]:
    async def refuse(refused: MessageRefused) -> None:
        await sync_to_async(operations.refuse_message)(
            raw=refused.raw, source=config.url, error=refused.name, detail=refused.detail, at=timezone.now()
        )

    return refuse


async def _run_20b(config: VenConfig, health: Health, stop: asyncio.Event) -> None:
    async def decide(listed: EventList) -> list[dict[str, Any]]:
        return await sync_to_async(receive_list)(listed, config)

    async def keep_standing(standing: Standing) -> None:
        await sync_to_async(operations.keep_registration)(
            vtn_url=config.url,
            ven_name=config.ven_name,
            ven_id=standing.ven_id,
            registration_id=standing.registration_id,
            poll_s=standing.poll_s,
            at=timezone.now(),
        )

    held = await sync_to_async(queries.registration_at)(vtn_url=config.url, ven_name=config.ven_name)
    standing = Standing(held.ven_id, held.registration_id, held.poll_s) if held else None
    if standing is not None:
        log.info("openadr.resumed operator=%s vtn=%s ven_id=%s", config.operator, config.url, standing.ven_id)
    loop = VenLoop(config, VenCallbacks(decide, keep_standing, _refusals(config)), standing, services_20b(config))
    health.watch(_check(config), lambda: loop.fault)
    await loop.run(stop)
