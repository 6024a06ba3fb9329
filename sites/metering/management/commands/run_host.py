"""Publish the host's STATE: online only while every partition has a live ingest worker."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from sites.metering.host import Host, HostConfig
from sites.metering.management.processes import parse_partitions
from sites.observability.health import Health
from sites.observability.process import run_process


class Command(BaseCommand):
    """``manage.py run_host``; a second one stands by."""

    help = "Publish the host's STATE to the sites; several may run, one holds the lease."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the partitions that must be covered."""
        parser.add_argument("--partitions", default="0-63", help="partitions that must have a worker, such as 0-63")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        config = HostConfig(
            broker=settings.BROKER,
            host_id=settings.HOST_ID,
            lease_s=settings.LEASE_S,
            partitions=parse_partitions(options["partitions"]),
        )
        health = Health("host")
        run_process(
            health,
            lambda stop: Host(config, now=timezone.now, health=health).run(stop),
            address=settings.OBSERVE_ADDRESS,
            folder=settings.OBSERVE_DIR,
        )
