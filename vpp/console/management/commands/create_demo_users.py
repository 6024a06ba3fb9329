"""Make the demo's people, one a role, with random passwords that are printed once."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sites.registry.models import Site
from vpp.console.operations import SitesNotEnrolled, create_demo_users


class Command(BaseCommand):
    """``manage.py create_demo_users --demo [--owner-site ID …] [--json]``."""

    help = "Make the users dispatcher, auditor, desk and owner with new random passwords, printed once (needs --demo)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--demo", action="store_true", help="say that this database belongs to a demonstration")
        parser.add_argument("--owner-site", action="append", default=[], metavar="ID", help="a site of the owner's")
        parser.add_argument("--owner-sites", type=int, default=3, help="without --owner-site: the first N sites")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them and print what nobody can read again."""
        if not options["demo"]:
            raise CommandError("this resets the passwords of dispatcher, auditor, desk and owner; say --demo to do so")
        if not 0 <= options["owner_sites"] <= 200:
            raise CommandError(f"--owner-sites is {options['owner_sites']}, accepted: 0 to 200")
        owned = options["owner_site"] or list(
            Site.objects.order_by("site_id").values_list("site_id", flat=True)[: options["owner_sites"]]
        )
        try:
            passwords = create_demo_users(owned_site_ids=owned)
        except SitesNotEnrolled as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            people = {name: {"password": password} for name, password in passwords.items()}
            people["owner"]["sites"] = owned  # type: ignore[assignment]
            self.stdout.write(json.dumps(people))
            return
        for name, password in passwords.items():
            self.stdout.write(f"{name:<12}{password}")
        self.stdout.write(f"The owner has {', '.join(owned) or 'no sites yet'}.")
