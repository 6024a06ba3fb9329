"""What an ingest worker is started with, and what its parts share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from urllib.parse import SplitResult

from sites.metering.batches import Batch
from sites.metering.ingest.quotas import Gates, Quota
from sites.metering.numbered import StreamKey, StreamState
from sites.metering.sorting import Sorter
from sites.mqtt.connection import Connection
from sites.registry.queries import SiteKeys
from sites.wire.host_session import HostSession

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """What an ingest worker is started with."""

    broker: SplitResult
    partitions: tuple[int, ...]
    """Its own: asked back from whoever stands in."""
    stand_by: tuple[int, ...]
    """Taken while nobody else holds them."""
    lease_s: float
    """A worker that did not renew for this long is taken for dead."""
    batch_s: float
    batch_rows: int
    max_payload_bytes: int
    max_clock_ahead_s: float
    ask_missing_after_s: float
    fresh_within_s: float
    quota: Quota
    """What each site may send."""

    @property
    def name(self) -> str:
        """``ingest-<lowest own partition>``: unique among the workers of a fleet, and the live topic's last level."""
        return f"ingest-{min(self.partitions)}" if self.partitions else f"ingest-stand-by-{min(self.stand_by)}"


@dataclass(slots=True)
class Shared:
    """What the parts of one worker share. Used on its loop alone; ``thread`` alone meets the database."""

    config: IngestConfig
    now: Callable[[], datetime]
    worker_id: str
    connection: Connection
    session: HostSession
    sorter: Sorter
    gates: Gates
    thread: ThreadPoolExecutor
    batch: Batch = field(default_factory=Batch)
    """The one that grows."""
    batches_stored: int = 0
    partitions: frozenset[int] = frozenset()
    """Those that this worker hears and writes."""
    states: dict[StreamKey, StreamState] = field(default_factory=dict)
    site_ids: dict[int, str] = field(default_factory=dict)

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Return what a call gives in the database thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, call)

    def use_directory(self, directory: Mapping[str, SiteKeys]) -> None:
        """Take the sites of the partitions that are held, and their gateways' rules."""
        self.sorter.directory = directory
        gateways = {site_id: keys.gateway for site_id, keys in directory.items() if keys.gateway is not None}
        self.session.use_gateways(gateways)
        self.site_ids = {keys.pk: site_id for site_id, keys in directory.items()}


def ms(at: datetime) -> int:
    """Return an instant as the wire's whole milliseconds."""
    return int(at.timestamp() * 1000)
