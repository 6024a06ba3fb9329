"""PJM: regulation by two signals (RegA, RegD) until 30 September 2025, by one since."""

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
    remembered,
    unsure,
)
from sites.core.curves import Direction

_GMLC: Final = "code of the GMLC 1.4.2 project after PJM Manual 12 (2019)"
_MICHIGAN: Final = "scoring code of the University of Michigan, which quotes PJM Manual 12 section 4.5.6"


def _row(name: str, title: str, signal: str, since: date | None, until: date | None) -> Product:
    legacy = until is not None
    return Product(
        name=name,
        title=title,
        kind=Kind.SIGNAL,
        nominal_hz=60.0,
        direction=Direction.BOTH,
        curve_name=None,
        signal_period_s=2.0,
        full_within_s=300.0,
        sustain_s=900.0,
        response=(
            cited(f"follows {signal} every 2 s, -1 to 1 of the contract", _GMLC)
            if legacy
            else unsure(f"follows {signal} every 2 s, -1 to 1 of the contract", "single signal since October 2025")
        ),
        energy=unsure("15 min of full power taken; the fast signal returns to zero energy"),
        recovery=remembered("none beside the signal's own neutrality"),
        data=DataDuty(
            0.1,
            "a 5 min window with a gap scores 0; a gap in its reach of lags leaves its delay unproven (0)",
            cited("2 s telemetry, scored in means of 10 s", _GMLC),
        ),
        score=ScoreRule(
            "pjm-three-part",
            (
                cited(
                    "mean of correlation, delay and precision: in each 5 min the lag of 0 to 300 s with the highest "
                    "correlation, delay (300 - lag)/300, precision 1 - mean error over the hour's mean signal",
                    f"{_GMLC}; the hour's mean signal: {_MICHIGAN}",
                )
                if legacy
                else unsure("as of the two signals, until the new manual is read")
            ),
            {},
        ),
        price=PriceRule(
            "USD",
            3600.0,
            cited("MW x score x (RMCCP + mileage ratio x RMPCP); an hour below 0.25 is unpaid", _GMLC)
            if legacy
            else unsure("as of the two signals; RegUp and RegDown apart from October 2026 on"),
            "regulation",
        ),
        penalty=remembered("qualification at 0.75, lost below 0.40"),
        size=MinimumSize(100.0, remembered("0.1 MW")),
        dispatch_prefix="REG",
        source=f"{_GMLC}; changes of 2025 and 2026 from memory",
        effective_from=since,
        effective_to=until,
    )


_ONE_SIGNAL: Final = date(2025, 10, 1)

ROWS: Final = (
    _row("pjm-rega", "PJM regulation A (slow)", "RegA", date(2012, 10, 1), _ONE_SIGNAL),
    _row("pjm-regd", "PJM regulation D (fast)", "RegD", date(2012, 10, 1), _ONE_SIGNAL),
    _row("pjm-reg", "PJM regulation, one signal", "the regulation signal", _ONE_SIGNAL, None),
)
