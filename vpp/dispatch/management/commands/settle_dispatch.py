"""Book what a dispatch delivered: hand its acknowledged shares to the market's settlement."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from markets import operations as markets
from markets.core.products import Basis, LiveSettlementRefused
from markets.settling import NotSettleable
from vpp.dispatch.models import Dispatch
from vpp.dispatch.queries import contracted_shares


class Command(BaseCommand):
    """``manage.py settle_dispatch DISPATCH_ID --basis demonstration``."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the dispatch and on what basis it is settled."""
        parser.add_argument("dispatch_id")
        parser.add_argument("--basis", required=True, choices=["live", "demonstration"])

    def handle(self, *args: Any, **options: Any) -> None:
        """Settle it, now."""
        dispatch_id = options["dispatch_id"]
        try:
            dispatch = Dispatch.objects.select_related("obligation__program").get(dispatch_id=dispatch_id)
        except Dispatch.DoesNotExist:
            raise CommandError(f"dispatch {dispatch_id!r} is not known, accepted: one that was armed") from None
        if dispatch.obligation is None:
            raise CommandError(
                f"dispatch {dispatch_id!r} is a stream of our own, accepted: one that the market asked for"
            )
        try:
            statement = markets.settle_obligation(
                obligation=dispatch.obligation,
                shares=contracted_shares(dispatch_id=dispatch_id),
                basis=Basis(options["basis"]),
                at=timezone.now(),
            )
        except (NotSettleable, LiveSettlementRefused) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{dispatch_id}: {statement.amount} {statement.currency}, entry {statement.entry_hash}")
