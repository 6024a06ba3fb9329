"""Tell what a meter would have shown without an event, and what was saved: from a file, or from the meter book."""

from __future__ import annotations

import argparse
from datetime import UTC, date, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from markets.baseline_report import baseline_document, baseline_lines
from markets.core.baselines.local_days import LocalCalendar
from markets.core.baselines.meter import BaselineError, MeterPlace, MeterSeries
from markets.core.baselines.method import DEFAULT_GAP_SHARE, Inputs, Terms
from markets.core.baselines.registry import DEFAULT, METHODS, method_named
from markets.local_times import LocalTimeError, aware_instant, zone_named
from markets.meter_files import MeterFileError, Sign, read_days, read_meter, read_schedule
from markets.metered_power import metered_power
from sites.core.intervals import Interval, IntervalError
from sites.output_files import OutputError, judge_outputs, write_json
from sites.registry.models import Asset

READ_BACK: Final = timedelta(days=47)
"""Past the longest look-back, whole days before the event's start."""


class Command(BaseCommand):
    """``manage.py baseline --method NAME METER.csv --event START END``; ``--site ID [--asset NAME]`` for a file."""

    help = __doc__
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the meter's file, the event, the method and what its contract adds."""
        names = ", ".join(method.rule.name for method in METHODS)
        parser.add_argument("meter", type=Path, nargs="?", metavar="METER.csv", help="at,consumption_kw; with a header")
        parser.add_argument("--site", metavar="ID", help="read the meter book instead of a file")
        parser.add_argument("--asset", default="pcc", metavar="NAME", help="of the site; its connection unless said")
        parser.add_argument("--resolution-min", type=int, default=15, metavar="MIN", help="of readings from the book")
        parser.add_argument("--method", default=DEFAULT.rule.name, metavar="NAME", help=f"one of {names}")
        parser.add_argument("--event", nargs=2, required=True, metavar=("START", "END"), help="first instant, end")
        parser.add_argument("--zone", metavar="TZ", help="zone of the local days, and of times without one")
        parser.add_argument("--holidays", type=Path, metavar="FILE", help="one day a line")
        parser.add_argument("--event-day", action="append", default=[], metavar="DAY", help="another event's day")
        parser.add_argument("--json", type=Path, metavar="OUT", help="write everything there as JSON")
        parser.add_argument("--column", metavar="NAME", help="column of powers or energies, where there are several")
        parser.add_argument("--sign", choices=[sign.value for sign in Sign], default=Sign.CONSUMPTION.value)
        parser.add_argument(
            "--meter-at", choices=[place.value for place in MeterPlace], default=None, help="where the meter sits"
        )
        parser.add_argument("--max-gap-share", type=float, default=DEFAULT_GAP_SHARE, metavar="SHARE")
        parser.add_argument("--before", type=int, metavar="N", help="readings before the event that are averaged")
        parser.add_argument("--adjust", action=argparse.BooleanOptionalAction, default=None, help="same-day adjustment")
        parser.add_argument("--schedule", type=Path, metavar="FILE", help="declared plan: at,power_kw into the bus")
        parser.add_argument("--firm-kw", type=float, metavar="KW", help="consumption to stay under")
        parser.add_argument("--reference-kw", type=float, metavar="KW", help="consumption that drop-to counts from")
        parser.add_argument("--premise", type=Path, metavar="FILE", help="meter of the connection behind the device")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compute it, print it, and write it where asked."""
        try:
            if options["json"] is not None:
                judge_outputs(options["json"])
            method = method_named(options["method"])
            inputs = _inputs(options, method.rule.place)
            baseline = method.baseline(inputs)
            if options["json"] is not None:
                write_json(options["json"], baseline_document(baseline, inputs))
        except (BaselineError, MeterFileError, LocalTimeError, IntervalError, OutputError) as error:
            raise CommandError(str(error)) from None
        for line in baseline_lines(baseline, inputs):
            self.stdout.write(line)


def _inputs(options: dict[str, Any], usual_place: MeterPlace) -> Inputs:
    """Return what the method is asked, from the files and options that were named."""
    asset = _asset(options)
    name = options["zone"] or (asset.site.time_zone if asset else None)
    zone: tzinfo = zone_named(name) if name else UTC
    starts_at, ends_at = (aware_instant(text, zone=zone if name else None) for text in options["event"])
    place = MeterPlace(options["meter_at"] or usual_place)
    sign = Sign(options["sign"])
    event = Interval(starts_at, ends_at)
    schedule, premise, holidays = options["schedule"], options["premise"], options["holidays"]
    return Inputs(
        meter=(
            _from_book(asset, event, options["resolution_min"])
            if asset
            else read_meter(options["meter"], zone=name, column=options["column"], sign=sign, place=place)
        ),
        event=event,
        calendar=LocalCalendar(zone, read_days(holidays) if holidays else frozenset()),
        event_days=frozenset(_day(text) for text in options["event_day"]),
        terms=Terms(
            schedule=read_schedule(schedule, zone=name) if schedule else None,
            firm_kw=options["firm_kw"],
            reference_kw=options["reference_kw"],
            readings_before=options["before"],
            is_adjusted=options["adjust"],
            premise=read_meter(premise, zone=name, sign=sign) if premise else None,
        ),
        max_gap_share=options["max_gap_share"],
    )


def _asset(options: dict[str, Any]) -> Asset | None:
    """Return the asset whose meter is asked for, or None for a file."""
    if (options["meter"] is None) == (options["site"] is None):
        raise CommandError("accepted: METER.csv or --site ID, one of the two")
    if options["site"] is None:
        return None
    try:
        return Asset.objects.select_related("site").get(site__site_id=options["site"], name=options["asset"])
    except Asset.DoesNotExist:
        raise CommandError(
            f"site {options['site']!r} with asset {options['asset']!r} is not enrolled, accepted: an enrolled one"
        ) from None


def _from_book(asset: Asset, event: Interval, resolution_min: int) -> MeterSeries:
    """Return the asset's readings over every look-back, on a grid that has the event's start as a boundary."""
    if resolution_min < 1 or 60 % resolution_min:
        raise CommandError(f"--resolution-min {resolution_min}, accepted: a part of an hour, 1 to 60")
    return metered_power(
        asset=asset, period=Interval(event.starts_at - READ_BACK, event.ends_at), resolution_s=60 * resolution_min
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise LocalTimeError(f"--event-day {text[:40]!r}, accepted: a day such as 2026-12-25") from None
