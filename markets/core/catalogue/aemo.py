"""AEMO (Australia, NEM): contingency FCAS raise and lower, very fast, fast, slow and delayed."""

from __future__ import annotations

from datetime import date
from typing import Final

from markets.core.product import (
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

_MASS: Final = "aemo.com.au, pages of the MASS, the FCAS verification tool and the fast frequency response FAQ"
_VERSION_8: Final = date(2023, 10, 9)

# suffix, word, rise [s], until [s], least rate [Hz], duty
_SERVICES: Final = (
    ("1", "very fast", 1.0, 6.0, 20.0, remembered("50 ms or finer")),
    ("6", "fast", 6.0, 60.0, 5.0, cited("50 ms or finer; 200 ms for aggregates without inertia", "MASS 7, 2nd draft")),
    ("60", "slow", 60.0, 300.0, 0.25, remembered("4 s or finer")),
    ("5", "delayed", 300.0, 600.0, 0.25, remembered("4 s or finer")),
)


def _row(way: str, suffix: str, word: str, rise_s: float, until_s: float, rate_hz: float, duty: Rule) -> Product:
    name = f"aemo-{'r' if way == 'raise' else 'l'}{suffix}"
    curve = curve_named(name)
    return Product(
        name=name,
        title=f"AEMO {word} {way}",
        kind=Kind.CURVE,
        nominal_hz=50.0,
        direction=curve.direction,
        curve_name=name,
        signal_period_s=None,
        full_within_s=rise_s,
        sustain_s=curve.sustain_s,
        response=Rule(curve_words(name), Certainty(curve.certainty), curve.source),
        energy=remembered(f"until the next service takes over, {until_s:g} s after the frequency left its band"),
        recovery=unsure("none is stated"),
        data=DataDuty(rate_hz, "a settlement period of 5 min with a gap scores 0", duty),
        score=ScoreRule(
            "aemo-fcas",
            unsure(
                f"each excursion: energy over the standard trajectory in 0 to {rise_s:g} s (rising) and in {rise_s:g} "
                f"to {until_s:g} s, the lesser, 0 to 1; the mean of the settlement periods",
                "two windows and 'the lesser' from memory of the MASS; without the multiplier, which version 8 took "
                "out (FAQ); the trajectory against the measured frequency is our reading",
            ),
            {"rise_s": rise_s, "until_s": until_s, "falls": 0.0 if suffix == "5" else 1.0},
        ),
        price=PriceRule(
            "AUD", 300.0, cited("enablement, AUD per MW and hour, each 5 min dispatch interval", _MASS), "capacity"
        ),
        penalty=remembered("breach of the rules and recovery of the payments"),
        size=MinimumSize(1000.0, remembered("1 MW, aggregated in a region")),
        dispatch_prefix="FCAS",
        source=_MASS,
        effective_from=_VERSION_8,
    )


ROWS: Final = tuple(_row(way, *service) for way in ("raise", "lower") for service in _SERVICES)
