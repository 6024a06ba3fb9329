"""The host's STATE on the wire: one lease-holder speaks, online only while every partition has a worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult

from django.db.utils import DatabaseError, InterfaceError

from sites.metering import leases, operations
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.observability import metrics
from sites.observability.health import Health
from sites.wire.messages import Message, state_message
from sites.wire.topics import PARTITIONS, state_topic

logger = logging.getLogger(__name__)
T = TypeVar("T")

CHECKS_PER_LEASE: Final = 5
LEAVE_WITHIN_S: Final = 1.0
FURTHEST_AHEAD_MS: Final = 86_400_000
"""A stamp further ahead is nobody's clock; it is spoken over, and sites that heard it wait for it."""
HANDED_OVER_WITHIN_S: Final = 3.0
"""Partitions without a worker for less than this are on their way to the next one: a fleet that heard offline and
online again would bear itself anew, all sites at once, and what is numbered is sent again anyway."""


@dataclass(frozen=True, slots=True)
class HostConfig:
    """What the host process is started with."""

    broker: SplitResult
    host_id: str
    lease_s: float
    partitions: tuple[int, ...] = tuple(range(PARTITIONS))
    """Partitions that must all have a live worker."""


class Host:
    """Holds the lease or stands by; only the holder is connected, because its will speaks for the host."""

    def __init__(self, config: HostConfig, *, now: Callable[[], datetime], health: Health) -> None:
        self._config = config
        self._database_fault = "not asked yet"
        health.watch("database", lambda: self._database_fault)
        health.watch("broker", self._broker_fault)
        self._now = now
        self._holder = f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="host-db")
        self._link: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._is_online = False
        self._connected_ms = 0
        """Stamp of all that this connection says, its will included: a site ignores an older one."""
        self._must_say = False
        self._is_outdated = False
        """Sites have heard a later stamp than ours: of a clock that was ahead, or of a holder beside us."""
        self._covered_s = 0.0
        """When every partition had a worker last, by the monotonic clock."""

    async def run(self, stop: asyncio.Event) -> None:
        """Hold or wait for the lease until stopped; then say offline and give the lease back."""
        try:
            while not stop.is_set():
                await self._step()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._config.lease_s / CHECKS_PER_LEASE)
        finally:
            if self._link is not None:
                self._say(online=False)
            await self._leave()
            with contextlib.suppress(DatabaseError, InterfaceError):
                await self._in_thread(
                    lambda: operations.release_host_lease(name=self._config.host_id, holder=self._holder)
                )
            await self._in_thread(operations.close_database)
            self._thread.shutdown()

    async def _step(self) -> None:
        at = self._now()
        try:
            token = await self._in_thread(
                lambda: operations.take_host_lease(
                    name=self._config.host_id, holder=self._holder, lease_s=self._config.lease_s, at=at
                )
            )
            covered = await self._in_thread(lambda: leases.covered_partitions(at=at))
        except (DatabaseError, InterfaceError) as error:
            # Without the database nothing can be stored, and the lease may be another's by now.
            logger.warning("host.database_away reason=%s", error)
            with contextlib.suppress(DatabaseError, InterfaceError):
                await self._in_thread(operations.close_database)
            self._database_fault = type(error).__name__
            self._say_if_changed(online=False)
            return
        self._database_fault = ""
        if token is None:
            await self._leave()
            return
        if self._is_outdated and self._connection is not None:
            self._is_outdated = False
            # The will carries the stamp too, so both are made anew.
            await self._connection.renew(within_s=LEAVE_WITHIN_S)
        if self._link is None:
            logger.info("host.lease_taken host=%s token=%d", self._config.host_id, token)
            self._join()
        is_covered = covered.issuperset(self._config.partitions)
        if is_covered:
            self._covered_s = time.monotonic()
        is_handed_over = self._is_online and time.monotonic() - self._covered_s < HANDED_OVER_WITHIN_S
        self._say_if_changed(online=is_covered or is_handed_over)

    def _broker_fault(self) -> str:
        """Only the holder of the lease is connected; who stands by needs no broker."""
        connection = self._connection
        return "" if connection is None or connection.is_up else connection.down_reason

    def _join(self) -> None:
        self._connection = Connection(
            BrokerAddress.of(self._config.broker),
            name=f"host-{self._config.host_id}",
            on_message=self._heard,
            # Our own topic: an older holder's will may come after we spoke.
            subscriptions=[(state_topic(self._config.host_id), 1)],
            on_up=self._say_again,
            proves=True,
            will=self._will,
        )
        self._link = asyncio.create_task(self._connection.run())

    async def _leave(self) -> None:
        if self._link is None or self._connection is None:
            return
        logger.info("host.lease_left host=%s", self._config.host_id)
        # In order: the will would speak over whoever holds the lease now.
        await self._connection.finish(within_s=LEAVE_WITHIN_S)
        self._link.cancel()
        await asyncio.gather(self._link, return_exceptions=True)
        self._link = self._connection = None
        self._is_online = False
        metrics.HOST_ONLINE.set(0)

    def _will(self) -> Message:
        self._connected_ms = max(self._connected_ms + 1, int(self._now().timestamp() * 1000))
        return state_message(self._config.host_id, False, self._connected_ms)

    def _say_again(self) -> None:
        self._must_say = True

    def _heard(self, topic: str, payload: bytes) -> None:
        if topic != state_topic(self._config.host_id):
            return
        try:
            said: Any = json.loads(payload)
            agrees = isinstance(said, dict) and said.get("online") is self._is_online
            stamp_ms = said.get("timestamp") if isinstance(said, dict) else None
        except (ValueError, RecursionError):
            agrees, stamp_ms = False, None
        if isinstance(stamp_ms, int) and self._connected_ms < stamp_ms <= self._connected_ms + FURTHEST_AHEAD_MS:
            logger.warning("host.state_behind host=%s by_ms=%d", self._config.host_id, stamp_ms - self._connected_ms)
            self._connected_ms, self._is_outdated = stamp_ms, True
        if not agrees:
            self._must_say = True

    def _say_if_changed(self, *, online: bool) -> None:
        if online != self._is_online or self._must_say:
            self._say(online=online)

    def _say(self, *, online: bool) -> None:
        if self._connection is None:
            return
        if online != self._is_online:
            logger.info("host.state host=%s online=%s", self._config.host_id, online)
        self._is_online = online
        metrics.HOST_ONLINE.set(online)
        message = state_message(self._config.host_id, online, self._connected_ms)
        self._must_say = not self._connection.publish(message)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
