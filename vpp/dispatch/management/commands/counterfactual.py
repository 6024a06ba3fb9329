"""Tell what others would have done for a service: estimates with bands, in no book."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from carbon.core.counterfactual import Band, Parameter, Service
from carbon.core.impact import ImpactStatement, impact_statement
from sites.output_files import OutputError, judge_outputs, write_json
from vpp.dispatch.impact import Delivered, dispatch_impact
from vpp.dispatch.impact_serializers import DispatchImpactSerializer, ImpactStatementSerializer


class Command(BaseCommand):
    """``manage.py counterfactual --obligation DISPATCH_ID`` or ``--power-kw P --energy-kwh E --window-h H``."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Name a settled obligation, or a service by its figures."""
        parser.add_argument("--obligation", metavar="DISPATCH_ID", help="a settled one")
        parser.add_argument("--power-kw", type=float, help="size of the service, more than 0")
        parser.add_argument("--energy-kwh", type=float, help="given to the grid; negative: taken from it")
        parser.add_argument("--window-h", type=float, help="how long the power stood ready")
        parser.add_argument("--takes", action="store_true", help="the service only takes power (high frequency)")
        parser.add_argument("--json", type=Path, metavar="OUT", help="write everything there as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Estimate, print, and write where asked."""
        delivered, statement, document = _asked(options)
        try:
            if options["json"] is not None:
                judge_outputs(options["json"])
                # Once through JSON: what is written is what the API answers.
                write_json(options["json"], json.loads(json.dumps(document, default=str)))
        except OutputError as error:
            raise CommandError(str(error)) from None
        for line in _lines(delivered, statement):
            self.stdout.write(line)


def _asked(options: dict[str, Any]) -> tuple[Delivered | None, ImpactStatement, Any]:
    figures = [options[name] for name in ("power_kw", "energy_kwh", "window_h")]
    dispatch_id = options["obligation"]
    given = sum(figure is not None for figure in figures)
    if given != (3 if dispatch_id is None else 0):
        raise CommandError("accepted: --obligation DISPATCH_ID, or --power-kw, --energy-kwh and --window-h together")
    if dispatch_id is not None:
        impact = dispatch_impact(dispatch_id=dispatch_id)
        if impact.delivered is None or impact.statement is None:
            raise CommandError(f"obligation {dispatch_id!r} is not known or not settled, accepted: a settled one")
        return impact.delivered, impact.statement, DispatchImpactSerializer(impact).data
    try:
        power_kw, energy_kwh, window_h = figures
        statement = impact_statement(Service(power_kw, energy_kwh, window_h, gives=not options["takes"]))
    except ValueError as error:
        raise CommandError(str(error)) from None
    return None, statement, ImpactStatementSerializer(statement).data


def _lines(delivered: Delivered | None, statement: ImpactStatement) -> Iterator[str]:
    if delivered is not None:
        yield (
            f"measured: {delivered.energy_kwh:.3f} kWh for {delivered.product}, "
            f"promised {delivered.promised_kw:.1f} kW, K {delivered.k_factor}, "
            f"{delivered.amount} {delivered.currency} ({delivered.basis})"
        )
    service = statement.service
    yield f"service: {service.power_kw:.1f} kW for {service.window_h:.3f} h, {service.energy_kwh:.3f} kWh"
    yield f"the fleet itself, charged again at the margin: {_band(statement.fleet_kg_co2e, 'kg CO2e')}"
    for parameter in statement.fleet_parameters:
        yield _parameter(parameter)
    for alternative in statement.alternatives:
        other = alternative.counterfactual
        yield f"instead: {other.title}"
        yield f"  {other.units_name}: {_band(other.units, '')}"
        yield f"  ready after: {_band(other.ready_min, 'min')}"
        yield f"  fuel: {_band(other.fuel, other.fuel_unit)}"
        yield f"  carbon: {_band(other.kg_co2e, 'kg CO2e')}"
        yield f"  cost: {_band(other.cost_usd, 'USD')}"
        yield f"  avoided by the fleet: {_band(alternative.avoided_kg_co2e, 'kg CO2e')}"
        for parameter in other.parameters:
            yield _parameter(parameter)
    yield from statement.left_out
    yield statement.note


def _band(band: Band, unit: str) -> str:
    return f"{band.central:.1f} {unit}".rstrip() + f" ({band.low:.1f} to {band.high:.1f})"


def _parameter(parameter: Parameter) -> str:
    band = parameter.band
    return (
        f"    {parameter.name}: {band.central:g} {parameter.unit} ({band.low:g} to {band.high:g}), "
        f"{parameter.certainty}: {parameter.source}"
    )
