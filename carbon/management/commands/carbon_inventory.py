"""manage.py carbon_inventory: a site's day of steps as a carbon inventory, under the published names."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from carbon.core.inventory_day import InventoryError, Parameters, day_inventory
from carbon.inventory_files import COLUMNS, KEYS, read_parameters, read_steps
from sites.output_files import OutputError, judge_outputs, write_json


class Command(BaseCommand):
    """``manage.py carbon_inventory --steps STEPS.csv [--parameters PARAMETERS.json] [--json OUT]``."""

    help = "Compute flows by origin, both pools and both views over a table of steps; prints the totals as JSON."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take both tables and a place for the result."""
        parser.add_argument("--steps", type=Path, required=True, metavar="STEPS.csv", help=",".join(COLUMNS))
        parser.add_argument("--parameters", type=Path, metavar="PARAMETERS.json", help=", ".join(KEYS))
        parser.add_argument("--json", type=Path, metavar="OUT", help="write the totals there, too")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compute and print; nothing is written to a book."""
        try:
            judge_outputs(options["json"])
            parameters = Parameters() if options["parameters"] is None else read_parameters(options["parameters"])
            steps, step_h = read_steps(options["steps"])
            figures = day_inventory(steps, parameters, step_h=step_h).figures()
            if options["json"] is not None:
                write_json(options["json"], figures)
        except (InventoryError, OutputError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(json.dumps(figures, indent=1))
