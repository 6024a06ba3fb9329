"""NESO (Great Britain): Dynamic Containment, Moderation and Regulation, low and high."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Final

from markets.core.product import (
    AvailabilityPrice,
    Certainty,
    DataDuty,
    Kind,
    MinimumSize,
    PriceRule,
    Product,
    Rule,
    ScoreRule,
    cited,
    curve_words,
    remembered,
    unsure,
)
from sites.core.curves import curve_named

EAC_SOURCE: Final = (
    "NESO Enduring Auction Capability results, monthly time average of the 4 h clearing prices "
    "(NESO Open Data Licence), transcribed by hand from a second-hand table and rounded"
)
_PAGES: Final = "neso.energy, page of the new dynamic services"
_TERMS: Final = "from memory of the service terms"

# month, then DC low, DC high, DM low, DM high, DR low, DR high [GBP/MW/h]
_EAC_MONTHS: Final = (
    ("2025-10-01", "4.206", "2.372", "7.71", "2.786", "15.998", "-1.265"),
    ("2025-11-01", "3.180", "2.189", "6.216", "1.648", "15.767", "-3.073"),
    ("2025-12-01", "1.865", "1.455", "4.55", "0.611", "12.663", "-4.571"),
    ("2026-01-01", "2.309", "1.105", "5.519", "-0.301", "16.054", "-7.436"),
    ("2026-02-01", "1.710", "0.655", "4.78", "-0.791", "14.457", "-7.407"),
    ("2026-03-01", "2.893", "1.121", "6.58", "-0.15", "17.607", "-7.354"),
    ("2026-04-01", "2.766", "1.881", "6.375", "0.478", "16.155", "-5.826"),
    ("2026-05-01", "1.846", "1.139", "5.96", "-1.448", "17.179", "-11.438"),
    ("2026-06-01", "3.186", "2.498", "7.493", "0.105", "18.176", "-8.556"),
    ("2026-07-01", "3.181", "2.253", "8.036", "-0.066", "15.575", "-9.774"),
    ("2026-08-01", "3.453", "2.241", "8.424", "0.02", "13.799", "-10.347"),
    ("2026-09-01", "5.334", "3.215", "10.788", "1.791", "19.629", "-8.295"),
)

# name, title, price column, prefix, rate [Hz] with its certainty, source of the row
_SERVICES: Final = (
    ("neso-dc-low", "Dynamic Containment low", 1, "DC", cited("20 Hz", "a field firmware that records it"), 20.0,
     "NESO Dynamic Containment: curve, speed and 15 min read in a field firmware and on cited pages; payment "
     "availability x price x K, pay-as-clear per 4 h EFA block, from memory of the service terms; "
     "K limits 3 % and 7 % unsure"),
    ("neso-dc-high", "Dynamic Containment high", 2, "DC", cited("20 Hz", "a field firmware that records it"), 20.0,
     "NESO Dynamic Containment: curve, speed and 15 min read in a field firmware and on cited pages; payment "
     "availability x price x K, pay-as-clear per 4 h EFA block, from memory of the service terms; "
     "K limits 3 % and 7 % unsure"),
    ("neso-dm-low", "Dynamic Moderation low", 3, "DM", remembered("20 Hz", _TERMS), 20.0, _PAGES),
    ("neso-dm-high", "Dynamic Moderation high", 4, "DM", remembered("20 Hz", _TERMS), 20.0, _PAGES),
    ("neso-dr-low", "Dynamic Regulation low", 5, "DR", unsure("2 Hz"), 2.0, _PAGES),
    ("neso-dr-high", "Dynamic Regulation high", 6, "DR", unsure("2 Hz"), 2.0, _PAGES),
)  # fmt: skip


def _row(name: str, title: str, column: int, prefix: str, data: Rule, rate_hz: float, source: str) -> Product:
    curve = curve_named(name)
    return Product(
        name=name,
        title=f"NESO {title}",
        kind=Kind.CURVE,
        nominal_hz=50.0,
        direction=curve.direction,
        curve_name=name,
        signal_period_s=None,
        full_within_s=curve.full_within_s,
        sustain_s=curve.sustain_s,
        response=Rule(curve_words(name), Certainty(curve.certainty), curve.source),
        energy=cited(f"{curve.sustain_s / 60:g} min at full power for a limited reservoir", _PAGES),
        recovery=remembered(
            "at least 20 % of the response energy can be taken back in a settlement period, through the submitted "
            "baseline, which moves by at most 5 % a minute and is locked about 1 h ahead",
            _TERMS,
        ),
        data=DataDuty(
            rate_hz,
            "a settlement period of 30 min with a gap scores 0 (our reading of: an unavailable period is unpaid)",
            data,
        ),
        score=ScoreRule(
            "neso-k",
            unsure(
                "K of the worst 1 s mean error outside the timed envelope in each 30 min: 1 up to 3 % of contract, "
                "0 from 7 %, straight between; the mean of the periods",
                "second-hand; width of the mean and the period are our reading",
            ),
            {},
        ),
        price=PriceRule(
            "GBP",
            1800.0,
            remembered("availability, GBP per MW and hour, times K; pay-as-clear for each 4 h EFA block", _TERMS),
            "availability-k",
        ),
        penalty=remembered("unavailable periods unpaid, the worst error takes K off the payment", _TERMS),
        size=MinimumSize(1000.0, remembered("1 MW, aggregates of one grid supply point group", _TERMS)),
        dispatch_prefix=prefix,
        source=source,
        effective_from=date(2023, 11, 2),
        prices=tuple(
            AvailabilityPrice(date.fromisoformat(row[0]), Decimal(row[column]), Certainty.MEMORY, EAC_SOURCE)
            for row in _EAC_MONTHS
        ),
    )


ROWS: Final = tuple(_row(*service) for service in _SERVICES)
