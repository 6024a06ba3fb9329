"""List what waits: signing requests with their keys' fingerprints, and open clone alarms."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from sites.identity import queries
from sites.registry.models import Site


class Command(BaseCommand):
    """``manage.py enrolments``."""

    help = "List the requests that wait and the open clone alarms."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line each."""
        sites = Site.objects.all()
        for row in queries.waiting_requests(sites=sites):
            kind = "enrolment" if row.renews_id is None else "renewal"
            self.stdout.write(
                f"{row.pk} {row.site.site_id} {kind} {row.status} since {row.requested_at:%Y-%m-%d %H:%M} UTC "
                f"from {row.address} key {row.fingerprint}"
            )
        for alarm in queries.open_alarms(sites=sites):
            self.stdout.write(
                f"ALARM {alarm.site.site_id}: clone suspected {alarm.times} times, "
                f"last {alarm.last_at:%Y-%m-%d %H:%M} UTC: {alarm.evidence}"
            )
