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
        """Delete them and say how many they were."""
        at = timezone.now()
        before = at - timedelta(days=settings.READING_DAYS)
        deleted = operations.prune_readings(before=before, at=at)
        self.stdout.write(f"{deleted} readings received before {before.isoformat(timespec='seconds')} deleted")
