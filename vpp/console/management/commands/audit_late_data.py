"""Print which closed figures metering that came later would change; nothing is rewritten."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sites.core.intervals import Interval, IntervalError
from sites.metering.late import LateInterval
from vpp.console.late import LateData, late_data


class Command(BaseCommand):
    """``manage.py audit_late_data --from INSTANT --to INSTANT``; exit code 1 when anything is found."""

    help = "Print the entries of both books that late or revised metering touches: entry, asset, interval, old and new."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the period."""
        parser.add_argument("--from", dest="starts_at", required=True, help="ISO 8601 instant with its offset")
        parser.add_argument("--to", dest="ends_at", required=True, help="ISO 8601 instant with its offset, exclusive")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line for each late row and each figure."""
        try:
            period = Interval(datetime.fromisoformat(options["starts_at"]), datetime.fromisoformat(options["ends_at"]))
        except (ValueError, IntervalError) as error:
            raise CommandError(f"--from, --to: {error}") from None
        found = late_data(period=period)
        for row in found:
            self._print(row)
        if found:
            sys.exit(1)
        self.stdout.write("no closed figure is touched")

    def _print(self, row: LateData) -> None:
        self.stdout.write(f"{row.book} book, {row.closed}")
        for interval in row.intervals:
            self.stdout.write(f"  {_text_of(interval)}")
        for site_id, number in row.records:
            self.stdout.write(f"  {site_id}/record number {number}: missing -> there")
        for touched in row.touched:
            entry = touched.entry
            for figure in touched.figures:
                self.stdout.write(
                    f"  {entry.chain} #{entry.position} {entry.kind} {entry.entry_hash[:12]}: "
                    f"{figure.name} {figure.booked} -> {figure.now}"
                )


def _text_of(interval: LateInterval) -> str:
    was = "missing" if interval.before_revision is None else f"revision {interval.before_revision}"
    before = interval.before or dict.fromkeys(interval.now, 0)
    changed = [f"{name} {before[name]} -> {now}" for name, now in interval.now.items() if before[name] != now]
    return (
        f"{interval.site_id}/{interval.asset} number {interval.number} of {interval.starts_at.isoformat()}: {was} -> "
        f"revision {interval.revision}, {', '.join(changed) or 'energies as before'}"
    )
