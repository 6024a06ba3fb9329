"""Score a measured response by its product's rule."""

from __future__ import annotations

import json
import math
from argparse import RawDescriptionHelpFormatter
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from markets.core.products import ProductError, product_named
from markets.core.scores.registry import Scored, score_recording
from markets.core.scores.score import Component, ScoreError
from markets.measured_csv import MeasuredFileError, read_measured
from sites.output_files import OutputError, write_json

DESCRIPTION = """\
Score a measured response by its product's rule.

MEASURED.csv has the columns t_s,frequency_hz,power_kw[,signal], one row a sample at equal steps:
  t_s           seconds from anywhere, rising; rows that are left out are gaps, and count as the product says
  frequency_hz  local frequency, 50 or 60 Hz by the product
  power_kw      power INTO the grid is positive [kW]: discharging a battery, consuming less
  signal        for products that follow one: -1 to 1 of the contract, positive into the grid (in the product's own
                direction where it has one); 1 while an instruction holds; the limit, 0 to 1, of a power limit

Products, their rates and rules: manage.py products [NAME].
"""


class Command(BaseCommand):
    """``manage.py score_response --product NAME --contract-kw P MEASURED.csv [--json OUT]``."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the product, the contract and the files."""
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.description = DESCRIPTION
        parser.add_argument("measured", metavar="MEASURED.csv", type=Path)
        parser.add_argument("--product", required=True, help="row of the catalogue, such as neso-dc-low")
        parser.add_argument("--contract-kw", required=True, type=float, metavar="P", help="power sold [kW, > 0]")
        parser.add_argument(
            "--baseline-kw", default=0.0, type=float, help="power without the service, into the grid positive (0)"
        )
        parser.add_argument("--at", metavar="DATE", help="by the rule in force on that day; without it, the newest")
        parser.add_argument("--json", type=Path, metavar="OUT", help="write here; printed without it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Score it."""
        contract_kw, baseline_kw = options["contract_kw"], options["baseline_kw"]
        if not (math.isfinite(contract_kw) and contract_kw > 0.0):
            raise CommandError(f"--contract-kw is {contract_kw:g}, accepted: more than 0 [kW]")
        if not math.isfinite(baseline_kw):
            raise CommandError(f"--baseline-kw is {baseline_kw:g}, accepted: a finite power [kW]")
        path: Path = options["measured"]
        try:
            product = product_named(options["product"], _day(options["at"]))
            recording = read_measured(path, product, contract_kw=contract_kw)
            scored = score_recording(product, recording, contract_kw=contract_kw, baseline_kw=baseline_kw)
        except (ProductError, MeasuredFileError) as error:
            raise CommandError(str(error)) from None
        except ScoreError as error:
            raise CommandError(f"{path}: {error}") from None
        out: Path | None = options["json"]
        if out is None:
            self.stdout.write(json.dumps(as_json(scored), indent=2, allow_nan=False))
            return
        try:
            write_json(out, as_json(scored))
        except OutputError as error:
            raise CommandError(f"--json {error}") from None
        self.stdout.write(
            f"{product.name}: score {scored.score.value}, available {scored.available_ratio:.6g}, in {out}"
        )


def as_json(scored: Scored) -> dict[str, Any]:
    """Return a score in its published form."""
    return {
        "product": scored.product.name,
        "score": _rounded(scored.score.value),
        "components": {name: _rounded(value) for name, value in scored.score.components.items()}
        | {
            "rule": scored.product.score.name,
            "certainty": scored.product.score_certainty.value,
            "missing_data": scored.product.data.missing,
        },
        "available": _rounded(scored.available_ratio),
        "data_quality": {name: _rounded(value) for name, value in scored.quality.items()},
    }


def _rounded(value: Component) -> Component:
    return round(value, 9) if isinstance(value, float) else value


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--at is {text!r}, accepted: a day such as 2026-11-22") from None
