"""Run our VENs: stay registered with every declared operator's VTN, store and answer its events."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from markets.openadr.operators import ConfigurationInvalid, operators
from markets.openadr.running import run_operators
from sites.observability.health import Health
from sites.observability.process import run_process


class Command(BaseCommand):
    """`manage.py run_openadr`."""

    help = "Stay registered with every operator's VTN (VPP_OPERATORS or VPP_VTN_URL), store and answer its events."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        try:
            declared = operators()
        except ConfigurationInvalid as error:
            raise CommandError(str(error)) from None
        health = Health("openadr")
        run_process(
            health,
            lambda stop: run_operators(declared, health, stop),
            address=settings.OBSERVE_ADDRESS,
            folder=settings.OBSERVE_DIR,
        )
