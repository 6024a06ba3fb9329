"""Make the two private authorities: one for sites, one for the broker and the platform's services."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.identity.authority import Authority, AuthorityError

AUTHORITIES = {"site-ca": "Open VPP sites", "service-ca": "Open VPP services"}


class Command(BaseCommand):
    """``manage.py make_site_ca --folder DIR``."""

    help = "Write site-ca.pem, service-ca.pem and their keys (mode 0600) into a folder; never over existing ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the folder."""
        parser.add_argument("--folder", type=Path, required=True)
        parser.add_argument("--if-absent", action="store_true", help="well when both are there already, and usable")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make both; tell where they are."""
        folder: Path = options["folder"]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            if options["if_absent"] and any((folder / f"{stem}.key").exists() for stem in AUTHORITIES):
                for stem in AUTHORITIES:
                    Authority.load(folder / f"{stem}.pem", folder / f"{stem}.key")
                self.stdout.write(f"{folder}: site-ca and service-ca are there")
                return
            for stem, name in AUTHORITIES.items():
                Authority.create(name, at=timezone.now()).save(folder / f"{stem}.pem", folder / f"{stem}.key")
        except (AuthorityError, OSError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"{folder}: site-ca and service-ca. Set VPP_SITE_CA_CERT and VPP_SITE_CA_KEY where certificates are\n"
            "signed and VPP_BROKER_CA=service-ca.pem for the pages; keep both keys off every other machine."
        )
