"""Say which VENs may join our VTN, and list them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from markets.openadr.certificates import fingerprint_of
from markets.openadr.vtn20b import operations
from markets.openadr.vtn20b.models import DownstreamVen
from markets.openadr.vtn20b.operations import RequestInvalid


class Command(BaseCommand):
    """`manage.py vtn_vens add|remove|dismiss|list`."""

    help = "Register a VEN's certificate with our VTN (add), take it away (remove), end its registration, or list them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the four verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        add = verbs.add_parser("add", help="a known name gets the new certificate and keeps its registration")
        add.add_argument("name", help="the oadrVenName that it registers with")
        proof = add.add_mutually_exclusive_group(required=True)
        proof.add_argument("--cert", type=Path, help="its certificate (PEM)")
        proof.add_argument("--fingerprint", help="its OpenADR fingerprint AA:BB:…, where there is no certificate")
        proof.add_argument("--open", action="store_true", help="no certificate: served by run_vtn --plain alone")
        add.add_argument("--unsigned", action="store_true", help="it does not sign its messages (standard security)")
        for verb, text in (("remove", "forget it and all it said"), ("dismiss", "ask it to end its registration")):
            verbs.add_parser(verb, help=text).add_argument("name")
        verbs.add_parser("list", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; tells the VEN's row as JSON."""
        try:
            if options["verb"] == "add":
                self._tell(_added(options))
            elif options["verb"] == "remove":
                operations.remove_ven(name=options["name"])
            elif options["verb"] == "dismiss":
                operations.ask_to_leave(name=options["name"], at=timezone.now())
            else:
                for ven in DownstreamVen.objects.all():
                    self._tell(ven)
        except (RequestInvalid, OSError, ValueError) as error:
            raise CommandError(str(error)) from None

    def _tell(self, ven: DownstreamVen) -> None:
        told = {
            "ven_name": ven.ven_name,
            "ven_id": ven.ven_id,
            "security": ven.security,
            "fingerprint": ven.fingerprint,
            "registration_id": ven.registration_id,
            "push_url": ven.push_url,
            "heard_at": ven.heard_at.isoformat() if ven.heard_at else None,
        }
        self.stdout.write(json.dumps(told))


def _added(options: dict[str, Any]) -> DownstreamVen:
    security = DownstreamVen.Security.TLS if options["unsigned"] else DownstreamVen.Security.SIGNED
    fingerprint, sha256 = options["fingerprint"], ""
    if options["open"]:
        security = DownstreamVen.Security.OPEN
    if options["cert"]:
        certificate = x509.load_pem_x509_certificate(options["cert"].read_bytes())
        fingerprint = fingerprint_of(certificate)
        sha256 = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
    return operations.add_ven(
        name=options["name"], security=security, fingerprint=fingerprint, certificate_sha256=sha256, at=timezone.now()
    )
