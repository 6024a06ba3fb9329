"""Say how a gateway's metrics become the contract's, and which sites it speaks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sites.registry.operations import map_gateway
from sites.wire.foreign import MapError

MAX_BYTES = 1_000_000


class Command(BaseCommand):
    """``manage.py map_gateway NAME rules.json --site SITE …``."""

    help = "Set the rules of a gateway that is not our own edge, and the sites that it speaks for (docs/wire.md)."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", help="name of the kind of gateway")
        parser.add_argument("rules", type=Path, help="JSON file with a list of rules; [] maps nothing yet")
        parser.add_argument("--site", action="append", default=[], help="site that it speaks for; may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and store."""
        path: Path = options["rules"]
        try:
            if path.stat().st_size > MAX_BYTES:
                raise CommandError(f"{path} has {path.stat().st_size} bytes, accepted: up to {MAX_BYTES}")
            rules = json.loads(path.read_text())
            sites = map_gateway(name=options["name"], rules=rules, site_ids=options["site"])
        except (OSError, ValueError, RecursionError) as error:
            raise CommandError(str(error) if isinstance(error, MapError) else f"{path}: {error}") from None
        self.stdout.write(f"gateway {options['name']}: {len(rules)} rules, {sites} sites")
