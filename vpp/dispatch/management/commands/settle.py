"""Book what obligations came to: the first run, or a later one that reverses the last and books what is known now."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from markets import operations, queries
from markets.core.lines import lines_of
from markets.core.prices import PriceTable, price_of
from markets.core.products import Basis, ProductError
from markets.core.signal_course import SignalInvalid
from markets.given_files import GivenFileError, read_prices, read_signal
from markets.late import late_settlements
from markets.models import Obligation, Statement
from markets.settling import Computed, Given, NotMetered, NotSettleable, computed_run, is_changed, require_run
from markets.signals import keep_signal
from sites import output_files
from sites.core.intervals import Interval, IntervalError
from vpp.dispatch.models import Dispatch
from vpp.dispatch.queries import contracted_shares


class Command(BaseCommand):
    """``manage.py settle --obligation DC-1 --basis demonstration``; exit code 1 when one could not be settled."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Say which obligations, which run, and on what basis."""
        parser.add_argument("--obligation", help="dispatch id of one obligation, such as DC-1")
        parser.add_argument("--from", dest="starts_at", help="with --to: obligations that ended since; ISO 8601")
        parser.add_argument("--to", dest="ends_at", help="ISO 8601 instant with its offset, exclusive")
        parser.add_argument("--run", type=int, help="settlement run, from 1; without it the first one")
        parser.add_argument(
            "--late", action="store_true", help="the next run of those that late metering touches (with --from, --to)"
        )
        parser.add_argument("--basis", required=True, choices=[basis.value for basis in Basis])
        parser.add_argument("--accept-gaps", action="store_true", help="what is not metered counts as not delivered")
        parser.add_argument(
            "--price", action="append", default=[], metavar="NAME=VALUE",
            help="a price over the whole window, such as capacity=12.5; may be given again",
        )  # fmt: skip
        parser.add_argument("--price-source", default="", help="where the --price figures were read")
        parser.add_argument("--prices", type=Path, metavar="FILE", help="a table of prices with sources, CSV")
        parser.add_argument("--signal", type=Path, metavar="FILE", help="the operator's signal, CSV: at,value")
        parser.add_argument("--signal-source", default="", help="where the signal comes from")
        parser.add_argument("--dry-run", action="store_true", help="compute and print; book nothing")
        parser.add_argument("--json", type=Path, metavar="OUT", help="write the results there too")

    def handle(self, *args: Any, **options: Any) -> None:
        """Settle them one by one; those that cannot be are named at the end."""
        at = timezone.now()
        try:
            if options["json"]:
                output_files.judge_outputs(options["json"])
            self._settle(options, at)
        except output_files.OutputError as error:
            raise CommandError(f"--json {error}") from None

    def _settle(self, options: dict[str, Any], at: datetime) -> None:
        results = [self._settled(row, run, options, at) for row, run in _asked(options)]
        if options["json"]:
            output_files.write_json(options["json"], {"results": results})
        for result in results:
            self.stdout.write(_text_of(result))
        if not results:
            self.stdout.write("nothing to settle")
        refused = [result["error"] for result in results if "error" in result]
        if refused:
            raise CommandError("\n".join(refused))

    def _settled(self, obligation: Obligation, run: int, options: dict[str, Any], at: datetime) -> dict[str, Any]:
        dispatch_id, basis = obligation.dispatch_id, Basis(options["basis"])
        asked = {"dispatch_id": dispatch_id, "run": run}
        accept_gaps = options["accept_gaps"]
        try:
            held, last = require_run(obligation, run)
            if held is not None:
                return asked | {"outcome": "held"} | _statement(held)
            shares = contracted_shares(dispatch_id=dispatch_id)
            given = _given(options, obligation, at)
            if options["dry_run"]:
                computed = computed_run(obligation, shares, basis, at=at, accept_gaps=accept_gaps, run=run, given=given)
                if last is not None and not is_changed(computed, last):
                    return asked | {"outcome": "unchanged"} | _statement(last)
                return asked | {"outcome": "would book"} | _computed(computed, last)
            statement = operations.settle_obligation(
                obligation=obligation, shares=shares, basis=basis, at=at, accept_gaps=accept_gaps, run=run, given=given
            )
        except NotMetered as error:
            return asked | {"outcome": "waits", "error": str(error), "missing": error.gaps}
        except (NotSettleable, ProductError, GivenFileError, SignalInvalid) as error:
            return asked | {"outcome": "refused", "error": str(error)}
        outcome = "booked" if statement.run == run else "unchanged"
        return asked | {"outcome": outcome} | _statement(statement)


def _asked(options: dict[str, Any]) -> list[tuple[Obligation, int]]:
    """Return the obligations that were asked for with their runs."""
    if bool(options["obligation"]) == bool(options["starts_at"] or options["ends_at"]):
        raise CommandError("accepted: either --obligation, or --from with --to")
    if options["run"] is not None and options["run"] < 1:
        raise CommandError(f"--run is {options['run']}, accepted: 1 or more")
    if options["late"] and (options["run"] is not None or options["obligation"]):
        raise CommandError("--late takes the next run of each, accepted: with --from and --to alone")
    run = options["run"] or 1
    if options["obligation"]:
        return [(_obligation(options["obligation"]), run)]
    try:
        period = Interval(
            datetime.fromisoformat(options["starts_at"] or ""), datetime.fromisoformat(options["ends_at"] or "")
        )
    except (ValueError, IntervalError) as error:
        raise CommandError(f"--from, --to: {error}, accepted: ISO 8601 instants with their offset") from None
    if options["late"]:
        names = [late.fleet_entry.dispatch_id for late in late_settlements(period=period)]
        last = {name: queries.statement_of(dispatch_id=name) for name in names}
        return [(row.obligation, row.run + 1) for row in last.values() if row is not None]
    return [(row, run) for row in queries.obligations_ended(period=period)]


def _given(options: dict[str, Any], obligation: Obligation, at: datetime) -> Given:
    """Return prices and signal from the options; raise PriceInvalid, SignalInvalid or GivenFileError."""
    product = obligation.program.product
    prices = list(read_prices(options["prices"], product).prices) if options["prices"] else []
    prices += [price_of(text, obligation.window, options["price_source"]) for text in options["price"]]
    signal = None
    if options["signal"]:
        if not options["signal_source"]:
            raise SignalInvalid("--signal has no --signal-source, accepted: where the signal comes from")
        rows = read_signal(options["signal"])
        signal = keep_signal(rows=rows, source=options["signal_source"], at=at)
    return Given(PriceTable(prices), signal)


def _obligation(dispatch_id: str) -> Obligation:
    obligation = queries.obligation_named(dispatch_id=dispatch_id)
    if obligation is not None:
        return obligation
    if Dispatch.objects.filter(dispatch_id=dispatch_id).exists():
        raise CommandError(f"dispatch {dispatch_id!r} is a stream of our own, accepted: one that the market asked for")
    raise CommandError(f"obligation {dispatch_id!r} is not known, accepted: one that the market asked for")


def _statement(statement: Statement) -> dict[str, Any]:
    facts = queries.fleet_entry_facts(dispatch_id=statement.obligation.dispatch_id, run=statement.run)
    return {
        "stands": statement.run,
        "amount": str(statement.amount),
        "difference": str(statement.difference),
        "currency": statement.currency,
        "basis": statement.basis,
        "entry_hash": statement.entry_hash,
        "lines": _lines(facts) if facts else [],
    }


def _computed(computed: Computed, last: Statement | None) -> dict[str, Any]:
    return {
        "amount": str(computed.total),
        "difference": str(computed.total - (last.amount if last else Decimal(0))),
        "currency": computed.terms["currency"],
        "basis": computed.terms["basis"],
        "lines": _lines(computed.fleet_facts),
    }


def _lines(facts: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "name": line.name,
            "quantity": str(line.quantity),
            "unit": line.unit,
            "amount": str(line.amount),
            "rule": line.rule,
            "basis": line.basis,
        }
        for line in lines_of(facts)
    ]


def _text_of(result: dict[str, Any]) -> str:
    head = f"{result['dispatch_id']} run {result['run']}: {result['outcome']}"
    if "error" in result:
        return head
    if result["outcome"] == "unchanged":
        return f"{head}; run {result['stands']} stands with {result['amount']} {result['currency']}, nothing is booked"
    lines = ", ".join(f"{line['name']} {line['amount']}" for line in result["lines"])
    text = f"{head} {result['amount']} {result['currency']} ({lines}; {result['basis']})"
    if result["run"] > 1:
        text += f", difference {result['difference']}"
    return f"{text}, entry {result['entry_hash']}" if "entry_hash" in result else text
