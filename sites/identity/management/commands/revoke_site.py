"""End a site's identity: its certificates, tokens and open requests."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.identity import operations
from sites.registry.models import Site


class Command(BaseCommand):
    """``manage.py revoke_site SITE --reason TEXT``."""

    help = "Revoke a site's certificates; `manage.py keep_broker` carries it to the broker."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the site and why."""
        parser.add_argument("site", help="site id")
        parser.add_argument("--reason", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke; tell how many certificates ended."""
        site = Site.objects.filter(site_id=options["site"]).first()
        if site is None:
            raise CommandError(f"site {options['site'][:64]!r} is not in the registry")
        ended = operations.revoke_site(site=site, by="manage.py", reason=options["reason"], at=timezone.now())
        self.stdout.write(f"{site.site_id}: {ended} certificates revoked")
