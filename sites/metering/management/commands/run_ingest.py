"""Take the sites' messages from MQTT into the database, in batches."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.metering.ingest.quotas import Quota
from sites.metering.ingest.shared import IngestConfig
from sites.metering.ingest.worker import IngestWorker
from sites.metering.management.processes import parse_partitions
from sites.observability.health import Health
from sites.observability.process import run_process


class Command(BaseCommand):
    """``manage.py run_ingest [--partitions 0-63] [--stand-by 0-63]``."""

    help = "Take the sites' messages from MQTT into the database; k of n workers by their partitions."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the partitions of this worker."""
        parser.add_argument("--partitions", default="0-63", help="its own, such as 0-63, or 0-15,32-47; none for none")
        parser.add_argument("--stand-by", default="none", help="partitions to take while nobody else holds them")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT, then write what is held and end."""
        config = IngestConfig(
            broker=settings.BROKER,
            partitions=parse_partitions(options["partitions"]),
            stand_by=parse_partitions(options["stand_by"]),
            lease_s=settings.LEASE_S,
            batch_s=settings.INGEST_BATCH_S,
            batch_rows=settings.INGEST_BATCH_ROWS,
            max_payload_bytes=settings.MAX_PAYLOAD_BYTES,
            max_clock_ahead_s=settings.MAX_CLOCK_AHEAD_S,
            ask_missing_after_s=settings.ASK_MISSING_AFTER_S,
            fresh_within_s=settings.FRESH_WITHIN_S,
            quota=Quota(
                messages_per_s=settings.SITE_MESSAGES_PER_S,
                bytes_per_s=settings.SITE_BYTES_PER_S,
                births_per_min=settings.SITE_BIRTHS_PER_MIN,
                refusals_per_min=settings.SITE_REFUSALS_PER_MIN,
                burst_s=settings.SITE_BURST_S,
                quiet_s=settings.QUARANTINE_QUIET_S,
            ),
        )
        if not config.partitions and not config.stand_by:
            raise CommandError("--partitions and --stand-by are both none, accepted: partitions in one of them")
        health = Health("ingest")
        run_process(
            health,
            lambda stop: IngestWorker(config, now=timezone.now, health=health).run(stop),
            address=settings.OBSERVE_ADDRESS,
            folder=settings.OBSERVE_DIR,
        )
