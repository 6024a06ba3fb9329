"""The sender of one setpoint stream: a signed, numbered, short-lived value for all sites, one sender at a time."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import SplitResult

from asgiref.sync import sync_to_async

from sites.core.streams import SetpointSignal, StreamProduct
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.wire.messages import Message
from sites.wire.signature import SIGNAL_MAGIC, Signer
from sites.wire.topics import signal_topic
from vpp.dispatch import leases
from vpp.dispatch.leases import lease_name

logger = logging.getLogger(__name__)

COUNTER_BITS: Final = 32
"""Lower bits of a sequence; above them stands the lease's token, so that a new sender goes on above the old one."""


def signal_message(
    *, stream: str, token: int, count: int, value: float, valid_s: float, signer: Signer, at: datetime
) -> Message:
    """Return one value as it is broadcast; ``count`` rises from 0 with each value of a sender."""
    sequence = (token << COUNTER_BITS) + count + 1
    signal = SetpointSignal(stream, sequence, at, at + timedelta(seconds=valid_s), value)
    return Message(signal_topic(stream), signer.seal(signal.to_bytes()))


class StreamSender:
    """Waits for the stream's lease, then sends each value as it comes until the values end or the lease is lost."""

    def __init__(
        self, *, stream: str, product: StreamProduct, broker: SplitResult, signing_key: bytes, lease_s: float
    ) -> None:
        self._stream = stream
        self._product = product
        self._signer = Signer(signing_key, magic=SIGNAL_MAGIC)
        self._lease_s = lease_s
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._connection = Connection(BrokerAddress.of(broker), name="vpp-stream", on_message=lambda *_: None)
        self.sent = 0
        self.dropped = 0
        """Values that were none, or that the broker was not there for."""

    async def run(self, values: AsyncIterator[float]) -> None:
        """Send until the values end; raise LeaseLost when another sender took over."""
        token = await self._take()
        connecting = asyncio.create_task(self._connection.run())
        try:
            renewed_at = datetime.now(UTC)
            async for value in values:
                at = datetime.now(UTC)
                # A clock that was set back must not keep the lease from being renewed.
                if not 0.0 <= (at - renewed_at).total_seconds() < self._lease_s / 3.0:
                    await self._renew(token, at)
                    renewed_at = at
                self._send(token, value, at)
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await sync_to_async(leases.release_lease)(name=lease_name(self._stream), token=token, at=datetime.now(UTC))

    def _send(self, token: int, value: float, at: datetime) -> None:
        if not (math.isfinite(value) and -1.0 <= value <= 1.0):
            self.dropped += 1
            logger.warning("signal.refused stream=%s value=%r, accepted: -1 to 1", self._stream, value)
            return
        message = signal_message(
            stream=self._stream, token=token, count=self.sent, value=value, valid_s=self._product.max_age_s,
            signer=self._signer, at=at,
        )  # fmt: skip
        # Counted also when it did not go out: a sequence is never used twice.
        self.sent += 1
        if not self._connection.publish(message):
            self.dropped += 1

    async def _take(self) -> int:
        while True:
            token = await sync_to_async(leases.take_lease)(
                name=lease_name(self._stream), holder=self._holder, lease_s=self._lease_s, at=datetime.now(UTC)
            )
            if token is not None:
                logger.info("lease.taken stream=%s token=%d", self._stream, token)
                return token
            await asyncio.sleep(self._lease_s / 10.0)

    async def _renew(self, token: int, at: datetime) -> None:
        await sync_to_async(leases.renew_lease)(
            name=lease_name(self._stream), token=token, lease_s=self._lease_s, at=at
        )
