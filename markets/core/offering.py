"""The rules of an offer: evidence, smallest size, gate closure, and what an award says of recovery and imbalance."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Final

from markets.core.product import Product, Rule, remembered, unsure
from markets.core.products import Basis, require_live
from sites.core.intervals import Interval
from sites.ledger.chain import canonical_json


class OfferRefused(ValueError):
    """An offer, award or baseline that cannot stand; the message says what is accepted."""


@dataclass(frozen=True, slots=True)
class MarketTerms:
    """What a market asks around an award, for the products of a pattern."""

    products: str
    gate_s: float
    """The baseline is locked so long before the window [s]."""
    gate: Rule
    least_score: Decimal
    """A test or event proves a unit from this score on."""
    evidence: Rule
    valid_for: timedelta
    """How long evidence holds."""
    recover_share_per_period: Decimal
    """Of the response energy that may be taken back in one settlement period."""
    recover_ramp_share_per_min: Decimal
    """Of the contracted power by which the baseline may move in a minute."""
    recovery: Rule
    imbalance: Rule


_YEAR: Final = timedelta(days=365)
_IMBALANCE: Final = unsure(
    "energy of the response against the locked baseline is ours: it is settled at the imbalance price of its period",
    "no document at hand: the reading that costs the fleet most",
)

TERMS: Final = (
    MarketTerms(
        "neso-*",
        3600.0,
        remembered("operational baseline locked about 1 h ahead"),
        Decimal("0.95"),
        unsure("a response test passed; the share is what this project works with"),
        _YEAR * 2,
        Decimal("0.2"),
        Decimal("0.05"),
        remembered(
            "at least 20 % of the response energy recovered in each settlement period, ramp at most 5 % a minute"
        ),
        unsure(
            "response volumes are taken off the imbalance position (applicable balancing services volume data)",
            "whether it holds for an aggregated unit was not read",
        ),
    ),
    MarketTerms(
        "pjm-*",
        3600.0,
        unsure("bids closed 65 min before the hour; 60 min taken"),
        Decimal("0.75"),
        remembered("qualified by tests with a score of at least 0.75, lost below 0.40"),
        _YEAR,
        Decimal("1"),
        Decimal("1"),
        unsure("the signal is meant to come back to zero; nothing else is recovered"),
        _IMBALANCE,
    ),
    MarketTerms(
        "fcr-*",
        3600.0,
        remembered("plans are binding from 45 min or 1 h before the hour; 60 min taken"),
        Decimal("0.95"),
        unsure("prequalification tests passed; the share is what this project works with"),
        _YEAR * 5,
        Decimal("1"),
        Decimal("0.2"),
        remembered("energy management of 20 % of the power while the frequency is inside the band"),
        _IMBALANCE,
    ),
    MarketTerms(
        "*",
        3600.0,
        unsure("60 min taken"),
        Decimal("0.9"),
        unsure("a test passed; the share is what this project works with"),
        _YEAR,
        Decimal("1"),
        Decimal("1"),
        unsure("as the product's row says; no bound taken"),
        _IMBALANCE,
    ),
)
"""The first that fits counts."""


LONGEST_WINDOW: Final = timedelta(hours=24)
FURTHEST_AHEAD: Final = timedelta(days=60)


def require_window(window: Interval, at: datetime) -> None:
    """Raise OfferRefused for a window that is over, that lasts too long, or that lies too far ahead."""
    if window.ends_at <= at:
        raise OfferRefused(f"the window ended at {window.ends_at.isoformat()}, accepted: later than {at.isoformat()}")
    if window.duration > LONGEST_WINDOW:
        raise OfferRefused(f"the window lasts {window.duration}, accepted: up to {LONGEST_WINDOW}")
    if window.starts_at > at + FURTHEST_AHEAD:
        raise OfferRefused(
            f"the window starts at {window.starts_at.isoformat()}, accepted: up to {FURTHEST_AHEAD.days} days ahead"
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a unit showed in one test or event."""

    score: Decimal
    contract_kw: float
    """The power that it was measured at [kW]."""
    tested_at: datetime
    expires_at: datetime


def terms_of(product: str) -> MarketTerms:
    """Return what a product's market asks around an award."""
    return next(terms for terms in TERMS if fnmatchcase(product, terms.products))


def require_offer(
    product: Product,
    *,
    basis: Basis,
    window: Interval,
    quantity_kw: float,
    net_kw: float,
    evidence: Sequence[Evidence],
    at: datetime,
) -> None:
    """Raise OfferRefused, or LiveSettlementRefused, unless a unit may offer a power for a window.

    A demonstration needs no evidence and no row read in the primary document; everything else holds for it as well.
    """
    if window.starts_at <= at:
        raise OfferRefused(
            f"the window starts at {window.starts_at.isoformat()}, accepted: later than {at.isoformat()}"
        )
    if not (math.isfinite(quantity_kw) and quantity_kw >= product.size.power_kw):
        raise OfferRefused(
            f"{quantity_kw:g} kW offered, accepted for {product.name}: {product.size.power_kw:g} kW or more "
            f"({product.size.rule.certainty.in_words})"
        )
    if quantity_kw > net_kw:
        raise OfferRefused(f"{quantity_kw:g} kW offered, accepted: up to the {net_kw:.3f} kW that can be sold")
    if basis is Basis.LIVE:
        require_evidence(product, evidence=evidence, window=window, quantity_kw=quantity_kw)
        require_live(product)


def require_evidence(product: Product, *, evidence: Sequence[Evidence], window: Interval, quantity_kw: float) -> None:
    """Raise OfferRefused unless a unit has shown a power in a test or event that still holds at the window's end."""
    least = terms_of(product.name).least_score
    holding = [row for row in evidence if row.tested_at <= window.starts_at and window.ends_at <= row.expires_at]
    passed = [row for row in holding if row.score >= least]
    if any(row.contract_kw >= quantity_kw for row in passed):
        return
    if passed:
        most_kw = max(row.contract_kw for row in passed)
        raise OfferRefused(f"{quantity_kw:g} kW offered, accepted: up to the {most_kw:g} kW that a test showed")
    if holding:
        best = max(row.score for row in holding)
        raise OfferRefused(f"the best test of the unit scored {best}, accepted for {product.name}: {least} or more")
    lapsed = f"; the last expired at {max(row.expires_at for row in evidence).isoformat()}" if evidence else ""
    raise OfferRefused(
        f"the unit has no test record for the window{lapsed}, accepted: one with a score of {least} or more, or "
        f"basis {Basis.DEMONSTRATION.value!r}"
    )


def gate_closes_at(product: str, window: Interval) -> datetime:
    """Return when the baseline of a window is locked."""
    return window.starts_at - timedelta(seconds=terms_of(product).gate_s)


MAX_POINTS: Final = 3_000


def baseline_body(points: Sequence[tuple[datetime, float]], window: Interval, *, limit_kw: float) -> str:
    """Return a baseline's canonical JSON: the power into the grid without the service, from each instant on.

    Raises OfferRefused for a schedule that does not begin with its window, that leaves it or does not rise, or
    that holds a power beyond what the unit's connections carry.
    """
    if not 1 <= len(points) <= MAX_POINTS:
        raise OfferRefused(f"{len(points)} points, accepted: 1 to {MAX_POINTS}")
    if points[0][0] != window.starts_at:
        raise OfferRefused(
            f"the first point is at {points[0][0].isoformat()}, accepted: the window's start "
            f"{window.starts_at.isoformat()}"
        )
    for number, (at, power_kw) in enumerate(points, 1):
        if number > 1 and not points[number - 2][0] < at < window.ends_at:
            raise OfferRefused(
                f"point {number} is at {at.isoformat()}, accepted: after the one before and before "
                f"{window.ends_at.isoformat()}"
            )
        if not (math.isfinite(power_kw) and abs(power_kw) <= limit_kw):
            raise OfferRefused(f"point {number} is {power_kw} kW, accepted: -{limit_kw:g} to {limit_kw:g}")
    rows = [[_instant(at), repr(float(power_kw))] for at, power_kw in points]
    return canonical_json({"window": [_instant(window.starts_at), _instant(window.ends_at)], "points": rows})


def hash_of(body: str) -> str:
    """Return the SHA-256 of a canonical body [64 hex]."""
    return hashlib.sha256(body.encode()).hexdigest()


def award_terms(product: Product, quantity_kw: float) -> dict[str, Any]:
    """Return what an award says of energy recovery and imbalance, in numbers and with how certain each rule is.

    The response energy is full power for the product's duration; it is recovered at the stated share a period.
    """
    terms = terms_of(product.name)
    power_kw = Decimal(repr(float(quantity_kw)))
    response_kwh = power_kw * Decimal(repr(product.sustain_s)) / 3600
    per_period_kwh = response_kwh * terms.recover_share_per_period
    periods = math.ceil(1 / terms.recover_share_per_period)
    return {
        "response_kwh": _plain(response_kwh),
        "recovery": {
            "per_period_kwh": _plain(per_period_kwh),
            "settlement_period_s": product.price.settlement_period_s,
            "periods_to_full": periods,
            "ramp_kw_per_min": _plain(power_kw * terms.recover_ramp_share_per_min),
            **_words(terms.recovery),
        },
        "imbalance": {
            # Full power through one whole period, or all of the response where that is less.
            "worst_kwh_per_period": _plain(
                min(response_kwh, power_kw * Decimal(repr(product.price.settlement_period_s)) / 3600)
            ),
            **_words(terms.imbalance),
        },
        "product_recovery": _words(product.recovery),
        "penalty": _words(product.penalty),
    }


def _words(rule: Rule) -> dict[str, str]:
    return {"rule": rule.text, "certainty": rule.certainty.value, "source": rule.source}


def _plain(value: Decimal) -> str:
    return str(value.quantize(Decimal("0.001")))


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
