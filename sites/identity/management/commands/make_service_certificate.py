"""Make the key and certificate of the broker or of one of the platform's services."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.core.certificates import key_pem, new_key
from sites.identity.authority import Authority, AuthorityError
from sites.identity.files import write_private, write_public
from sites.identity.rights import SERVICE_NAMES


class Command(BaseCommand):
    """``manage.py make_service_certificate vpp.ingest --folder DIR``, or ``broker --host NAME``."""

    help = "Write NAME.pem and NAME.key, signed by the folder's service-ca; replaces earlier ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose it is and, for the broker, under which names it is reached."""
        parser.add_argument("name", choices=("broker", *SERVICE_NAMES))
        parser.add_argument("--folder", type=Path, required=True, help="where make_site_ca wrote, and where to write")
        parser.add_argument("--host", action="append", default=[], help="the broker's host name or address, repeatable")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sign a new key."""
        name, folder, hosts = options["name"], options["folder"], options["host"]
        if (name == "broker") is not bool(hosts):
            raise CommandError("--host, accepted: once or more for broker, never for a service")
        try:
            authority = Authority.load(folder / "service-ca.pem", folder / "service-ca.key")
            key = new_key()
            if hosts:
                made = authority.broker_certificate(key.public_key(), hosts=hosts, at=timezone.now())
            else:
                made = authority.service_certificate(key.public_key(), name=name, at=timezone.now())
            write_private(folder / f"{name}.key", key_pem(key))
            write_public(folder / f"{name}.pem", made.public_bytes(serialization.Encoding.PEM))
        except (AuthorityError, OSError, ValueError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{folder / name}.pem and .key, valid until {made.not_valid_after_utc:%Y-%m-%d}")
