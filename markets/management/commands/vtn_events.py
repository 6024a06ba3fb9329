"""Give events to the VENs of our VTN, change and cancel them, and see what they answered."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from markets.openadr.vtn20b import desk
from markets.openadr.vtn20b.desk import EventContent, Signal
from markets.openadr.vtn20b.models import DownstreamEvent
from markets.openadr.vtn20b.operations import RequestInvalid


class Command(BaseCommand):
    """`manage.py vtn_events issue|cancel|list`."""

    help = "Issue an event to VENs (a known id modifies it), cancel one, or list events with their VENs' answers."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the three verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        issue = verbs.add_parser("issue", help="a known event id makes its next modification")
        issue.add_argument("event_id")
        issue.add_argument("--ven", action="append", required=True, help="name of a VEN; may be given again")
        issue.add_argument("--start", required=True, help="ISO 8601 with offset")
        issue.add_argument("--signal", default="LOAD_DISPATCH")
        issue.add_argument("--type", default="delta")
        issue.add_argument("--scale", default="", help="SI scale of a power in W, such as k; none: no unit")
        issue.add_argument(
            "--interval", action="append", required=True, metavar="SECONDS:VALUE", help="may be given again"
        )
        issue.add_argument("--market-context", required=True)
        issue.add_argument("--priority", type=int, default=0, help="1 is the highest; 0: none")
        issue.add_argument("--ramp-up-s", type=int, default=0)
        issue.add_argument("--comment", default="")
        issue.add_argument("--test", action="store_true", help="a test event")
        issue.add_argument("--no-answer", action="store_true", help="no opt is wanted")
        verbs.add_parser("cancel").add_argument("event_id")
        verbs.add_parser("list", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; tells the event as JSON."""
        at = timezone.now()
        try:
            if options["verb"] == "issue":
                self._tell(desk.issue_event(content=_content(options), ven_names=options["ven"], at=at), at)
            elif options["verb"] == "cancel":
                self._tell(desk.cancel_event(event_id=options["event_id"], at=at), at)
            else:
                for event in DownstreamEvent.objects.prefetch_related("copies__ven"):
                    self._tell(event, at)
        except RequestInvalid as error:
            raise CommandError(str(error)) from None

    def _tell(self, event: DownstreamEvent, at: datetime) -> None:
        told = {
            "event_id": event.event_id,
            "modification_number": event.modification_number,
            "status": event.status(at),
            "starts_at": event.starts_at.isoformat(),
            "ends_at": event.ends_at.isoformat(),
            "vens": {
                copy.ven.ven_name: {
                    "opt": copy.opt_type,
                    "modification_number": copy.opt_modification,
                    "response_code": copy.opt_code,
                    "is_accepted": copy.is_accepted,
                }
                for copy in event.copies.select_related("ven")
            },
        }
        self.stdout.write(json.dumps(told))


def _content(options: dict[str, Any]) -> EventContent:
    try:
        starts_at = datetime.fromisoformat(options["start"])
    except ValueError:
        raise RequestInvalid(f"--start is {options['start']!r}, accepted: ISO 8601 with offset") from None
    if not 0 <= options["priority"] < 2**31 or not 0 <= options["ramp_up_s"] <= 86_400:
        raise RequestInvalid("--priority, accepted: 0 and up; --ramp-up-s, accepted: 0 to 86400")
    return EventContent(
        event_id=options["event_id"],
        market_context=options["market_context"],
        starts_at=starts_at,
        signals=[Signal(options["signal"], options["type"], _intervals(options["interval"]), options["scale"])],
        priority=options["priority"],
        ramp_up_s=options["ramp_up_s"],
        is_test=options["test"],
        comment=options["comment"],
        wants_answer=not options["no_answer"],
    )


def _intervals(given: list[str]) -> list[tuple[int, float]]:
    try:
        return [(int(one.partition(":")[0]), float(one.partition(":")[2])) for one in given]
    except ValueError:
        raise RequestInvalid(f"--interval is {given}, accepted: SECONDS:VALUE, such as 1800:-250") from None
