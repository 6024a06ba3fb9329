"""Prices given from outside, each with its time and its source; one that is missing is an error, never zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final

from markets.core.product import Certainty, ProductError
from sites.core.intervals import Interval
from sites.ledger.chain import instant_text

MOST_SIZE: Final = Decimal(10) ** 9
"""A price of more than this is in another unit."""


class PriceInvalid(ProductError):
    """A price that cannot be read or contradicts another; the message says what is accepted."""


class PriceMissing(ProductError):
    """No price for a part of a settlement; the message names product, price and period."""


@dataclass(frozen=True, slots=True)
class Price:
    """One figure of one name over a half-open period."""

    name: str
    """Such as ``capacity``; the product's form of payment says which it reads."""
    period: Interval
    value: Decimal
    """In the unit that the form of payment gives the name; may be negative."""
    certainty: Certainty
    source: str

    def __post_init__(self) -> None:
        if not self.value.is_finite() or abs(self.value) > MOST_SIZE:
            raise PriceInvalid(
                f"price {self.name!r} is {self.value}, accepted: a finite number up to {MOST_SIZE} in size"
            )
        if not self.source.strip():
            raise PriceInvalid(f"price {self.name!r} has no source, accepted: where it was read")


class PriceTable:
    """The prices of one settlement, by name and time."""

    def __init__(self, prices: Iterable[Price]) -> None:
        """Take prices in any order; raise PriceInvalid where two of one name share time."""
        self.prices = tuple(sorted(prices, key=lambda price: (price.name, price.period.starts_at)))
        for before, after in pairwise(self.prices):
            if before.name == after.name and after.period.starts_at < before.period.ends_at:
                raise PriceInvalid(
                    f"price {after.name!r} is given twice at {after.period.starts_at.isoformat()}, accepted: once"
                )
        self._by_name: dict[str, list[Price]] = {}
        for price in self.prices:
            self._by_name.setdefault(price.name, []).append(price)

    @property
    def names(self) -> frozenset[str]:
        """What is priced."""
        return frozenset(self._by_name)

    @property
    def edges(self) -> tuple[datetime, ...]:
        """The instants at which a price begins or ends."""
        return tuple(sorted({at for price in self.prices for at in (price.period.starts_at, price.period.ends_at)}))

    def over(self, name: str, period: Interval, product: str) -> Decimal:
        """Return the price that holds all of a period; raise PriceMissing naming product, price and period."""
        for price in self._by_name.get(name, ()):
            if price.period.starts_at <= period.starts_at and period.ends_at <= price.period.ends_at:
                return price.value
        raise PriceMissing(
            f"product {product!r} has no price {name!r} from {period.starts_at.isoformat()} to "
            f"{period.ends_at.isoformat()}, accepted: one that holds all of it, with its source"
        )

    def within(self, window: Interval) -> PriceTable:
        """Return what holds at some time of a window."""
        return PriceTable(price for price in self.prices if price.period.overlap(window) is not None)

    def facts(self) -> list[dict[str, str]]:
        """Return the table as book text."""
        return [
            {
                "name": price.name,
                "starts_at": instant_text(price.period.starts_at),
                "ends_at": instant_text(price.period.ends_at),
                "value": str(price.value),
                "certainty": price.certainty.value,
                "source": price.source,
            }
            for price in self.prices
        ]


def table_of_facts(facts: Iterable[Mapping[str, Any]]) -> PriceTable:
    """Return a table from its book text."""
    return PriceTable(
        Price(
            row["name"],
            Interval(datetime.fromisoformat(row["starts_at"]), datetime.fromisoformat(row["ends_at"])),
            Decimal(row["value"]),
            Certainty(row["certainty"]),
            row["source"],
        )
        for row in facts
    )


def number_of(text: str, name: str) -> Decimal:
    """Return a figure from text; raise PriceInvalid for what is none."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise PriceInvalid(f"price {name!r} is {text!r}, accepted: a decimal number such as 12.5") from None
    if not value.is_finite():
        raise PriceInvalid(f"price {name!r} is {text!r}, accepted: a finite number")
    return value


def price_of(text: str, window: Interval, source: str) -> Price:
    """Return the price of ``NAME=VALUE``, which holds over a whole window; raise PriceInvalid for another form."""
    name, mark, value = text.partition("=")
    if not mark or not name.strip():
        raise PriceInvalid(f"price {text!r}, accepted: NAME=VALUE such as capacity=12.5")
    period = Interval(window.starts_at.astimezone(UTC), window.ends_at.astimezone(UTC))
    return Price(name.strip(), period, number_of(value, name.strip()), Certainty.UNSURE, source)
