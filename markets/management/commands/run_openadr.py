"""Run the VEN: stay registered with the grid operator's VTN, store and answer its events."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections
from django.utils import timezone

from markets import operations, queries
from markets.core.events import EventInvalid
from markets.openadr.mapping import event_of, response_of
from markets.openadr.ven20b import (
    ConfigurationInvalid,
    EventList,
    MessageRefused,
    Standing,
    VenCallbacks,
    VenConfig,
    VenLoop,
)
from sites.observability import metrics
from sites.observability.health import Health
from sites.observability.process import run_process

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """`manage.py run_openadr`."""

    help = "Stay registered with the grid operator's VTN (VPP_VTN_URL), store and answer its events."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        try:
            config = VenConfig(
                vtn_url=settings.VTN_URL.rstrip("/"),
                ven_name=settings.VEN_NAME,
                cert=settings.VEN_CERT,
                key=settings.VEN_KEY,
                ca=settings.VEN_CA,
                vtn_fingerprint=settings.VTN_FINGERPRINT,
                poll_s=float(settings.VEN_POLL_S),
            )
        except ConfigurationInvalid as error:
            raise CommandError(str(error)) from None
        health = Health("openadr")
        run_process(
            health,
            lambda stop: _run(config, health, stop),
            address=settings.OBSERVE_ADDRESS,
            folder=settings.OBSERVE_DIR,
        )


async def _run(config: VenConfig, health: Health, stop: asyncio.Event) -> None:
    async def decide(listed: EventList) -> list[dict[str, Any]]:
        return await sync_to_async(receive_list)(listed, config)

    async def keep_standing(standing: Standing) -> None:
        await sync_to_async(operations.keep_registration)(
            vtn_url=config.vtn_url,
            ven_name=config.ven_name,
            ven_id=standing.ven_id,
            registration_id=standing.registration_id,
            poll_s=standing.poll_s,
            at=timezone.now(),
        )

    async def refuse(refused: MessageRefused) -> None:
        await sync_to_async(operations.refuse_message)(
            raw=refused.raw, source=config.vtn_url, error=refused.name, detail=refused.detail, at=timezone.now()
        )

    held = await sync_to_async(queries.registration_at)(vtn_url=config.vtn_url, ven_name=config.ven_name)
    standing = Standing(held.ven_id, held.registration_id, held.poll_s) if held else None
    if standing is not None:
        log.info("openadr.resumed vtn=%s ven_id=%s", config.vtn_url, standing.ven_id)
    loop = VenLoop(config, VenCallbacks(decide, keep_standing, refuse), standing)
    health.watch("vtn", lambda: loop.fault)
    await loop.run(stop)


def receive_list(listed: EventList, config: VenConfig) -> list[dict[str, Any]]:
    """Store and decide every event of a list; return the responses that the VTN wants.

    Raises what the database raises: an event that is not stored is not answered.
    """
    close_old_connections()
    received_at = timezone.now()
    responses: list[dict[str, Any]] = []
    event_ids: list[str] = []
    # Once for the list: a VTN sends all its events each time, and a fleet has many sites.
    available_kw: dict[str, float] = {}
    for raw_event in listed.events:
        try:
            event = event_of(raw_event, listed.vtn_id)
        except EventInvalid as error:
            operations.refuse_message(
                raw=listed.raw, source=config.vtn_url, error="event_invalid", detail=str(error), at=received_at
            )
            continue
        event_ids.append(event.event_id)
        at = timezone.now()
        context = event.market_context
        if context not in available_kw:
            available_kw[context] = queries.available_kw(
                market_context=context,
                at=at,
                fresh_within_s=settings.FRESH_WITHIN_S,
                dropout_margin=settings.DROPOUT_MARGIN,
            )
        decision = operations.receive_event(
            raw=listed.raw, event=event, available_kw=available_kw[context], at=at, received_at=received_at
        )
        metrics.OPENADR_EVENTS.labels(decision.opt.value).inc()
        # A window that has ended wants no answer (OpenADR 2.0b).
        if event.response_required and event.status != "completed":
            responses.append(response_of(event, decision, listed.request_id))
    registration = queries.registration_at(vtn_url=config.vtn_url, ven_name=config.ven_name)
    if registration is not None and listed.vtn_id:
        withdrawn = operations.withdraw_absent_events(
            vtn_id=listed.vtn_id, listed=event_ids, since=registration.registered_at, at=timezone.now()
        )
        if withdrawn:
            log.warning("openadr.withdrawn event_ids=%s", ",".join(withdrawn))
    return responses
