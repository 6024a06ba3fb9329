"""Enrol the sites of a manifest file for a program."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.registry import operations
from sites.registry.manifest import ManifestError


class Command(BaseCommand):
    """``manage.py enrol_sites FILE --program neso-dc-low``."""

    help = "Enrol the sites of a manifest (a JSON list, as `vpp-edge simulate --manifest` writes it); all or none."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file and the program."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--program", default="neso-dc-low", help="product that the sites serve")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, enrol, tell what was done."""
        path: Path = options["file"]
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            enrolled = operations.enrol_sites(manifest=manifest, program=options["program"], at=timezone.now())
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from None
        except ManifestError as error:
            raise CommandError(f"{path.name}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path.name} is not JSON: {error}") from None
        self.stdout.write(f"{enrolled.sites} sites: {enrolled.created} new, {enrolled.changed} changed")
