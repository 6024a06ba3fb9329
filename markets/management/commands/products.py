"""Print the catalogue of products, with how certain each group of a row is and where it comes from."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from markets.catalogue_text import as_json, as_lines, as_table
from markets.core.products import ROWS, Product, ProductError, product_named


class Command(BaseCommand):
    """``manage.py products [--json] [NAME] [--at DATE]``."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Name a product, a day, a form."""
        parser.add_argument("name", nargs="?", help="one product; all of them without it")
        parser.add_argument("--json", action="store_true", help="as JSON")
        parser.add_argument("--at", metavar="DATE", help="rows in force on that day, such as 2026-11-22")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print them."""
        day = _day(options["at"])
        rows = _rows(options["name"], day)
        if options["json"]:
            self.stdout.write(json.dumps([as_json(row) for row in rows], indent=2))
        elif options["name"]:
            self.stdout.write("\n\n".join(as_lines(row) for row in rows))
        else:
            self.stdout.write(as_table(rows))


def _rows(name: str | None, day: date | None) -> list[Product]:
    try:
        if name is None:
            return [row for row in ROWS if day is None or row.is_in_force(day)]
        if day is not None:
            return [product_named(name, day)]
        newest = product_named(name)
    except ProductError as error:
        raise CommandError(str(error)) from None
    return [newest, *(row for row in ROWS if row.name == name and row is not newest)]


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--at is {text!r}, accepted: a day such as 2026-11-22") from None
