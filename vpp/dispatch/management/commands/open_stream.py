"""Grant a setpoint stream to the sites of a regulation product; the dispatcher then arms them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from sites.core.intervals import Interval
from sites.core.streams import stream_product
from sites.wire.errors import TopicInvalid
from sites.wire.topics import signal_topic
from vpp.dispatch.operations import NothingToArm, open_stream


class Command(BaseCommand):
    """``manage.py open_stream REG-1 --product pjm-regd --power-kw 500 --minutes 60``."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the stream, the product, how much and how long."""
        parser.add_argument("dispatch_id")
        parser.add_argument("--product", required=True)
        parser.add_argument("--power-kw", type=float, required=True, help="each way, over all sites")
        parser.add_argument("--in-minutes", type=float, default=0.5, help="until it begins")
        parser.add_argument("--minutes", type=float, required=True, help="how long")

    def handle(self, *args: Any, **options: Any) -> None:
        """Open it, now."""
        if not (0.0 < options["power_kw"] <= 1e6 and 0.0 <= options["in_minutes"] <= 1e5 and options["minutes"] > 0.0):
            raise CommandError("--power-kw, --minutes: accepted are more than 0, power up to 1,000,000 kW")
        at = timezone.now()
        starts_at = at + timedelta(minutes=options["in_minutes"])
        try:
            signal_topic(options["dispatch_id"])
            dispatch = open_stream(
                dispatch_id=options["dispatch_id"],
                product=stream_product(options["product"]),
                power_kw=options["power_kw"],
                window=Interval(starts_at, starts_at + timedelta(minutes=options["minutes"])),
                at=at,
            )
        except (KeyError, NothingToArm, TopicInvalid) as error:
            raise CommandError(str(error.args[0])) from None
        self.stdout.write(f"{dispatch.dispatch_id}: {dispatch.armed_kw:.3f} kW each way asked of sites")
