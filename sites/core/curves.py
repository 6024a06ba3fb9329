"""The catalogue of response products, by name: curve, speed, duration, and how certain each row is.

One catalogue for the site, the dispatcher and the market. Deviations are absolute, from the product's own
nominal frequency. Where a document leaves a range, the row holds the value that this project works with and
its source says so.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Final

from sites.core.response import (
    MAX_POINTS,
    CurveError,
    Direction,
    FloatArray,
    Recovery,
    ResponseCurve,
    Trigger,
    required_course,
    required_share,
)

__all__ = [
    "CATALOGUE",
    "MAX_POINTS",
    "CurveError",
    "Direction",
    "FloatArray",
    "Recovery",
    "ResponseCurve",
    "Trigger",
    "curve_named",
    "required_course",
    "required_share",
]


def _mirrored(curve: ResponseCurve, name: str) -> ResponseCurve:
    """Return the product that answers the other side, point by point the same."""
    other = Direction.HIGH if curve.direction is Direction.LOW else Direction.LOW
    return replace(curve, name=name, direction=other, source=f"mirror of {curve.name}: {curve.source}")


_DC_LOW: Final = ResponseCurve(
    name="neso-dc-low",
    direction=Direction.LOW,
    points=((0.015, 0.0), (0.2, 0.05), (0.5, 1.0)),
    initiate_within_s=0.5,
    full_within_s=1.0,
    sustain_s=900.0,
    source="NESO Dynamic Containment: 0 at 0.015 Hz, 5 % at 0.2 Hz, 100 % at 0.5 Hz (a field firmware; the "
    "knee also modoenergy.com), 15 min; energy is recovered through the submitted baseline",
    certainty="V",
)
_DM_LOW: Final = ResponseCurve(
    name="neso-dm-low",
    direction=Direction.LOW,
    points=((0.015, 0.0), (0.1, 0.05), (0.2, 1.0)),
    initiate_within_s=0.5,
    full_within_s=1.0,
    sustain_s=1800.0,
    source="NESO Dynamic Moderation: 0 at 0.015 Hz, 5 % at 0.1 Hz, 100 % at 0.2 Hz from memory; speed and 30 "
    "min read on neso.energy's pages of the new dynamic services",
    certainty="M",
)
_DR_LOW: Final = ResponseCurve(
    name="neso-dr-low",
    direction=Direction.LOW,
    points=((0.015, 0.0), (0.2, 1.0)),
    initiate_within_s=2.0,
    full_within_s=10.0,
    sustain_s=3600.0,
    source="NESO Dynamic Regulation: 0 at 0.015 Hz, 100 % at 0.2 Hz from memory; speed and 60 min read on "
    "neso.energy's pages of the new dynamic services",
    certainty="M",
)
_NORDIC_FFR: Final = ResponseCurve(
    name="nordic-ffr",
    direction=Direction.LOW,
    points=((0.3, 1.0), (1.0, 1.0)),
    initiate_within_s=1.3,
    full_within_s=1.3,
    sustain_s=30.0,
    # 30 s of support and a release of 20 %/s: good for both variants of the product.
    trigger=Trigger(ramp_s=0.0, sustain_s=30.0, release_per_s=0.2),
    recovery=Recovery(share=0.25, after_s=10.0, ramp_per_min=1.0),
    over_delivery_share=0.35,
    source="Nordic FFR, developers.fingrid.fi and cimview: below 49.7 Hz within 1.3 s; support 5 s with a "
    "release of at most 20 %/s, else 30 s; ready again within 15 min. Over-delivery of at most 35 % and"
    " recovery of at most 25 % from 10 s after the support on: from memory",
    certainty="M",
    effective_from=date(2020, 5, 1),
)
_FCR_D_UP: Final = ResponseCurve(
    name="fcr-d-up",
    direction=Direction.LOW,
    points=((0.1, 0.0), (0.5, 1.0)),
    initiate_within_s=2.5,
    full_within_s=7.5,
    sustain_s=1200.0,
    recovery=Recovery(share=0.2, after_s=60.0, ramp_per_min=0.2),
    source="Nordic FCR-D up: 49.9 to 49.5 Hz, 20 min with limited energy and 20 % power the other way (svk.se,"
    " fingrid.fi); 86 % at 7.5 s of the 2023 rule from memory (the rule before: 50 % in 5 s, 100 % in "
    "30 s)",
    certainty="M",
    effective_from=date(2023, 9, 1),
)
_FCR_D_UP_BEFORE_2023: Final = replace(
    _FCR_D_UP,
    name="fcr-d-up-before-2023",
    initiate_within_s=5.0,
    full_within_s=30.0,
    source="Nordic FCR-D up before 1 September 2023: 49.9 to 49.5 Hz, 50 % in 5 s, 100 % in 30 s (fingrid.fi); "
    "energy and recovery as of the rule since",
    effective_from=None,
)
_AEMO_R1: Final = ResponseCurve(
    name="aemo-r1",
    direction=Direction.LOW,
    points=((0.15, 0.0), (0.5, 1.0)),
    initiate_within_s=1.0,
    full_within_s=1.0,
    sustain_s=6.0,
    source="AEMO very fast raise: outside 49.85 to 50.15 Hz, 1 s (AEMO MASS pages, FFR FAQ); full at 0.5 Hz "
    "and held until the 6 s service takes over, from memory",
    certainty="M",
    effective_from=date(2023, 10, 9),
)
_AEMO_R6: Final = replace(
    _AEMO_R1,
    name="aemo-r6",
    initiate_within_s=6.0,
    full_within_s=6.0,
    sustain_s=60.0,
    source="AEMO fast raise: outside 49.85 to 50.15 Hz, 6 s (AEMO MASS pages); full at 0.5 Hz and held until "
    "the 60 s service takes over, from memory",
    effective_from=None,
)
_AEMO_R60: Final = replace(
    _AEMO_R6,
    name="aemo-r60",
    initiate_within_s=60.0,
    full_within_s=60.0,
    sustain_s=300.0,
    source="AEMO slow raise: outside 49.85 to 50.15 Hz, 60 s (AEMO MASS pages); full at 0.5 Hz and held until "
    "the 5 min service takes over, from memory",
)
_AEMO_R5: Final = replace(
    _AEMO_R60,
    name="aemo-r5",
    initiate_within_s=300.0,
    full_within_s=300.0,
    sustain_s=600.0,
    source="AEMO delayed raise: outside 49.85 to 50.15 Hz, 5 min (AEMO MASS pages); full at 0.5 Hz and held for "
    "10 min from the excursion on, from memory",
)

CATALOGUE: Final[dict[str, ResponseCurve]] = {
    curve.name: curve
    for curve in (
        _DC_LOW,
        _mirrored(_DC_LOW, "neso-dc-high"),
        _DM_LOW,
        _mirrored(_DM_LOW, "neso-dm-high"),
        _DR_LOW,
        _mirrored(_DR_LOW, "neso-dr-high"),
        ResponseCurve(
            name="entsoe-fcr",
            direction=Direction.BOTH,
            # The rule bears an insensitivity of 10 mHz; a curve without it has no step at its edge.
            points=((0.0, 0.0), (0.2, 1.0)),
            initiate_within_s=2.0,
            full_within_s=30.0,
            sustain_s=1800.0,
            recovery=Recovery(share=0.25, after_s=60.0, ramp_per_min=0.2),
            source="FCR of Continental Europe, (EU) 2017/1485 Annex V: 100 % at 0.2 Hz within 30 s, "
            "insensitivity up to 10 mHz; start after 2 s, 15 to 30 min with limited energy (30 taken) "
            "and power for the reservoir, from memory",
            certainty="M",
            effective_from=date(2017, 9, 14),
        ),
        _NORDIC_FFR,
        replace(
            _NORDIC_FFR,
            name="nordic-ffr-49.6",
            points=((0.4, 1.0), (1.0, 1.0)),
            initiate_within_s=1.0,
            full_within_s=1.0,
            source=_NORDIC_FFR.source.replace("49.7 Hz within 1.3 s", "49.6 Hz within 1.0 s"),
        ),
        replace(
            _NORDIC_FFR,
            name="nordic-ffr-49.5",
            points=((0.5, 1.0), (1.0, 1.0)),
            initiate_within_s=0.7,
            full_within_s=0.7,
            source=_NORDIC_FFR.source.replace("49.7 Hz within 1.3 s", "49.5 Hz within 0.7 s"),
        ),
        _FCR_D_UP,
        _mirrored(_FCR_D_UP, "fcr-d-down"),
        _FCR_D_UP_BEFORE_2023,
        _mirrored(_FCR_D_UP_BEFORE_2023, "fcr-d-down-before-2023"),
        ResponseCurve(
            name="fcr-n",
            direction=Direction.BOTH,
            points=((0.0, 0.0), (0.1, 1.0)),
            initiate_within_s=10.0,
            full_within_s=180.0,
            sustain_s=3600.0,
            recovery=Recovery(share=0.34, after_s=60.0, ramp_per_min=0.2),
            source="Nordic FCR-N: 100 % at 0.1 Hz within 3 min, dead band up to 0.01 Hz (0 taken), 1 h with "
            "limited energy and 134 % power (svk.se, fingrid.fi); start within 10 s unsure",
            certainty="U",
        ),
        ResponseCurve(
            name="ercot-ffr",
            direction=Direction.LOW,
            points=((0.15, 1.0), (1.0, 1.0)),
            initiate_within_s=0.25,
            full_within_s=0.25,
            sustain_s=900.0,
            nominal_hz=60.0,
            trigger=Trigger(ramp_s=0.0, sustain_s=900.0, release_per_s=1.0),
            source="ERCOT RRS-FFR: at 59.85 Hz or below within 15 cycles, 15 min (10 min when instructed), "
            "Protocols 2 and 3 second-hand; no recall reaches the local response, so that it runs its "
            "15 min; release unsure",
            certainty="U",
        ),
        ResponseCurve(
            name="ercot-pfr",
            direction=Direction.BOTH,
            points=((0.017, 0.0), (3.0, 1.0)),
            initiate_within_s=2.0,
            full_within_s=16.0,
            sustain_s=900.0,
            nominal_hz=60.0,
            source="ERCOT primary frequency response: dead band 0.017 Hz, droop 5 % of 60 Hz, share of the "
            "rating; Protocols second-hand; times and duration unsure",
            certainty="U",
        ),
        _AEMO_R1,
        _mirrored(_AEMO_R1, "aemo-l1"),
        _AEMO_R6,
        _mirrored(_AEMO_R6, "aemo-l6"),
        _AEMO_R60,
        _mirrored(_AEMO_R60, "aemo-l60"),
        _AEMO_R5,
        _mirrored(_AEMO_R5, "aemo-l5"),
        ResponseCurve(
            name="cn-primary",
            direction=Direction.BOTH,
            points=((0.033, 0.0), (0.533, 1.0)),
            initiate_within_s=1.0,
            full_within_s=3.0,
            sustain_s=900.0,
            over_delivery_share=0.01,
            source="GB/T 40595-2021, storage at 35 kV and above (zgcnxt): dead band 0.03 to 0.05 Hz (0.033 "
            "taken), droop 0.5 to 3 % (1 % of 50 Hz taken), lag 1 s, rise 3 s, settled in 4 s within 1 "
            "% of the rating; 15 min unsure",
            certainty="U",
        ),
    )
}


def curve_named(name: str) -> ResponseCurve:
    """Return a curve of the catalogue; raise CurveError naming what is known otherwise."""
    try:
        return CATALOGUE[name]
    except KeyError:
        known = ", ".join(sorted(CATALOGUE))
        raise CurveError(f"curve {name!r} is not in the catalogue, accepted: {known}") from None
