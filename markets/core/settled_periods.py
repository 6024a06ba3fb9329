"""What one settlement period of a delivery came to, in exact numbers; periods follow the clock and the prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Any, Final

import numpy as np

from markets.core.delivery import Delivery
from markets.core.product import Kind, Product
from markets.core.scores import china_agc, excursions
from markets.core.scores.registry import score_delivery
from markets.core.scores.score import Score
from sites.core.curves import FloatArray
from sites.core.intervals import Interval
from sites.ledger.chain import instant_text

QUANTUM: Final = Decimal("0.000001")
"""Smallest amount in the book [currency] and its smallest figure: a minute of a few kilowatts is worth less than a
penny; an invoice over many statements rounds to pence."""
_MIDNIGHT: Final = datetime(2000, 1, 1, tzinfo=UTC)
HOURLY_RULE: Final = "pjm-three-part"
"""The one rule that scores and pays each hour by itself; the others score the whole window."""
REACH_S: Final = 300.0
"""Its longest lag: so much of the next hour is read with an hour."""


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """One settlement period; exact numbers, ready to be booked."""

    period: Interval
    available_ratio: Decimal
    """Contracted power that stood ready over what was contracted, 0 to 1."""
    score: Decimal | None
    """By the row's rule, 0 to 1; None: nothing was due, so that nothing can be judged."""
    quantities: Mapping[str, Decimal]
    """What the product's form of payment counts, units end the names; in the product's direction."""

    def facts(self) -> dict[str, Any]:
        """Return it as book text."""
        return {
            "starts_at": instant_text(self.period.starts_at),
            "ends_at": instant_text(self.period.ends_at),
            "available_ratio": str(self.available_ratio),
            "score": None if self.score is None else str(self.score),
            "quantities": {name: str(value) for name, value in sorted(self.quantities.items())},
        }


def figures_of_facts(facts: Mapping[str, Any]) -> PeriodFigures:
    """Return a period from its book text."""
    return PeriodFigures(
        Interval(datetime.fromisoformat(facts["starts_at"]), datetime.fromisoformat(facts["ends_at"])),
        Decimal(facts["available_ratio"]),
        None if facts["score"] is None else Decimal(facts["score"]),
        {name: Decimal(value) for name, value in facts["quantities"].items()},
    )


def settlement_grid(window: Interval, period_s: float, edges: Iterable[datetime] = ()) -> list[Interval]:
    """Return a window cut at every multiple of a period from midnight UTC on, and where a price changes."""
    step = timedelta(seconds=period_s)
    at = _MIDNIGHT + (window.starts_at - _MIDNIGHT) // step * step
    cuts = {window.starts_at, window.ends_at, *(edge for edge in edges if edge in window)}
    while (at := at + step) < window.ends_at:
        cuts.add(at)
    ordered = sorted(cuts)
    return [Interval(start, end) for start, end in pairwise(ordered)]


def settled_periods(
    delivery: Delivery,
    product: Product,
    *,
    window: Interval,
    grid: Sequence[Interval],
    signal: FloatArray | None = None,
) -> tuple[list[PeriodFigures], Score]:
    """Return each period's figures and the score of the whole window.

    ``signal`` is what the operator asked for at each sample, in shares of contract; None for what follows a curve.
    Raises ScoreError where the record cannot be scored.
    """
    whole = score_delivery(product, delivery, signal)
    figures = []
    events = _events(delivery, product, signal)
    for period in grid:
        part = _samples(period, window, delivery)
        score = whole
        if product.score.name == HOURLY_RULE:
            score = _of_an_hour(delivery, product, signal, part)
        figures.append(
            PeriodFigures(
                period,
                exact(_available(delivery, part)),
                None if score.value is None else exact(score.value),
                _quantities(delivery, part, product, events, score),
            )
        )
    return figures, whole


def exact(value: float) -> Decimal:
    """Return a figure as the book has it, six decimals; float noise cannot reach them."""
    return Decimal(repr(float(value))).quantize(QUANTUM, rounding=ROUND_HALF_EVEN)


def _of_an_hour(delivery: Delivery, product: Product, signal: FloatArray | None, part: slice) -> Score:
    reach = slice(part.start, part.stop + round(REACH_S * delivery.rate_hz))
    scored_s = (part.stop - part.start) / delivery.rate_hz
    return score_delivery(product, delivery.part(reach), None if signal is None else signal[reach], scored_s=scored_s)


def _samples(period: Interval, window: Interval, delivery: Delivery) -> slice:
    start, end = (
        min(delivery.required_kw.size, round((at - window.starts_at).total_seconds() * delivery.rate_hz))
        for at in (period.starts_at, period.ends_at)
    )
    return slice(start, end)


def _available(delivery: Delivery, part: slice) -> float:
    return delivery.part(part).available_ratio


def _events(delivery: Delivery, product: Product, signal: FloatArray | None) -> list[tuple[int, float]]:
    """Return (first sample, quantity in shares of contract) of what is paid event by event."""
    if product.score.name == "cn-agc" and signal is not None:
        return china_agc.mileage_shares(signal, delivery.given_share, delivery.available)
    if product.score.name == "cn-primary":
        return excursions.paid_action_s(delivery)
    return []


def _quantities(
    delivery: Delivery, part: slice, product: Product, events: Sequence[tuple[int, float]], score: Score
) -> dict[str, Decimal]:
    rate_hz = delivery.rate_hz
    given, required = delivery.delivered_kw[part], np.nan_to_num(delivery.required_kw[part])
    own = sum(quantity for first, quantity in events if part.start <= first < part.stop)
    contracted_kw = delivery.most_contracted_kw
    quantities = {"delivered_kwh": _kwh(given, rate_hz), "required_kwh": _kwh(required, rate_hz)}
    if product.kind is Kind.LIMIT:
        return {
            "excess_kwh": _kwh(np.maximum(np.nan_to_num(given) - required, 0.0), rate_hz),
            "limit_kwh": _kwh(required, rate_hz),
        }
    if product.kind is Kind.INSTRUCTION:
        quantities["deviation_kwh"] = _kwh(np.abs(required - np.nan_to_num(given)), rate_hz)
    if product.score.name == "cn-agc":
        k = score.components.get("k")
        quantities["mileage_mw"] = exact(own * contracted_kw / 1000.0)
        quantities["k"] = exact(float(k) if isinstance(k, float) else 0.0)
    if product.score.name == "cn-primary":
        quantities["action_kwh"] = exact(own * contracted_kw / 3600.0)
    return quantities


def _kwh(power_kw: FloatArray, rate_hz: float) -> Decimal:
    return exact(float(np.nansum(power_kw)) / rate_hz / 3600.0)
