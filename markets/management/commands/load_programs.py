"""Set up the programs agreed with grid operators that are missing."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from markets.operations import ensure_programs


class Command(BaseCommand):
    """`manage.py load_programs`."""

    help = "Set up the programs agreed with grid operators that are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        """Set them up and list all of them."""
        for program in ensure_programs():
            self.stdout.write(f"{program.name} {program.market_context} sign {program.signal_sign:+d}")
