"""Set up the programs agreed with grid operators that are missing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from markets.openadr.operators import ConfigurationInvalid, operators
from markets.operations import DEFAULT_PROGRAMS, ensure_programs


class Command(BaseCommand):
    """`manage.py load_programs`."""

    help = "Set up the programs that VPP_OPERATORS declares, or without it the two of a trial, where they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        """Set them up and list all of them."""
        seeds = list(DEFAULT_PROGRAMS)
        if settings.OPERATORS_FILE:
            try:
                seeds = [seed for config in operators() for seed in config.programs]
            except ConfigurationInvalid as error:
                raise CommandError(str(error)) from None
        for program in ensure_programs(seeds=seeds):
            self.stdout.write(f"{program.name} {program.market_context} sign {program.signal_sign:+d}")
