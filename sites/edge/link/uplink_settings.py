"""What all sites of one uplink share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sites.mqtt.address import BrokerAddress

RESEND_AFTER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """What all sites of one process share."""

    broker: BrokerAddress
    host_id: str
    platform_keys: tuple[bytes, ...]
    interval_s: int
    outbox_path: Path
    """Announced keys are kept beside it, a file for each site."""
    key_authority: bytes | None = None
    """Public key that may announce other platform keys; None: they change in the configuration only."""
    outbox_max_bytes: int = 512_000_000
    outbox_reserve_bytes: int = 0
    """Set aside on the disk beside the outbox, to be given up when the disk is full."""
    keep_stored_s: float = 0.0
    """How long intervals stay at the site after the platform has stored them."""
    backoff_s: tuple[float, float] = (0.5, 30.0)
    resend_after_s: float = RESEND_AFTER_S
