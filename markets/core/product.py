"""What a row of the catalogue says: response, energy, data, score, price, penalty, each with how certain it is.

The rows stand in ``markets.core.catalogue``, one file a market; the technical responses in ``sites.core.curves``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from sites.core.curves import Direction, ResponseCurve, curve_named


class ProductError(ValueError):
    """A product that the catalogue does not hold, that is not in force, or that holds no price."""


class Certainty(StrEnum):
    """How a figure or a rule came into the catalogue."""

    VERIFIED = "V"
    """Read in a primary or cited page, or measured."""
    MEMORY = "M"
    """From memory of the primary document, or copied second-hand from it."""
    UNSURE = "U"

    @property
    def in_words(self) -> str:
        """The certainty as people read it."""
        return {"V": "read", "M": "from memory or second-hand", "U": "unsure"}[self.value]


class Kind(StrEnum):
    """What a delivery follows."""

    CURVE = "curve"
    """A droop or trigger on the local frequency, armed ahead of time."""
    SIGNAL = "signal"
    """A setpoint that the operator sends all the time."""
    INSTRUCTION = "instruction"
    """An order to deliver the contracted power, or a plan."""
    LIMIT = "limit"
    """A power that must not be exceeded."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One group of a row's facts in words."""

    text: str
    certainty: Certainty
    source: str


@dataclass(frozen=True, slots=True)
class DataDuty:
    """The record that proves a delivery."""

    rate_hz: float
    """Least rate of the record [Hz]; a slower one is not scored."""
    missing: str
    """What counts where the record has a gap."""
    rule: Rule


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """How a delivery is scored."""

    name: str
    """Key in ``markets.core.scores.registry``."""
    rule: Rule
    parameters: Mapping[str, float] = field(hash=False)
    """Figures in which rows of the same rule differ; the rule's own module says what they are."""


@dataclass(frozen=True, slots=True)
class PriceRule:
    """What is paid for."""

    currency: str
    """ISO 4217."""
    settlement_period_s: float
    """Length of what is priced and scored as one [s]."""
    rule: Rule
    form: str
    """Key in ``markets.core.payments``: what is counted and which prices it is multiplied with."""


@dataclass(frozen=True, slots=True)
class MinimumSize:
    """The least that may be offered."""

    power_kw: float
    """Contracted power of a unit [kW]."""
    rule: Rule


@dataclass(frozen=True, slots=True)
class AvailabilityPrice:
    """A published clearing price of one month."""

    month: date
    """First day of the month."""
    price_per_mw_h: Decimal
    """Availability price [currency/MW/h]; negative prices occur in some products."""
    certainty: Certainty
    source: str


@dataclass(frozen=True, slots=True)
class Product:
    """What a grid operator buys, as it stands in the catalogue between two days."""

    name: str
    title: str
    kind: Kind
    nominal_hz: float | None
    """Nominal frequency of the grid that buys it [Hz]; None: any."""
    direction: Direction
    """Low: power into the grid is sold; high: power out of it; both: a symmetric band."""
    curve_name: str | None
    """Row of ``sites.core.curves``; None where no curve is followed."""
    signal_period_s: float | None
    """Period of the operator's signal or plan [s]; None where none is sent."""
    full_within_s: float
    """Allowed time to the full power that is due [s]."""
    sustain_s: float
    """How long the full power is held at most [s]; sizes the energy behind the power."""
    response: Rule
    energy: Rule
    """Duration and limited reservoirs (LER)."""
    recovery: Rule
    """How energy may be taken back, and the state of energy that has to be kept."""
    data: DataDuty
    score: ScoreRule
    price: PriceRule
    penalty: Rule
    size: MinimumSize
    dispatch_prefix: str
    """Starts the dispatch ids that join the books, such as ``DC``."""
    source: str
    """Where the row as a whole comes from."""
    is_primary: bool = False
    """All of the row was read in the operator's own binding document, at its source."""
    effective_from: date | None = None
    """First day of the rule; None: not known."""
    effective_to: date | None = None
    """First day on which it does not hold any more; None: in force."""
    prices: tuple[AvailabilityPrice, ...] = ()

    @property
    def groups(self) -> dict[str, Rule]:
        """The row's facts by group."""
        return {
            "response": self.response,
            "energy": self.energy,
            "recovery": self.recovery,
            "data": self.data.rule,
            "score": self.score.rule,
            "price": self.price.rule,
            "penalty": self.penalty,
            "size": self.size.rule,
        }

    @property
    def sign(self) -> int:
        """+1 where power into the grid is sold, -1 where power out of it is, 0 where both are."""
        return {Direction.LOW: 1, Direction.HIGH: -1, Direction.BOTH: 0}[self.direction]

    @property
    def certainty(self) -> Certainty:
        """The certainty of the row as a whole: that of its least certain group."""
        return max((rule.certainty for rule in self.groups.values()), key=_ORDER.index)

    @property
    def is_settled_live(self) -> bool:
        """Whether the row is certain enough for real money."""
        return self.is_primary and self.certainty is Certainty.VERIFIED

    def is_in_force(self, day: date) -> bool:
        """Return whether the row holds on a day."""
        return (self.effective_from or date.min) <= day and (self.effective_to is None or day < self.effective_to)

    @property
    def score_certainty(self) -> Certainty:
        """The certainty of the score's rule."""
        return self.score.rule.certainty

    @property
    def currency(self) -> str:
        """What it is paid in, ISO 4217."""
        return self.price.currency

    @property
    def price_basis(self) -> str:
        """What is paid for, in words."""
        return self.price.rule.text

    @property
    def curve(self) -> ResponseCurve:
        """The technical response; raise ProductError for a product without a curve."""
        if self.curve_name is None:
            raise ProductError(
                f"product {self.name!r} follows no curve (it is of kind {self.kind.value}), accepted: one of kind curve"
            )
        return curve_named(self.curve_name)


_ORDER: Final = (Certainty.VERIFIED, Certainty.MEMORY, Certainty.UNSURE)


def cited(text: str, source: str) -> Rule:
    """Return a rule that was read where the source says."""
    return Rule(text, Certainty.VERIFIED, source)


def remembered(text: str, source: str = "from memory") -> Rule:
    """Return a rule from memory of the primary document, or second-hand."""
    return Rule(text, Certainty.MEMORY, source)


def unsure(text: str, source: str = "no document at hand") -> Rule:
    """Return a rule that this project works with until the document is read."""
    return Rule(text, Certainty.UNSURE, source)


def curve_words(curve_name: str) -> str:
    """Return a curve's points and times in words."""
    curve = curve_named(curve_name)
    points = ", ".join(f"{share:.0%} at {deviation:g} Hz" for deviation, share in curve.points)
    start = f"starts within {curve.initiate_within_s:g} s, " if curve.initiate_within_s != curve.full_within_s else ""
    return f"{points}; {start}full within {curve.full_within_s:g} s"
