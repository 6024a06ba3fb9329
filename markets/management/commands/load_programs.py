"""Set up the programs agreed with grid operators that are missing."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from markets.core.baselines.meter import BaselineError
from markets.core.product import ProductError
from markets.core.program_seed import ProgramSeed
from markets.openadr.operators import ConfigurationInvalid, operators
from markets.operations import DEFAULT_PROGRAMS, ensure_programs


class Command(BaseCommand):
    """`manage.py load_programs`, `manage.py load_programs --product energy-dispatch --context URI --parts`."""

    help = "Set up the programs that VPP_OPERATORS declares, or without it the two of a trial, where they are missing."

    def add_arguments(self, parser: CommandParser) -> None:
        """Name one program instead."""
        parser.add_argument("--product", help="one program alone: row of the catalogue, and its name")
        parser.add_argument("--context", help="URI that names the program in the operator's events")
        parser.add_argument("--parts", action="store_true", help="a part of what is asked for may be accepted")
        parser.add_argument("--baseline-method", default="", help="what an instruction product is paid against")
        parser.add_argument("--emergency", action="store_true", help="its events go before economic ones")

    def handle(self, *args: Any, **options: Any) -> None:
        """Set them up and list them."""
        if bool(options["product"]) != bool(options["context"]):
            raise CommandError("--product and --context, accepted: both or none")
        try:
            for program in ensure_programs(seeds=_seeds(options)):
                self.stdout.write(f"{program.name} {program.market_context} sign {program.signal_sign:+d}")
        except (BaselineError, ConfigurationInvalid, ProductError) as error:
            raise CommandError(str(error)) from None


def _seeds(options: dict[str, Any]) -> list[ProgramSeed]:
    if options["product"]:
        return [
            ProgramSeed(
                options["product"],
                options["context"],
                allows_part=options["parts"],
                is_emergency=options["emergency"],
                baseline_method=options["baseline_method"],
            )
        ]
    if settings.OPERATORS_FILE:
        return [seed for config in operators() for seed in config.programs]
    return list(DEFAULT_PROGRAMS)
