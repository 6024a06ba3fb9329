"""What a product pays for, form by form: which prices each reads, and the lines that its periods come to.

A form is the arithmetic of a row's price rule in the catalogue, and as certain as that. What it says of several rows in
one line, such as that what was not delivered is not paid, is our reading of their penalties.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Final

from markets.core.prices import PriceInvalid, PriceTable
from markets.core.settled_periods import QUANTUM, PeriodFigures

WHOLE: Final = Decimal(1)
UNPAID_BELOW: Final = Decimal("0.25")
"""PJM: an hour with a lower score is unpaid."""
SMALL_DISTURBANCE: Final = Decimal("0.5")
LARGE_DISTURBANCE: Final = Decimal(10)
"""China, southern region: multiples of R1 for the action energy."""
BY_WEIGHT: Final = "weight"
"""Shared among the assets by contracted power x availability x own score."""
_PRECISION: Final = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One line; the lines of a run add up to its amount exactly."""

    name: str
    """Such as ``capacity``, ``energy`` or ``penalty``."""
    quantity: Decimal
    unit: str
    amount: Decimal
    """In the run's currency, rounded once; what is owed by the fleet is negative."""
    rule: str
    basis: str = ""
    """``live``, or ``demonstration`` with how certain the product's row is."""
    shared_by: str = BY_WEIGHT
    """What the assets' parts follow: their weight, or the name of a quantity of theirs."""


@dataclass(frozen=True, slots=True)
class PriceName:
    """A price that a form reads."""

    name: str
    unit: str
    """After the currency, such as ``/MW/h``; empty for a plain number."""
    is_optional: bool = False
    """A run without any has no such line; given for a part of the window it must be given for all of it."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What the prices are multiplied with."""

    product: str
    power_kw: Decimal
    """Contracted power [kW, > 0]."""


Lines = Callable[[Contract, Sequence[PeriodFigures], PriceTable], list[Line]]


@dataclass(frozen=True, slots=True)
class Payment:
    """One form of payment."""

    name: str
    prices: tuple[PriceName, ...]
    lines: Lines


def lines_by(form: str, contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    """Return the lines of a form over a window's periods, each amount rounded once.

    Raises PriceMissing naming product, price and period; PriceInvalid for a price that the form does not read.
    """
    payment = PAYMENTS[form]
    unread = sorted(prices.names - {price.name for price in payment.prices})
    if unread:
        accepted = ", ".join(price.name for price in payment.prices) or "none"
        raise PriceInvalid(
            f"product {contract.product!r} does not read price {', '.join(unread)}, accepted: {accepted}"
        )
    with localcontext() as context:
        context.prec = _PRECISION
        return payment.lines(contract, periods, prices)


def _hours(figures: PeriodFigures) -> Decimal:
    duration = figures.period.duration
    return (Decimal(duration.days * 86_400 + duration.seconds) + Decimal(duration.microseconds) / 1_000_000) / 3600


def _mw_h(contract: Contract, figures: PeriodFigures) -> Decimal:
    return contract.power_kw / 1000 * _hours(figures)


def _line(name: str, quantity: Decimal, unit: str, amount: Decimal, rule: str, shared_by: str = BY_WEIGHT) -> Line:
    def rounded(value: Decimal) -> Decimal:
        # Negative nothing is nothing: the book's text has one zero.
        return value.quantize(QUANTUM, rounding=ROUND_HALF_EVEN) + 0

    return Line(name, rounded(quantity), unit, rounded(amount), rule, shared_by=shared_by)


def _capacity(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    """What stood ready is paid; the score takes the rest off. Where nothing was due nothing is taken off."""
    stood = paid = lost = scored = hours = Decimal(0)
    for figures in periods:
        price = prices.over("capacity", figures.period, contract.product)
        ready = _mw_h(contract, figures) * figures.available_ratio
        score = WHOLE if figures.score is None else figures.score
        stood, paid, lost = stood + ready, paid + price * ready, lost + price * ready * (score - 1)
        scored, hours = scored + score * _hours(figures), hours + _hours(figures)
    return [
        _line("capacity", stood * 1000, "kW h", paid, "price x power x time x availability"),
        _line("penalty", scored / hours, "score", lost, "capacity x (score - 1)"),
    ]


def _capacity_factors(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    """As capacity, where the score holds the availability already and must not count it twice."""
    sold = paid = lost = scored = hours = Decimal(0)
    for figures in periods:
        price = prices.over("capacity", figures.period, contract.product)
        mw_h = _mw_h(contract, figures)
        factor = figures.available_ratio if figures.score is None else figures.score
        sold, paid, lost = sold + mw_h, paid + price * mw_h, lost + price * mw_h * (factor - 1)
        scored, hours = scored + factor * _hours(figures), hours + _hours(figures)
    return [
        _line("capacity", sold * 1000, "kW h", paid, "price x power x time"),
        _line("penalty", scored / hours, "factor", lost, "capacity x (availability x performance - 1)"),
    ]


def _capacity_energy(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    return [*_capacity(contract, periods, prices), _energy_line(contract, periods, prices)]


def _regulation(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    """Hour by hour; the performance credit where its price is given, with the mileage ratio beside it."""
    has_performance = "performance" in prices.names
    capability = performance = unpaid = counted = moved = lost = Decimal(0)
    for figures in periods:
        score = Decimal(0) if figures.score is None else figures.score
        scored = _mw_h(contract, figures) * score
        credit = scored * prices.over("capacity", figures.period, contract.product)
        capability, counted = capability + credit, counted + scored
        if has_performance:
            ratio = prices.over("mileage_ratio", figures.period, contract.product)
            by_miles = scored * ratio * prices.over("performance", figures.period, contract.product)
            performance, moved, credit = performance + by_miles, moved + scored * ratio, credit + by_miles
        if score < UNPAID_BELOW:
            unpaid, lost = unpaid - credit, lost + _hours(figures)
    lines = [_line("capability", counted * 1000, "kW h", capability, "price x power x time x score")]
    if has_performance:
        rule = "price x power x time x score x mileage ratio"
        lines.append(_line("performance", moved * 1000, "kW h", performance, rule))
    return [*lines, _line("penalty", lost, "h", unpaid, f"hours with a score below {UNPAID_BELOW} are unpaid")]


def _mileage(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    paid = miles = Decimal(0)
    for figures in periods:
        mileage, k = figures.quantities["mileage_mw"], figures.quantities["k"]
        paid += mileage * k * prices.over("mileage", figures.period, contract.product)
        miles += mileage * k
    return [_line("mileage", miles, "MW x k", paid, "price x mileage x k", "mileage_mw")]


def _action_energy(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    """Energy beyond 70 % of the theoretical one; which periods had a large disturbance the operator says."""
    energies, amounts = [Decimal(0), Decimal(0)], [Decimal(0), Decimal(0)]
    for figures in periods:
        is_large = "large_disturbance" in prices.names and bool(
            prices.over("large_disturbance", figures.period, contract.product)
        )
        action = figures.quantities["action_kwh"]
        r1 = prices.over("r1", figures.period, contract.product)
        energies[is_large] += action
        amounts[is_large] += action / 1000 * r1 * (LARGE_DISTURBANCE if is_large else SMALL_DISTURBANCE)
    return [
        _line(name, energy, "kWh", amount, f"energy above 70 % of theoretical x {times} R1", "action_kwh")
        for name, energy, amount, times in (
            ("small disturbances", energies[0], amounts[0], SMALL_DISTURBANCE),
            ("large disturbances", energies[1], amounts[1], LARGE_DISTURBANCE),
        )
    ]


def _energy(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    lines = [_energy_line(contract, periods, prices)]
    if "imbalance" in prices.names:
        lines.append(
            _charge("imbalance", "deviation_kwh", "deviation from the plan x price", contract, periods, prices)
        )
    return lines


def _limit(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> list[Line]:
    lines = _capacity_factors(contract, periods, prices) if "capacity" in prices.names else []
    return [*lines, _charge("excess", "excess_kwh", "energy above the limit x price", contract, periods, prices)]


def _unpaid(_contract: Contract, periods: Sequence[PeriodFigures], _prices: PriceTable) -> list[Line]:
    given = sum((figures.quantities["delivered_kwh"] for figures in periods), Decimal(0))
    return [_line("duty", given, "kWh", Decimal(0), "a duty that is not paid")]


def _energy_line(contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable) -> Line:
    given = paid = Decimal(0)
    for figures in periods:
        energy = figures.quantities["delivered_kwh"]
        given += energy
        paid += energy / 1000 * prices.over("energy", figures.period, contract.product)
    return _line("energy", given, "kWh", paid, "energy above the baseline x price", "delivered_kwh")


def _charge(
    name: str, quantity: str, rule: str, contract: Contract, periods: Sequence[PeriodFigures], prices: PriceTable
) -> Line:
    counted = owed = Decimal(0)
    for figures in periods:
        counted += figures.quantities[quantity]
        owed -= figures.quantities[quantity] / 1000 * prices.over(name, figures.period, contract.product)
    return _line(name, counted, "kWh", owed, rule, quantity)


_CAPACITY_PRICE: Final = PriceName("capacity", "/MW/h")
CATALOGUE_PRICE: Final = "availability-k"
"""NESO's form: the price stands in the catalogue, K is that of the window's worst error (``markets.core.lines``)."""

PAYMENTS: Final[dict[str, Payment]] = {
    payment.name: payment
    for payment in (
        Payment("capacity", (_CAPACITY_PRICE,), _capacity),
        Payment("capacity-factors", (_CAPACITY_PRICE,), _capacity_factors),
        Payment("capacity-energy", (_CAPACITY_PRICE, PriceName("energy", "/MWh")), _capacity_energy),
        Payment(
            "regulation",
            (
                _CAPACITY_PRICE,
                PriceName("performance", "/MW/h", is_optional=True),
                PriceName("mileage_ratio", "", is_optional=True),
            ),
            _regulation,
        ),
        Payment("mileage", (PriceName("mileage", "/MW"),), _mileage),
        Payment(
            "action-energy",
            (PriceName("r1", "/MWh"), PriceName("large_disturbance", "", is_optional=True)),
            _action_energy,
        ),
        Payment("energy", (PriceName("energy", "/MWh"), PriceName("imbalance", "/MWh", is_optional=True)), _energy),
        Payment(
            "limit",
            (PriceName("excess", "/MWh"), PriceName("capacity", "/MW/h", is_optional=True)),
            _limit,
        ),
        Payment("unpaid", (), _unpaid),
    )
}
