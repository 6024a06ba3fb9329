"""Delete old readings; numbered intervals, records and waveforms stay."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from sites.metering import operations


class Command(BaseCommand):
    """``manage.py prune_readings``; run it daily, beside the ingest."""

    help = "Delete readings received more than VPP_READING_DAYS days ago."

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete them, make the coming days' partitions, and say what was done."""
        at = timezone.now()
        before = at - timedelta(days=settings.READING_DAYS)
        operations.make_partitions(at=at)
        pruned = operations.prune_readings(before=before, at=at)
        minutes = operations.prune_roll_ups(before=at - timedelta(days=settings.ROLL_UP_DAYS))
        days = f" and {pruned.days} days dropped" if pruned.days else ""
        self.stdout.write(f"{pruned.rows} rows from before {before.isoformat(timespec='seconds')} deleted{days}")
        if minutes.rows or minutes.days:
            self.stdout.write(f"roll-ups of minutes: {minutes.rows} rows deleted, {minutes.days} days dropped")
