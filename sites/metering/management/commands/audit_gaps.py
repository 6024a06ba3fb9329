"""Print the holes in the numbered streams and the time that no interval covers."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sites.core.intervals import Interval, IntervalError
from sites.metering import audit


class Command(BaseCommand):
    """``manage.py audit_gaps [--from INSTANT --to INSTANT]``; exit code 1 when there is any."""

    help = "Print missing numbers of intervals, records and waveforms; with a period also uncovered time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the period."""
        parser.add_argument("--from", dest="starts_at", help="ISO 8601 instant with its offset, inclusive")
        parser.add_argument("--to", dest="ends_at", help="ISO 8601 instant with its offset, exclusive")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per hole."""
        period = _period(options["starts_at"], options["ends_at"])
        found = audit.gaps(period=period)
        for gap in found:
            after = gap.after.isoformat() if gap.after else "the start"
            self.stdout.write(
                f"{gap.site_id}/{gap.stream}: numbers {gap.first} to {gap.last} {gap.reason}, "
                f"between {after} and {gap.before.isoformat()}"
            )
        missing = audit.missing_intervals(period=period) if period is not None else []
        for hole in missing:
            self.stdout.write(
                f"{hole.site_id}/{hole.asset}: no interval from {hole.starts_at.isoformat()} "
                f"to {hole.ends_at.isoformat()}"
            )
        if found or missing:
            sys.exit(1)
        self.stdout.write("no gaps")


def _period(starts_at: str | None, ends_at: str | None) -> Interval | None:
    if starts_at is None and ends_at is None:
        return None
    if starts_at is None or ends_at is None:
        raise CommandError("--from and --to go together")
    try:
        return Interval(datetime.fromisoformat(starts_at), datetime.fromisoformat(ends_at))
    except (ValueError, IntervalError) as error:
        raise CommandError(f"--from, --to: {error}") from None
