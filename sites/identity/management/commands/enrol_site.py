"""Give one site the token with which it asks for its certificate."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.identity import configured, operations
from sites.registry.manifest import ManifestError
from sites.registry.models import Site
from sites.registry.operations import enrol_sites


class Command(BaseCommand):
    """``manage.py enrol_site SITE``."""

    help = "Print a one-time enrolment token for a site; with --manifest the site is put into the registry first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the site, and for a new one what it is."""
        parser.add_argument("site", help="site id")
        parser.add_argument("--manifest", type=Path, help="a manifest that holds this site, for a new one")
        parser.add_argument("--program", default="neso-dc-low", help="product that a new site serves")
        parser.add_argument("--hours", type=float, help="how long the token is valid, 0.01 to 720")

    def handle(self, *args: Any, **options: Any) -> None:
        """Enrol if asked to, then issue the token."""
        at, site_id = timezone.now(), options["site"]
        hours = options["hours"]
        if hours is not None and not 0.01 <= hours <= 720.0:
            raise CommandError(f"--hours is {hours:g}, accepted: 0.01 to 720")
        if options["manifest"] is not None:
            self._enrol(options["manifest"], site_id, options["program"])
        site = Site.objects.filter(site_id=site_id).first()
        if site is None:
            raise CommandError(
                f"site {site_id[:64]!r} is not in the registry, accepted: an enrolled one, or --manifest"
            )
        valid_for = configured.token_life() if hours is None else timedelta(hours=hours)
        token = operations.issue_token(site=site, by="manage.py", at=at, valid_for=valid_for)
        self.stdout.write(token)
        self.stderr.write(
            f"{site_id}: the token above is valid until {at + valid_for:%Y-%m-%d %H:%M} UTC, once. At the site:\n"
            f"  vpp-edge enrol --config FILE --url https://THIS-PLATFORM   (it asks for the token)"
        )

    def _enrol(self, path: Path, site_id: str, program: str) -> None:
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            rows = manifest if isinstance(manifest, list) else []
            own = [row for row in rows if isinstance(row, dict) and row.get("site_id") == site_id]
            if not own:
                raise CommandError(f"{path.name} does not hold site {site_id[:64]!r}")
            enrol_sites(manifest=own, program=program, at=timezone.now())
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from None
        except ManifestError as error:
            raise CommandError(f"{path.name}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path.name} is not JSON: {error}") from None
