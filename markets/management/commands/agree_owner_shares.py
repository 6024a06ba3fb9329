"""Put in force how an asset's money is split among its owners; what is left over is the aggregator's fee."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from markets.owners import WHOLE_PPM, AgreementRefused, agree_shares
from sites.registry.models import Site


class Command(BaseCommand):
    """``manage.py agree_owner_shares --site ID --from INSTANT --owner NAME=0.8``."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say for which site, from when on, and who gets how much."""
        parser.add_argument("--site", required=True)
        parser.add_argument("--from", dest="starts_at", required=True, help="ISO 8601 instant with its offset")
        parser.add_argument("--owner", action="append", required=True, metavar="NAME=SHARE", help="such as ann=0.8")

    def handle(self, *args: Any, **options: Any) -> None:
        """Put the agreement in force."""
        try:
            site = Site.objects.get(site_id=options["site"])
        except Site.DoesNotExist:
            raise CommandError(f"--site {options['site']!r} is not enrolled, accepted: an enrolled site") from None
        try:
            starts_at = datetime.fromisoformat(options["starts_at"])
        except ValueError as error:
            raise CommandError(f"--from: {error}, accepted: an ISO 8601 instant with its offset") from None
        if starts_at.tzinfo is None:
            raise CommandError(f"--from {options['starts_at']} has no offset, accepted: an ISO 8601 instant with it")
        named = dict(_share(text) for text in options["owner"])
        keys = dict(get_user_model().objects.filter(username__in=named).values_list("username", "pk"))
        unknown = sorted(set(named) - set(keys))
        if unknown:
            raise CommandError(f"--owner {', '.join(unknown)} is not known, accepted: users who own the site")
        try:
            agree_shares(
                site=site, shares_ppm={keys[name]: share for name, share in named.items()}, starts_at=starts_at
            )
        except AgreementRefused as error:
            raise CommandError(str(error)) from None
        fee = Decimal(WHOLE_PPM - sum(named.values())) / WHOLE_PPM
        self.stdout.write(f"{site.site_id}: {len(named)} owners from {starts_at.isoformat()}, aggregator's fee {fee}")


def _share(text: str) -> tuple[str, int]:
    name, _, share = text.rpartition("=")
    try:
        ppm = Decimal(share) * WHOLE_PPM
        whole = int(ppm)
    except (InvalidOperation, ValueError, OverflowError):
        raise CommandError(f"--owner {text!r}, accepted: NAME=SHARE, such as ann=0.8") from None
    if not name or whole != ppm or not 0 < whole <= WHOLE_PPM:
        raise CommandError(f"--owner {text!r}, accepted: a share of more than 0, up to 1, in millionths")
    return name, whole
