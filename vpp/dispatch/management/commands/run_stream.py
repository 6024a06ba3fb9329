"""Send a setpoint stream's signal: one normalized value a line from standard input or a file, one each period."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from sites.core.streams import stream_product
from vpp.dispatch.keys import seed_for_all
from vpp.dispatch.leases import LeaseLost
from vpp.dispatch.models import Dispatch, Kind
from vpp.dispatch.signing import our_seeds
from vpp.dispatch.streaming import StreamSender


class Command(BaseCommand):
    """``manage.py run_stream REG-1 < values``: what an AGC receiver writes goes out; several may run, one sends."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the stream and where its values come from."""
        parser.add_argument("dispatch_id")
        parser.add_argument(
            "--file", help="values from a file, one each period; without it from standard input as they come"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Send until the values end."""
        dispatch = Dispatch.objects.filter(dispatch_id=options["dispatch_id"], kind=Kind.STREAM).first()
        if dispatch is None:
            raise CommandError(f"stream {options['dispatch_id']!r} is not known, accepted: one of open_stream")
        product = stream_product(dispatch.product)
        sender = StreamSender(
            stream=dispatch.dispatch_id,
            product=product,
            broker=settings.BROKER,
            signing_key=seed_for_all(our_seeds(), dispatch=dispatch),
            lease_s=settings.LEASE_S,
        )
        try:
            if options["file"]:
                with open(options["file"]) as file:
                    asyncio.run(sender.run(_values(file, product.period_s)))
            else:
                asyncio.run(sender.run(_values(sys.stdin, 0.0)))
        except LeaseLost as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from None
        self.stdout.write(f"{dispatch.dispatch_id}: {sender.sent} values, {sender.dropped} of them did not go out")


async def _values(lines: TextIO, period_s: float) -> AsyncIterator[float]:
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while line := await loop.run_in_executor(None, lines.readline):
        if not line.strip():
            continue
        try:
            value = float(line)
        except ValueError:
            value = float("nan")
        yield value
        due_s = max(due_s + period_s, loop.time())
        await asyncio.sleep(due_s - loop.time())
