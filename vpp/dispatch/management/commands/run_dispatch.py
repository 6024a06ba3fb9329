"""Arm the fleet for open obligations until stopped; one of several instances leads, the others stand by."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from sites.observability.health import Health
from sites.observability.process import run_process
from vpp.dispatch.leader import Leader
from vpp.dispatch.signing import our_seeds


class Command(BaseCommand):
    """``manage.py run_dispatch``: ends in order on SIGTERM and SIGINT."""

    help = __doc__
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal asks to end."""
        our_seeds()
        health = Health("dispatch")
        run_process(
            health,
            lambda stop: Leader(health=health).run(stop),
            address=settings.OBSERVE_ADDRESS,
            folder=settings.OBSERVE_DIR,
        )
