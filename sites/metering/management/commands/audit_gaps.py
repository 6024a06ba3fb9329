"""Print the holes in the numbered streams, the time that no interval covers, and energy that does not add up."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.core.intervals import Interval, IntervalError
from sites.metering import audit


class Command(BaseCommand):
    """``manage.py audit_gaps [--from INSTANT --to INSTANT | --hours N] [--energy]``; exit code 1: something found."""

    help = "Print missing numbers of intervals, records and waveforms; with a period also uncovered time, and energy."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the period."""
        parser.add_argument("--from", dest="starts_at", help="ISO 8601 instant with its offset, inclusive")
        parser.add_argument("--to", dest="ends_at", help="ISO 8601 instant with its offset, exclusive")
        parser.add_argument("--hours", type=int, help="instead: the last N whole hours that ended an hour ago")
        parser.add_argument("--energy", action="store_true", help="also intervals of sites whose bus does not add up")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per fault."""
        period = _period(options["starts_at"], options["ends_at"])
        if options["hours"] is not None:
            if period is not None or not 1 <= options["hours"] <= 8784:
                raise CommandError("--hours, accepted: 1 to 8784, without --from and --to")
            # What sites send late for a good reason has an hour.
            ends_at = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
            period = Interval(ends_at - timedelta(hours=options["hours"]), ends_at)
        if options["energy"] and period is None:
            raise CommandError("--energy needs --from and --to, or --hours")
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
        imbalances = audit.conservation(period=period) if period is not None and options["energy"] else []
        for imbalance in imbalances:
            self.stdout.write(
                f"{imbalance.site_id}: bus is off by {imbalance.residual_uwh} uWh from "
                f"{imbalance.starts_at.isoformat()} to {imbalance.ends_at.isoformat()}, accepted: up to "
                f"{imbalance.tolerance_uwh} uWh and {imbalance.assets_enrolled} assets, found {imbalance.assets}"
            )
        if found or missing or imbalances:
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
