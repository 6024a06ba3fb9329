"""Register a client of our OpenADR 3 VTN: business logic, or a VEN with its targets; the secret is shown once."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from rest_framework.exceptions import APIException

from markets.openadr.vtn3 import operations
from markets.openadr.vtn3.kinds import Role


class Command(BaseCommand):
    """`manage.py make_openadr_client`."""

    help = "Register a client of our OpenADR 3 VTN, and show its secret once; or revoke one."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read the command line."""
        parser.add_argument("name", help="the client's name, such as the VEN's")
        parser.add_argument("--role", choices=[role.value for role in Role], default=Role.VEN.value)
        parser.add_argument("--ven", metavar="VEN_NAME", default="", help="make its ven object too")
        parser.add_argument("--target", action="append", default=[], help="grant this target; may be given again")
        parser.add_argument("--revoke", action="store_true", help="take the client and its tokens away")

    def handle(self, *args: Any, **options: Any) -> None:
        """Register or revoke; what is printed is JSON."""
        name, role = options["name"], Role(options["role"])
        if options["revoke"]:
            if not operations.revoke_client(name=name):
                raise CommandError(f"there is no client named {name!r}")
            self.stdout.write(json.dumps({"revoked": name}))
            return
        if options["target"] and not options["ven"]:
            raise CommandError("--target is granted to a ven, accepted: together with --ven")
        if options["ven"] and role is not Role.VEN:
            raise CommandError("--ven is for a client of the role ven")
        try:
            client_id, secret = operations.make_client(
                name=name, role=role, at=timezone.now(), ven_name=options["ven"], targets=options["target"]
            )
        except APIException as error:
            raise CommandError(str(error.detail)) from None
        self.stdout.write(json.dumps({"name": name, "role": role, "client_id": client_id, "client_secret": secret}))
