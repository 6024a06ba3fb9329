"""Metering generator output: a sub-metered device against what it gives on days like this; export does not count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from markets.core.baselines.day_matching import DAYS_OFF, WEEKDAYS, DayChoice, DayMatching
from markets.core.baselines.meter import BaselineError, MeterPlace, MeterSeries
from markets.core.baselines.method import Baseline, BaselineInterval, Inputs, Rule, Terms, require_terms
from markets.core.product import Certainty


@dataclass(frozen=True, slots=True)
class GeneratorOutput:
    """The device's output over its typical output."""

    rule: Rule
    days: DayMatching
    reads: frozenset[str] = field(default=frozenset({"premise"}))

    def baseline(self, inputs: Inputs) -> Baseline:
        """Return the device's typical consumption: less than 0 where it typically gives.

        Raises BaselineError for a meter that is not the device's, or a premise meter on another grid of instants.
        """
        require_terms(self, inputs.terms.given())
        if inputs.meter.place is not MeterPlace.DEVICE:
            raise BaselineError(
                f"method {self.rule.name!r} reads a meter at the {inputs.meter.place}, accepted: the one at the device"
            )
        output = counted_output(inputs.meter, inputs.terms.premise)
        typical = self.days.baseline(
            Inputs(output, inputs.event, inputs.calendar, inputs.event_days, Terms(), inputs.max_gap_share)
        )
        note = (
            "output that left the site as export is not counted"
            if inputs.terms.premise is not None
            else "no meter of the connection was given: what left the site as export is counted too"
        )
        # The days' machinery saw output; here it is consumption again, so what is saved keeps its sign.
        intervals = tuple(
            BaselineInterval(
                row.period, 0.0 - row.baseline_kw, None if row.measured_kw is None else 0.0 - row.measured_kw
            )
            for row in typical.intervals
        )
        return Baseline(self.rule, intervals, typical.days_used, typical.days_excluded, notes=(note,))


def counted_output(device: MeterSeries, premise: MeterSeries | None) -> MeterSeries:
    """Return what a device gave to its own site [kW, >= 0]: charging is no output, export does not count.

    A reading that the premise meter lacks is a gap. Raises BaselineError when the premise meter's readings are of
    another length or off the device's grid.
    """
    output = np.maximum(-device.consumption_kw, 0.0)
    if premise is not None:
        offset = premise.position(device.starts_at)
        if premise.resolution_s != device.resolution_s or offset != round(offset):
            raise BaselineError(
                f"the premise meter reads every {premise.resolution_s} s from {premise.starts_at.isoformat()}, "
                f"accepted: on the device's grid, every {device.resolution_s} s from {device.starts_at.isoformat()}"
            )
        export = np.maximum(-premise.readings_kw(device.period), 0.0)
        output = np.maximum(output - export, 0.0)
    return device.with_consumption(output)


_RULE: Final = Rule(
    name="metering-generator-output",
    title="Metering generator output",
    text=(
        "The device's own output, without what was exported, less its mean output at the same clock times of the 10 "
        "last non-event weekdays (4 days off for an event on one) within 45 days; charging counts as no output."
    ),
    certainty=Certainty.MEMORY,
    source=(
        "export excluded, and made for batteries that cycle daily: CalCCA 2025, a cited page (V); days and look-back "
        "from memory of the California ISO's tariff (M)"
    ),
    aliases=("mgo", "generator-output"),
    place=MeterPlace.DEVICE,
)

METHOD: Final = GeneratorOutput(
    _RULE,
    DayMatching(
        rule=_RULE,
        choices=(DayChoice(WEEKDAYS, 10, 10), DayChoice(DAYS_OFF, 4, 4)),
        look_back_days=45,
        adjustment=None,
        reads=frozenset(),
    ),
)
