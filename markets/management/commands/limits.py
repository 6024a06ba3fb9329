"""List operators' capacity limits, and what the connections' meters say of those that have begun."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from markets.capacity_limits import CapacityLimit
from markets.limiting import limits_in, sites_in, verdict_on
from sites.core.intervals import Interval


class Command(BaseCommand):
    """`manage.py limits --days 7 --json`."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Say how far back, and the form."""
        parser.add_argument("--days", type=int, default=7, choices=range(1, 367), metavar="1..366", help="how far back")
        parser.add_argument("--json", action="store_true", help="one object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line a limit."""
        at = timezone.now()
        window = Interval(at - timedelta(days=options["days"]), at + timedelta(days=60))
        for limit in limits_in(window=window):
            told = _told(limit, at)
            self.stdout.write(json.dumps(told) if options["json"] else _words(told))


def _told(limit: CapacityLimit, at: Any) -> dict[str, Any]:
    verdict = asdict(verdict_on(limit=limit, at=at))
    worst_at = verdict["worst_at"]
    return {
        "event_id": limit.event.event_id,
        "product": limit.program.product,
        "certainty": limit.program.catalogue_row.score_certainty.value,
        "scope": limit.scope,
        "names": limit.names,
        "sites": sites_in(scope=limit.scope, names=limit.names, product=limit.program.product).count(),
        "starts_at": limit.starts_at.isoformat(),
        "ends_at": limit.ends_at.isoformat(),
        "power_kw": limit.power_kw,
        **verdict,
        "worst_at": worst_at.isoformat() if worst_at else None,
    }


def _words(told: dict[str, Any]) -> str:
    judged = "not judged yet"
    if told["intervals"]:
        judged = f"{told['within']} intervals within, {told['over']} over, {told['missing']} not metered"
    if told["worst_at"]:
        judged += f"; worst {told['worst_kw']:.3f} of {told['worst_limit_kw']:g} kW at {told['worst_at']}"
    return (
        f"{told['event_id']} {told['product']} {told['power_kw']:g} kW, {told['sites']} sites ({told['scope']}), "
        f"{told['starts_at']} to {told['ends_at']}: {judged}"
    )
