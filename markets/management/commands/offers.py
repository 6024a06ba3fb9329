"""From offer to award at a terminal: feeders, units, evidence, headroom, offers, awards, what is declared anew."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from markets.core.offering import OfferRefused
from markets.core.products import Basis, ProductError
from markets.core.scores.registry import score_recording
from markets.core.scores.score import ScoreError
from markets.measured_csv import MeasuredFileError, read_measured
from markets.models import Obligation, Program
from markets.offers import operations, queries, units
from markets.offers.forecast import Forecast
from markets.offers.models import AggregationUnit, Offer
from markets.queries import program_named
from sites.core.intervals import Interval, IntervalError
from sites.registry.operations import FeederRefused, set_feeder


class Command(BaseCommand):
    """``manage.py offers feeder|unit|qualify|headroom|submit|award|redeclare``."""

    help = "Feeders, units and their evidence, headroom, offers, awards, and what has to be declared anew."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        feeder = verbs.add_parser("feeder", help="set a feeder group's limits and put sites into it")
        feeder.add_argument("name")
        feeder.add_argument("--up-kw", type=float, required=True, help="most service into the grid, all sites together")
        feeder.add_argument("--down-kw", type=float, required=True, help="the same out of the grid")
        feeder.add_argument("--parent", help="the group that it stands in")
        feeder.add_argument("--site", action="append", default=[], help="may be given again")
        unit = verbs.add_parser("unit", help="make a unit of sites of one zone; without sites all enrolled ones")
        unit.add_argument("name")
        unit.add_argument("--program", required=True)
        unit.add_argument("--zone", required=True, help="grid zone, such as GB")
        unit.add_argument("--site", action="append", default=[], help="may be given again")
        qualify = verbs.add_parser("qualify", help="score a recorded test and keep it as evidence")
        qualify.add_argument("unit")
        qualify.add_argument("--record", type=Path, required=True, help="as score_response reads it")
        qualify.add_argument("--contract-kw", type=float, required=True)
        qualify.add_argument("--tested-at", required=True, help="ISO 8601 with offset")
        for name, text in (("headroom", "what may be offered, with and without margin"), ("submit", "offer a power")):
            verb = verbs.add_parser(name, help=text)
            verb.add_argument("unit")
            verb.add_argument("--start", required=True, help="ISO 8601 with offset")
            verb.add_argument("--end", required=True)
            verb.add_argument("--forecast", choices=[forecast.value for forecast in Forecast])
            if name == "submit":
                verb.add_argument("--kw", type=float, help="without it as many whole kW as can be sold")
                verb.add_argument("--price", required=True, help="currency/MW/h")
                verb.add_argument("--basis", choices=[basis.value for basis in Basis], default=Basis.LIVE.value)
        award = verbs.add_parser("award", help="note what the operator took of an offer")
        award.add_argument("offer", type=int)
        award.add_argument("--id", required=True, help="the operator's own")
        award.add_argument("--kw", type=float, required=True)
        award.add_argument("--price", required=True, help="currency/MW/h")
        redeclare = verbs.add_parser("redeclare", help="declare anew what can no longer be kept, or can again")
        redeclare.add_argument("--every", type=float, help="go on, so many seconds apart; 1 to 3600")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; tells what came of it as JSON, one object a line."""
        verb: Callable[[dict[str, Any]], None] = getattr(self, f"_{options['verb']}")
        try:
            verb(options)
        except (OfferRefused, ProductError, IntervalError, FeederRefused, MeasuredFileError, ScoreError) as error:
            raise CommandError(str(error)) from None
        except Program.DoesNotExist as error:
            raise CommandError(str(error)) from None
        except AggregationUnit.DoesNotExist:
            raise CommandError(f"unit {options['unit']!r} is not known, accepted: {_units()}") from None

    def _feeder(self, options: dict[str, Any]) -> None:
        group = set_feeder(
            name=options["name"], up_kw=options["up_kw"], down_kw=options["down_kw"], parent=options["parent"],
            site_ids=options["site"],
        )  # fmt: skip
        self._tell({"feeder": group.name, "up_kw": group.up_kw, "down_kw": group.down_kw, "sites": group.sites.count()})

    def _unit(self, options: dict[str, Any]) -> None:
        program = program_named(options["program"])
        sites = options["site"] or units.site_ids_for(program=program, grid_zone=options["zone"])
        unit = operations.create_unit(
            name=options["name"], program=program, grid_zone=options["zone"], site_ids=sites, at=timezone.now()
        )
        self._tell({"unit": unit.name, "product": program.product, "zone": unit.grid_zone, "sites": len(sites)})

    def _qualify(self, options: dict[str, Any]) -> None:
        contract_kw: float = options["contract_kw"]
        if not (math.isfinite(contract_kw) and contract_kw > 0.0):
            raise CommandError(f"--contract-kw is {contract_kw:g}, accepted: more than 0 [kW]")
        unit, path = units.unit_named(options["unit"]), options["record"]
        recording = read_measured(path, unit.product, contract_kw=contract_kw)
        scored = score_recording(unit.product, recording, contract_kw=contract_kw, baseline_kw=0.0)
        if scored.score.value is None:
            raise CommandError(f"{path}: nothing was due in the test, accepted: one in which the unit had to answer")
        row = operations.qualify_by_record(
            unit=unit, record=path.read_bytes(), score=Decimal(repr(scored.score.value)), contract_kw=contract_kw,
            tested_at=_instant(options["tested_at"], "--tested-at"), by=None, at=timezone.now(),
        )  # fmt: skip
        self._tell({"unit": unit.name, "score": str(row.score), "expires_at": row.expires_at, "sha256": row.reference})

    def _headroom(self, options: dict[str, Any]) -> None:
        unit = units.unit_named(options["unit"])
        found = queries.headroom(
            unit=unit, window=_window(options), at=timezone.now(), forecast=_forecast(options["forecast"])
        )
        self._tell(
            {
                "unit": unit.name, "gross_kw": round(found.gross_kw, 3), "net_kw": round(found.net_kw, 3),
                "margin": found.margin, "forecast": found.forecast, "sites": len(found.shares),
                "left_out": found.causes,
            }
        )  # fmt: skip

    def _submit(self, options: dict[str, Any]) -> None:
        offer = operations.submit_offer(
            unit=units.unit_named(options["unit"]), window=_window(options), quantity_kw=options["kw"],
            price=_price(options["price"]), basis=Basis(options["basis"]), by=None, at=timezone.now(),
            forecast=_forecast(options["forecast"]),
        )  # fmt: skip
        self._tell(
            {
                "offer": offer.pk, "unit": offer.unit.name, "quantity_kw": offer.quantity_kw,
                "gross_kw": round(offer.gross_kw, 3), "net_kw": round(offer.net_kw, 3), "forecast": offer.forecast,
                "basis": offer.basis,
            }
        )  # fmt: skip

    def _award(self, options: dict[str, Any]) -> None:
        offer = Offer.objects.filter(pk=options["offer"]).first()
        if offer is None:
            raise CommandError(f"offer {options['offer']} is not known, accepted: the number of an offer")
        award = operations.record_award(
            offer=offer, award_id=options["id"], quantity_kw=options["kw"], price=_price(options["price"]), by=None,
            at=timezone.now(),
        )  # fmt: skip
        obligation = Obligation.objects.get(offer=award.offer)
        self._tell({"award": award.award_id, "dispatch_id": obligation.dispatch_id, "owed_kw": obligation.power_kw})

    def _redeclare(self, options: dict[str, Any]) -> None:
        every_s = options["every"]
        if every_s is not None and not 1.0 <= every_s <= 3_600.0:
            raise CommandError(f"--every is {every_s:g}, accepted: 1 to 3600")
        while True:
            for row in operations.redeclare(at=timezone.now()):
                self._tell(
                    {
                        "offer": row.offer_id, "previous_kw": row.previous_kw, "quantity_kw": row.quantity_kw,
                        "reason": row.reason, "told": row.told,
                    }
                )  # fmt: skip
            if every_s is None:
                return
            time.sleep(every_s)

    def _tell(self, row: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(row, default=lambda value: value.isoformat()))


def _units() -> str:
    names = list(AggregationUnit.objects.values_list("name", flat=True)[:20])
    return ", ".join(names) or "none is set up; `manage.py offers unit` makes one"


def _window(options: dict[str, Any]) -> Interval:
    return Interval(_instant(options["start"], "--start"), _instant(options["end"], "--end"))


def _instant(text: str, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{name}: {error}, accepted: an ISO 8601 instant with its offset") from None
    if at.tzinfo is None:
        raise CommandError(f"{name} {text} has no offset, accepted: an ISO 8601 instant with it")
    return at


def _forecast(name: str | None) -> Forecast | None:
    return None if name is None else Forecast(name)


def _price(text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or abs(price) >= Decimal("1e10") or price != round(price, 4):
        raise CommandError(f"--price is {text!r}, accepted: a number of at most 4 decimals")
    return price
