"""ERCOT (Texas): fast frequency response, primary response, emergency response service, regulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from markets.core.product import (
    DataDuty,
    Kind,
    MinimumSize,
    PriceRule,
    Product,
    ScoreRule,
    cited,
    curve_words,
    remembered,
    unsure,
)
from sites.core.curves import Direction

_PROTOCOLS: Final = "ERCOT Protocols sections 2 and 3 (2026-08), quoted in two public repositories"
_NONE: Final = "no rule is known for storage"

_FFR: Final = Product(
    name="ercot-ffr",
    title="ERCOT RRS-FFR",
    kind=Kind.CURVE,
    nominal_hz=60.0,
    direction=Direction.LOW,
    curve_name="ercot-ffr",
    signal_period_s=None,
    full_within_s=0.25,
    sustain_s=900.0,
    response=cited("full within 15 cycles (250 ms) at 59.85 Hz or below", _PROTOCOLS),
    energy=cited("15 min, or 10 min when instructed", _PROTOCOLS),
    recovery=unsure("ready again 15 min after the recall", "from memory, unsure"),
    data=DataDuty(
        10.0,
        "a settlement period of 15 min with a gap scores 0",
        unsure("high-resolution event recorder; 10 Hz is the least that shows 250 ms", "recorder from memory"),
    ),
    score=ScoreRule(
        "ercot-ffr",
        unsure(
            "each trigger: 0 when it is not full within 250 ms, else the share of the 15 min between 95 % and 150 % "
            "of contract; the mean of the settlement periods",
            "95 % and 150 % from memory of the load-resource rule; the share as a score is our reading",
        ),
        {"least_share": 0.95, "most_share": 1.5},
    ),
    price=PriceRule(
        "USD", 900.0, remembered("capacity, USD per MW and hour, at the market clearing price"), "capacity"
    ),
    penalty=remembered("a failed response is clawed back; requalification after repeated failure"),
    size=MinimumSize(100.0, remembered("0.1 MW")),
    dispatch_prefix="RRS",
    source=f"{_PROTOCOLS}; ancillary service study of 2024",
)

_PFR: Final = replace(
    _FFR,
    name="ercot-pfr",
    title="ERCOT primary frequency response",
    direction=Direction.BOTH,
    curve_name="ercot-pfr",
    full_within_s=16.0,
    response=unsure(
        f"dead band 0.017 Hz, droop 5 %: {curve_words('ercot-pfr')} of the rating",
        f"times unsure; dead band and droop: {_PROTOCOLS}",
    ),
    energy=unsure("15 min taken"),
    recovery=unsure(_NONE),
    data=DataDuty(
        0.5, "a settlement period of 15 min with a gap scores 0", remembered("telemetry of 2 s, TRE of 2 to 4 s")
    ),
    score=ScoreRule(
        "ercot-pfr",
        unsure(
            "each disturbance beyond 0.1 Hz: change of the mean power from 16 to 2 s before to 20 to 52 s after it, "
            "over what the droop asks at the same means, 0 to 1; the mean of the settlement "
            "periods (0.75 has to be kept)",
            "0.75 read in the quoted Protocols; windows from memory of BAL-001-TRE, beginning of the event our reading",
        ),
        {},
    ),
    price=PriceRule("USD", 900.0, cited("unpaid duty of a resource that is on line", _PROTOCOLS), "unpaid"),
    penalty=cited("rolling score below 0.75 is non-compliance", _PROTOCOLS),
    dispatch_prefix="PFR",
)


def _ers(minutes: int) -> Product:
    return Product(
        name=f"ercot-ers-{minutes}",
        title=f"ERCOT ERS-{minutes}",
        kind=Kind.INSTRUCTION,
        nominal_hz=60.0,
        direction=Direction.LOW,
        curve_name=None,
        signal_period_s=None,
        full_within_s=60.0 * minutes,
        sustain_s=4 * 3600.0,
        response=cited(f"full {minutes} min after the instruction, until the recall", _PROTOCOLS),
        energy=unsure("24 h (12 h) of deployment in a contract term; 4 h at once taken", "hours of a term second-hand"),
        recovery=remembered("ready again 10 h after the recall"),
        data=DataDuty(
            1.0 / 900.0,
            "a missing interval counts as nothing delivered, and as not available",
            remembered("15 min interval meter"),
        ),
        score=ScoreRule(
            "ercot-ers",
            remembered(
                "availability factor x event performance factor; the latter is the time-weighted mean over the 15 min "
                "intervals of delivered over contracted energy, each 0 to 1; 0.95 is the threshold of both",
                "from memory of the Protocols' section 8; the product read second-hand",
            ),
            {},
        ),
        price=PriceRule(
            "USD", 900.0, remembered("capacity of a term and time period, USD per MW and hour"), "capacity-factors"
        ),
        penalty=remembered("payment falls with the factors; below 0.95 suspension and a notice"),
        size=MinimumSize(100.0, cited("0.1 MW", "ERCOT, ERS technical requirements, February to May 2019")),
        dispatch_prefix="ERS",
        source=f"{_PROTOCOLS}; ERS technical requirements",
    )


def _regulation(name: str, title: str, direction: Direction) -> Product:
    return Product(
        name=name,
        title=title,
        kind=Kind.SIGNAL,
        nominal_hz=60.0,
        direction=direction,
        curve_name=None,
        signal_period_s=4.0,
        full_within_s=300.0,
        sustain_s=3600.0,
        response=cited("follows the operator's setpoint of 4 s", _PROTOCOLS),
        energy=unsure("1 h of full power taken"),
        recovery=unsure(_NONE),
        data=DataDuty(0.25, "a settlement period of 15 min with a gap scores 0", remembered("telemetry of 2 to 4 s")),
        score=ScoreRule(
            "setpoint-tracking",
            unsure(
                "1 minus the mean deviation from the setpoint over the mean setpoint, in each 15 min",
                "stands for the base-point deviation charge, which is from memory",
            ),
            {},
        ),
        price=PriceRule(
            "USD", 900.0, remembered("capacity, USD per MW and hour, at the market clearing price"), "capacity"
        ),
        penalty=remembered("base-point deviation charge"),
        size=MinimumSize(100.0, remembered("0.1 MW")),
        dispatch_prefix="REG",
        source=f"{_PROTOCOLS}; the rest from memory",
    )


ROWS: Final = (
    _FFR,
    _PFR,
    _ers(10),
    _ers(30),
    _regulation("ercot-reg-up", "ERCOT regulation up", Direction.LOW),
    _regulation("ercot-reg-down", "ERCOT regulation down", Direction.HIGH),
)
