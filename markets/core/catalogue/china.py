"""China: primary frequency response of storage (GB/T 40595) and AGC regulation in its southern and northern form."""

from __future__ import annotations

from datetime import date
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

_GBT: Final = "zgcnxt, on GB/T 40595-2021 for storage at 35 kV and above"
_SOUTH: Final = "meipian 5ayikcaj, on the rules of the southern region"

_PRIMARY: Final = Product(
    name="cn-primary",
    title="China, primary response of storage",
    kind=Kind.CURVE,
    nominal_hz=50.0,
    direction=Direction.BOTH,
    curve_name="cn-primary",
    signal_period_s=None,
    full_within_s=3.0,
    sustain_s=900.0,
    response=cited(
        f"{curve_words('cn-primary')}: dead band 0.03 to 0.05 Hz (0.033 taken), droop 0.5 to 3 % (1 % taken), at least "
        "20 % of the rating; lag 1 s, settled in 4 s within 1 % of the rating",
        _GBT,
    ),
    energy=unsure("charge and discharge; 15 min taken"),
    recovery=unsure("none is stated"),
    data=DataDuty(1.0, "a settlement period of 1 h with a gap scores 0", remembered("PMU, 1 s or finer")),
    score=ScoreRule(
        "cn-primary",
        unsure(
            "each excursion of 4 s or more: delivered over theoretical energy, 0 to 1; the mean of the hours; passed "
            "from 0.7 on, the pass rate has to be 0.9",
            f"0.7 and 0.9: {_SOUTH}; shortest excursion and the mean are our reading",
        ),
        {},
    ),
    price=PriceRule(
        "CNY",
        3600.0,
        cited("energy above 70 % of the theoretical one x 0.5 R1 (small) or x 10 R1 (large disturbance)", _SOUTH),
        "action-energy",
    ),
    penalty=cited("assessment below 90 % of in-service and pass rate", _SOUTH),
    size=MinimumSize(5000.0, cited("storage of 5 MW and 1 h", _SOUTH)),
    dispatch_prefix="CNP",
    source=f"{_GBT}; {_SOUTH}",
    effective_from=date(2022, 5, 1),
)


def _agc(name: str, title: str, form: str, certainty_text: str, parameters: dict[str, float]) -> Product:
    return Product(
        name=name,
        title=title,
        kind=Kind.SIGNAL,
        nominal_hz=50.0,
        direction=Direction.BOTH,
        curve_name=None,
        signal_period_s=8.0,
        full_within_s=60.0,
        sustain_s=3600.0,
        response=remembered("follows the setpoint of the dispatch center every 4 to 8 s"),
        energy=unsure("1 h of full power taken"),
        recovery=unsure("none is stated"),
        data=DataDuty(0.125, "an instruction with a gap scores 0", remembered("4 to 8 s")),
        score=ScoreRule("cn-agc", remembered(form, certainty_text), parameters),
        price=PriceRule("CNY", 3600.0, remembered("mileage x k x price"), "mileage"),
        penalty=remembered("assessment of the ancillary service rules"),
        size=MinimumSize(5000.0, unsure("5 MW taken from the primary response")),
        dispatch_prefix="AGC",
        source="regional rules from memory; form of k also in Hunan's rule of 2025, read second-hand",
    )


ROWS: Final = (
    _PRIMARY,
    _agc(
        "cn-agc-south",
        "China AGC, southern form",
        "k = 0.25 (2 k1 + k2 + k3): rate over the standard rate, 1 - delay / 5 min, 1 - error / 1.5 % of contract; the "
        "score takes k1 as at most 1",
        "from memory; the standard rate of storage, 100 % a minute, second-hand from Hunan's rule of 2025",
        {"northern": 0.0, "rate_per_min": 1.0, "rate_most": 3.0, "delay_s": 300.0, "error_share": 0.015},
    ),
    _agc(
        "cn-agc-north",
        "China AGC, northern form",
        "Kp = K1 K2 K3, each 2 - measured / standard and at least 0.1: standard rate / rate, error / 1 % of contract, "
        "delay / 60 s; the score takes each as at most 1",
        "from memory; Shanxi marks a rate above 60 MW a minute 0.1 (sdcfsteel), which is not taken in",
        {"northern": 1.0, "rate_per_min": 0.015, "rate_most": 2.0, "delay_s": 60.0, "error_share": 0.01},
    ),
)
