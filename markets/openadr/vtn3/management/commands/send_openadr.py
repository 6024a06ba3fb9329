"""Send what our OpenADR 3 VTN owes: webhook calls and MQTT notices, from the database's outbox."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import close_old_connections
from django.utils import timezone
from oauth2_provider.models import clear_expired

from markets.openadr.vtn3 import sending
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.observability.health import Health
from sites.observability.process import run_process
from sites.wire.messages import Message

LOOK_EVERY_S: Final = 0.25
CLEAR_EVERY_S: Final = 3_600.0


class Command(BaseCommand):
    """`manage.py send_openadr`."""

    help = "Send the notifications of our OpenADR 3 VTN: webhooks, and MQTT where VPP_VTN_MQTT_URIS names a broker."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        health = Health("send-openadr")
        run_process(
            health, lambda stop: _run(health, stop), address=settings.OBSERVE_ADDRESS, folder=settings.OBSERVE_DIR
        )


async def _run(health: Health, stop: asyncio.Event) -> None:
    link: Connection | None = None
    tasks = []
    if settings.VTN_MQTT_URIS:
        link = Connection(BrokerAddress.of(settings.BROKER), name="vpp-send-openadr", on_message=lambda *_: None)
        health.watch("broker", lambda: link.down_reason if link is not None else "")
        tasks.append(asyncio.create_task(link.run()))
    with ThreadPoolExecutor(sending.AT_ONCE, thread_name_prefix="webhook") as pool:
        tasks.append(asyncio.create_task(_work(pool, link)))
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, stopped):
            task.cancel()
        await asyncio.gather(*tasks, stopped, return_exceptions=True)
    for task in done - {stopped}:
        task.result()


async def _work(pool: ThreadPoolExecutor, link: Connection | None) -> None:
    cleared_s = float("-inf")
    while True:
        if time.monotonic() - cleared_s > CLEAR_EVERY_S:
            await sync_to_async(_clear)()
            cleared_s = time.monotonic()
        made = await sync_to_async(_send)(pool)
        if link is not None and link.is_up:
            made += await sync_to_async(sending.publish_notices)(
                lambda topic, payload: link.publish(Message(topic, payload, qos=1))
            )
        if not made:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            return


def _send(pool: ThreadPoolExecutor) -> int:
    close_old_connections()
    return sending.send_due(pool, clock=timezone.now)


def _clear() -> None:
    close_old_connections()
    sending.clear_old(at=timezone.now())
    clear_expired()
