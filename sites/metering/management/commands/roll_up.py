"""Make what is due from readings: roll-ups, and intervals of meters behind other gateways."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.metering import derived, rollups


class Command(BaseCommand):
    """``manage.py roll_up [--every SECONDS]``; by a timer each minute, or as a process."""

    help = "Roll readings up to minutes and quarters; make intervals of the registers that gateways of others send."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take how often."""
        parser.add_argument("--every", type=float, help="go on, so many seconds apart; 1 to 3600")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it once, or until ended."""
        every_s = options["every"]
        if every_s is not None and not 1.0 <= every_s <= 3_600.0:
            raise CommandError(f"--every is {every_s:g}, accepted: 1 to 3600")
        while True:
            at = timezone.now()
            # Of older minutes some readings may be deleted already; the margin is for clocks that are ahead.
            oldest = at - timedelta(days=settings.READING_DAYS) + timedelta(seconds=settings.MAX_CLOCK_AHEAD_S + 60.0)
            done = rollups.roll_up(at=at, oldest=oldest)
            made = derived.derive_intervals(at=at)
            self.stdout.write(
                f"{done.minutes} minutes of partitions, {done.rows} rows, {made.intervals} intervals from registers"
            )
            if every_s is None:
                return
            time.sleep(every_s)
