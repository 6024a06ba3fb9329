"""manage.py verify_books: re-adds every book; exit 0 when all stands, 1 naming each faulty row."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.utils import OperationalError, ProgrammingError

from sites.ledger.audit import books_audit


class Command(BaseCommand):
    """Walk all books and say what is faulty."""

    help = "Re-hash, re-link, re-add and recalculate every entry of every book."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the report; exit 1 when a row is faulty."""
        try:
            report = books_audit()
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(
                f"the books cannot be read ({error}), accepted: a database that is there and was migrated"
                " (manage.py migrate); DATABASE_URL names it"
            ) from None
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict()))
        else:
            for book in report.books:
                self.stdout.write(
                    f"{book.book}: {book.entries} entries in {book.chains} chains, {book.recalculated} recalculated, "
                    f"{len(book.faults)} faulty, root {book.root}"
                )
            for fault in report.faults:
                self.stdout.write(str(fault))
            self.stdout.write("books verified" if report.verified else "books NOT verified")
        if not report.verified:
            sys.exit(1)
