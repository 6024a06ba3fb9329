"""manage.py close_carbon: closes a period of the carbon book from the meter book."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from carbon.core.factors import FactorMissing, FactorVintageOlder
from carbon.meters import MetersUnclear
from carbon.operations import MeteringGaps, PeriodNotOver, PeriodOverlaps, close_period
from sites.core.intervals import Interval, IntervalError
from sites.ledger.operations import EntryConflict

REFUSALS = (
    EntryConflict,
    FactorMissing,
    FactorVintageOlder,
    IntervalError,
    MeteringGaps,
    MetersUnclear,
    PeriodNotOver,
    PeriodOverlaps,
)


class Command(BaseCommand):
    """Close one period."""

    help = "Book the carbon of a period for every site and the fleet's statement over it; idempotent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--from", dest="starts_at", required=True, help="start, such as 2026-11-22T03:00:00Z")
        parser.add_argument("--to", dest="ends_at", required=True, help="end, not in the period")
        parser.add_argument("--dispatch-id", default="", help="joins the entries to a dispatch")
        parser.add_argument("--allow-gaps", action="store_true", help="close over holes; the entries say how long")
        parser.add_argument(
            "--allow-older-vintage", action="store_true", help="use the newest older factor; the entries say so"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Close the period and print the totals, or refuse with the reason."""
        try:
            period = Interval(_instant(options["starts_at"], "--from"), _instant(options["ends_at"], "--to"))
            closed = close_period(
                period=period,
                dispatch_id=options["dispatch_id"],
                at=timezone.now(),
                allow_gaps=options["allow_gaps"],
                allow_older_vintage=options["allow_older_vintage"],
            )
        except REFUSALS as error:
            raise CommandError(f"{type(error).__name__}: {error}") from error
        facts = closed.statement.facts()
        for reason in facts.get("left_out", ()):
            self.stderr.write(f"left out: {reason}")
        self.stdout.write(
            f"{facts['entries']} entries of {facts['sites']} sites, scope 1 {facts['scope1_ug']} ug, "
            f"scope 2 location-based {facts['scope2_location_ug']} ug, statement {closed.statement.entry_hash}"
        )


def _instant(text: str, option: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{option} is {text!r}, accepted: ISO 8601 with a time zone") from error
