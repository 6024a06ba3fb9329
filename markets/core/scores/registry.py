"""The rules by the name that a row of the catalogue gives, and what a record needs to be scored by each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from markets.core.delivery import Delivery
from markets.core.product import Kind, Product
from markets.core.scores import china_agc, envelope, excursions, instructions, neso, pjm, triggers
from markets.core.scores.recording import Recording
from markets.core.scores.score import Component, Score, ScoreError
from sites.core.curves import FloatArray

RATE_TOLERANCE: Final = 1e-3
NOMINAL_TOLERANCE_HZ: Final = 3.0
"""The middle of a record is so near its grid's nominal frequency; 50 and 60 Hz are told apart."""
_SHORTEST_S: Final = 10.0

SignalRule = Callable[[Product, Recording, FloatArray], Score]
"""Takes the service in shares of contract, positive in the product's direction."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A record judged by its product."""

    product: Product
    score: Score
    available_ratio: float
    """Share of the time that can be judged, 0 to 1."""
    quality: dict[str, Component]


DELIVERY_RULES: Final[dict[str, Callable[[Delivery, Product], Score]]] = {
    neso.RULE_NAME: neso.score,
    "two-step-envelope": envelope.two_step,
    "nordic-fcr": envelope.nordic_fcr,
    "nordic-ffr": triggers.nordic_ffr,
    "ercot-ffr": triggers.ercot_ffr,
    "ercot-pfr": excursions.ercot_pfr,
    "aemo-fcas": excursions.aemo_fcas,
    "cn-primary": excursions.china_primary,
}
"""What follows the frequency: also for a site's or a fleet's delivery from the meter book."""


def _three_part(product: Product, recording: Recording, response: FloatArray) -> Score:
    return pjm.three_part(
        _signal(product, recording), response, recording.known, recording.rate_hz, scored_s=recording.scored_s
    )


def _agc(product: Product, recording: Recording, response: FloatArray) -> Score:
    return china_agc.agc_index(
        _signal(product, recording), response, recording.known, recording.rate_hz, product.score.parameters
    )


def _ers(product: Product, recording: Recording, response: FloatArray) -> Score:
    return instructions.ers(
        _signal(product, recording),
        response,
        recording.known,
        recording.rate_hz,
        ramp_s=product.full_within_s,
        period_s=product.price.settlement_period_s,
    )


def _tracking(product: Product, recording: Recording, response: FloatArray) -> Score:
    return instructions.setpoint_tracking(
        _signal(product, recording),
        response,
        recording.known,
        recording.rate_hz,
        period_s=product.price.settlement_period_s,
    )


def _limit(_product: Product, recording: Recording, response: FloatArray) -> Score:
    most = 1.0 if recording.signal is None else np.nan_to_num(recording.signal)
    return envelope.limit(response, recording.known, most)


SIGNAL_RULES: Final[dict[str, SignalRule]] = {
    "pjm-three-part": _three_part,
    "cn-agc": _agc,
    "ercot-ers": _ers,
    "setpoint-tracking": _tracking,
    "power-limit": _limit,
}


def needs_signal(product: Product) -> bool:
    """Return whether a record without a signal cannot be scored."""
    return product.kind in (Kind.SIGNAL, Kind.INSTRUCTION)


def score_recording(product: Product, recording: Recording, *, contract_kw: float, baseline_kw: float = 0.0) -> Scored:
    """Return a record's score by its product's rule.

    ``contract_kw`` is what was sold [kW, > 0], ``baseline_kw`` what would have been without the service, positive into
    the grid. Raises ScoreError naming what the record lacks and what is accepted.
    """
    if not (math.isfinite(contract_kw) and contract_kw > 0.0):
        raise ScoreError(f"the contract is {contract_kw:g} kW, accepted: more than 0")
    _require_fitting(product, recording)
    if product.score.name in DELIVERY_RULES:
        delivery = recording.delivery(product, contract_kw, baseline_kw)
        score = DELIVERY_RULES[product.score.name](delivery, product)
    else:
        response = recording.service_kw(product, baseline_kw) / contract_kw
        score = SIGNAL_RULES[product.score.name](product, recording, response)
    return Scored(product, score, float(recording.known.mean()), recording.quality())


def score_delivery(
    product: Product, delivery: Delivery, signal: FloatArray | None = None, *, scored_s: float | None = None
) -> Score:
    """Return the score of a delivery of the meter book by its product's rule.

    ``signal`` is what the operator asked for at each sample, in shares of contract; ``scored_s`` limits PJM's windows
    to the beginning. Raises ScoreError for a product that needs a signal and has none.
    """
    if product.score.name in DELIVERY_RULES:
        return DELIVERY_RULES[product.score.name](delivery, product)
    given = np.where(delivery.available, delivery.given_share, np.nan)
    recording = Recording(delivery.rate_hz, np.zeros(given.size), given, signal, scored_s)
    return SIGNAL_RULES[product.score.name](product, recording, np.nan_to_num(given))


def _require_fitting(product: Product, recording: Recording) -> None:
    if recording.rate_hz < product.data.rate_hz * (1.0 - RATE_TOLERANCE):
        raise ScoreError(
            f"the record has {_rate(recording.rate_hz)}, accepted for {product.name}: {_rate(product.data.rate_hz)} or "
            f"faster ({product.data.rule.text})"
        )
    shortest_s = max(_SHORTEST_S, 1.0 / product.data.rate_hz)
    if recording.duration_s < shortest_s * (1.0 - RATE_TOLERANCE):
        raise ScoreError(f"the record is {recording.duration_s:g} s long, accepted: {shortest_s:g} s or more")
    middle_hz = float(np.nanmedian(recording.frequency_hz))
    accepted = (50.0, 60.0) if product.nominal_hz is None else (product.nominal_hz,)
    if all(abs(middle_hz - nominal_hz) > NOMINAL_TOLERANCE_HZ for nominal_hz in accepted):
        raise ScoreError(
            f"the frequency is {middle_hz:.3f} Hz in the middle, accepted for {product.name}: near "
            f"{' or '.join(f'{nominal_hz:g}' for nominal_hz in accepted)} Hz"
        )


def _signal(product: Product, recording: Recording) -> FloatArray:
    if recording.signal is None:
        raise ScoreError(f"the record has no signal, accepted for {product.name}: -1 to 1 of the contract, or 0 and 1")
    return np.nan_to_num(recording.signal)


def _rate(rate_hz: float) -> str:
    return f"{rate_hz:g} rows a second" if rate_hz >= 1.0 else f"a row every {1.0 / rate_hz:g} s"
