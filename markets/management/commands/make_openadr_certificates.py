"""Write P-256 certificates for a loopback OpenADR pair into a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from markets.openadr.certificates import make_openadr_certificates


class Command(BaseCommand):
    """`manage.py make_openadr_certificates DIR`."""

    help = "Write an authority, a VTN and a VEN certificate into DIR and print their fingerprints as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the folder and the VEN's name."""
        parser.add_argument("folder", type=Path)
        parser.add_argument("--ven-name", default="open-vpp")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write them and print where."""
        pair = make_openadr_certificates(options["folder"], at=timezone.now(), ven_name=options["ven_name"])
        parties = {
            name: {"cert": str(one.cert), "key": str(one.key), "fingerprint": one.fingerprint}
            for name, one in (("vtn", pair.vtn), ("ven", pair.ven))
        }
        self.stdout.write(json.dumps({"ca": str(pair.ca), **parties}))
