"""Nordic synchronous area: FFR, FCR-D up and down (dynamic, static, the rule before 2023), FCR-N."""

from __future__ import annotations

from dataclasses import replace
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
from sites.core.curves import curve_named

_2023: Final = (
    "ENTSO-E, Technical Requirements for FCR Provision in the Nordic Synchronous Area, 26 May 2023 (update of "
    "28 March 2025), read as a transcription in a public repository"
)
_LER: Final = "svk.se, questions and answers about limited energy reservoirs"
_GAP: Final = "a missing instant counts as not delivered"
_START: Final = date(2023, 9, 1)


def _fcr_d(name: str, *, static: bool) -> Product:
    curve_name = name.replace("-static", "")
    curve = curve_named(curve_name)
    way = "up" if curve_name.endswith("up") else "down"
    static_words = (
        " (110 % settled); until 60 s and 15 min after the frequency is back it may stay on, and need not answer again"
    )
    most = "10 % settled, 20 % at any time" if static else "20 %"
    return Product(
        name=name,
        title=f"FCR-D {way}, {'static' if static else 'dynamic'}, Nordic",
        kind=Kind.CURVE,
        nominal_hz=50.0,
        direction=curve.direction,
        curve_name=curve_name,
        signal_period_s=None,
        full_within_s=7.5,
        sustain_s=curve.sustain_s,
        response=cited(
            f"{'49.9 to 49.5' if way == 'up' else '50.1 to 50.5'} Hz: 86 % of the full response 7.5 s after the "
            "start of a ramp of 0.24 Hz/s and "
            f"3.2 s times it as energy by then; settled between 5 % below and {most} above"
            + ("; starts within 2.5 s" if static else ""),
            f"{_2023}, sections 3.1.2 and 3.1.3",
        ),
        energy=cited("limited reservoir (LER): 20 min of full power and 20 % of power the other way", _LER),
        recovery=(
            cited(
                "deactivates 60 s after the frequency is back, by at most 2.5 % a second (mean of 10 s); ready again "
                "within 15 min; at most half of the volume may be static",
                f"{_2023}, section 3.1.3; statnett.no for the volume",
            )
            if static
            else cited("energy management of 20 % of the power while the frequency is inside the band", _LER)
        ),
        data=DataDuty(1.0, _GAP, cited("1 s or finer, kept for 14 days", f"{_2023}, section 6.2")),
        score=ScoreRule(
            "nordic-fcr",
            unsure(
                "share of the time inside the envelope: 86 % of contract within 7.5 s, 95 % once settled for 60 s, at "
                f"most 120 %{static_words if static else ''}; the ramp requirements are told beside it",
                "figures of the document's tests; the share as a score and the 60 s are our reading",
            ),
            {"under_share_fast": 0.14, "under_share": 0.05, "over_share": 0.2, "settled_s": 60.0, "ramp_s": 2.5}
            | ({"grace_s": 960.0, "over_share_settled": 0.1} if static else {}),
        ),
        price=PriceRule("EUR", 3600.0, remembered("capacity, EUR per MW and hour; no energy paid"), "capacity"),
        penalty=remembered("no pay for the hours that were not kept ready, and a fee on them"),
        size=MinimumSize(100.0, remembered("0.1 MW")),
        dispatch_prefix="FCRD",
        source=f"{_2023}; svk.se, statnett.no, fingrid.fi",
        effective_from=_START,
    )


def _fcr_d_before(name: str) -> Product:
    curve_name = f"{name}-before-2023"
    row = _fcr_d(name, static=False)
    return replace(
        row,
        curve_name=curve_name,
        full_within_s=30.0,
        response=cited(f"{curve_words(curve_name)}; half of it within 5 s", "fingrid.fi, FCR pages before 2023"),
        score=ScoreRule(
            "two-step-envelope",
            unsure(
                "share of the time inside the envelope: half of what is due within 5 s, all of it within 30 s, minus "
                "5 % of contract, plus 5 % of contract and 20 % of what is due",
                "steps read; tolerances and the share as a score are our reading",
            ),
            {"half_within_s": 5.0, "tolerance_share": 0.05, "over_share": 0.2},
        ),
        source="fingrid.fi and svk.se, rule before 1 September 2023",
        effective_from=None,
        effective_to=_START,
    )


def _ffr(name: str, hertz: str, seconds: str) -> Product:
    curve = curve_named(name)
    return Product(
        name=name,
        title=f"FFR {hertz} Hz, Nordic",
        kind=Kind.CURVE,
        nominal_hz=50.0,
        direction=curve.direction,
        curve_name=name,
        signal_period_s=None,
        full_within_s=curve.full_within_s,
        sustain_s=30.0,
        response=cited(f"full within {seconds} s below {hertz} Hz", "developers.fingrid.fi/FFR, cimview FFR"),
        energy=cited("5 s if released by at most 20 % a second, else 30 s", "developers.fingrid.fi/FFR"),
        recovery=remembered(
            "ready again within 15 min (read); at most 25 % of recovery power, from 10 s after the support on",
            "developers.fingrid.fi/FFR; recovery power from memory",
        ),
        data=DataDuty(10.0, "a settlement period of 1 h with a gap scores 0", remembered("0.1 s or finer")),
        score=ScoreRule(
            "nordic-ffr",
            unsure(
                "share of each support between the contract and 135 % of it, from the allowed time on; a release "
                "faster than 20 % a second before 30 s breaks the short support; the mean of the hours",
                "limits read (35 % from memory); the share as a score is our reading",
            ),
            {},
        ),
        price=PriceRule("EUR", 3600.0, remembered("capacity, EUR per MW and hour"), "capacity"),
        penalty=remembered("no pay for the hour, and a fee"),
        size=MinimumSize(1000.0, remembered("1 MW")),
        dispatch_prefix="FFR",
        source="developers.fingrid.fi/FFR, cimview FFR; the rest from memory",
        effective_from=date(2020, 5, 1),
    )


_FCR_N: Final = Product(
    name="fcr-n",
    title="FCR-N, Nordic",
    kind=Kind.CURVE,
    nominal_hz=50.0,
    direction=curve_named("fcr-n").direction,
    curve_name="fcr-n",
    signal_period_s=None,
    full_within_s=180.0,
    sustain_s=3600.0,
    response=cited(
        "all at 0.1 Hz either way within 3 min, settled between 5 % below and 20 % above; dead band up to 0.01 Hz "
        "(none taken)",
        f"{_2023}, section 3.1.1; fingrid.fi for the 3 min",
    ),
    energy=cited("limited reservoir (LER): 1 h of full power, and 134 % of the power behind it", _LER),
    recovery=cited("energy management of 34 % of the power, by the reservoir's level", _LER),
    data=DataDuty(1.0, _GAP, cited("1 s or finer, kept for 14 days", f"{_2023}, section 6.2")),
    score=ScoreRule(
        "nordic-fcr",
        unsure(
            "share of the time inside the envelope: what was due over 3 min, 5 % of contract below to 20 % above",
            "figures of the document's step test; the share as a score is our reading",
        ),
        {"under_share_fast": 0.05, "under_share": 0.05, "over_share": 0.2, "settled_s": 180.0},
    ),
    price=PriceRule(
        "EUR",
        3600.0,
        remembered("capacity, EUR per MW and hour, and energy at the balancing price"),
        "capacity-energy",
    ),
    penalty=remembered("no pay for the hours that were not kept ready, and a fee on them"),
    size=MinimumSize(100.0, cited("0.1 MW", "fingrid.fi, FCR")),
    dispatch_prefix="FCRN",
    source=f"{_2023}; svk.se, fingrid.fi",
    effective_from=_START,
)

ROWS: Final = (
    _ffr("nordic-ffr", "49.7", "1.3"),
    _ffr("nordic-ffr-49.6", "49.6", "1.0"),
    _ffr("nordic-ffr-49.5", "49.5", "0.7"),
    _fcr_d("fcr-d-up", static=False),
    _fcr_d("fcr-d-down", static=False),
    _fcr_d("fcr-d-up-static", static=True),
    _fcr_d("fcr-d-down-static", static=True),
    _fcr_d_before("fcr-d-up"),
    _fcr_d_before("fcr-d-down"),
    _FCR_N,
)
