"""What holds of every product's score: range, perfect delivery, sides, scale, shift, gaps, and the order of sites."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.responses import a_recording, perfect_kw, with_gaps

from markets.core.delivery import FleetSum, SiteRecord, site_delivery
from markets.core.product import Product
from markets.core.products import ROWS, product_named
from markets.core.scores.recording import Recording, recording_of_rows
from markets.core.scores.registry import DELIVERY_RULES, SIGNAL_RULES, needs_signal, score_recording

EVERY = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name} {row.effective_from}")
CONTRACT_KW = 100.0
SAMPLES = 1200
SEEDS = st.integers(0, 10_000)


@cache
def a_course(product: Product, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, float]:
    """Return (t_s, frequency_hz, signal, rate_hz): calm, a fall or rise to full activation, and back, with noise."""
    rng = np.random.default_rng(seed)
    rate_hz = max(product.data.rate_hz, SAMPLES / 3600.0) if product.curve_name else product.data.rate_hz
    t_s = np.arange(SAMPLES) / rate_hz
    at = np.linspace(0.0, 1.0, SAMPLES)
    depth = (product.curve.points[-1][0] if product.curve_name else 0.1) * rng.uniform(0.3, 1.3)
    way = -1.0 if product.direction.value != "high" else 1.0
    dip = np.interp(at, [0.0, 0.2, 0.22, 0.5, 0.7, 1.0], [0.0, 0.0, 1.0, 0.9, 0.0, 0.0])
    frequency = (product.nominal_hz or 50.0) + way * depth * dip + rng.normal(0.0, 0.004, SAMPLES)
    if not needs_signal(product):
        return t_s, frequency, None, rate_hz
    if product.score.name == "ercot-ers":
        signal = ((at > 0.3) & (at < 0.6)).astype(float)
    else:
        signal = np.clip(np.repeat(rng.uniform(-1.0, 1.0, SAMPLES // 12), 12)[:SAMPLES], -1.0, 1.0)
    return t_s, frequency, signal, rate_hz


def perfect(product: Product, seed: int = 1, contract_kw: float = CONTRACT_KW) -> Recording:
    t_s, frequency, signal, rate_hz = a_course(product, seed)
    power = perfect_kw(product, t_s, frequency, signal, contract_kw)
    return a_recording(product, frequency, power, rate_hz=rate_hz, signal=signal)


def poor(product: Product, seed: int) -> Recording:
    """Return a response that lags, falls short at times, and is noisy."""
    good, rng = perfect(product, seed), np.random.default_rng(seed + 1)
    power = np.roll(good.power_kw, int(rng.integers(0, 30))) * np.repeat(rng.uniform(0.3, 1.2, 20), SAMPLES // 20)
    return Recording(good.rate_hz, good.frequency_hz, power + rng.normal(0.0, 2.0, SAMPLES), good.signal)


def value_of(product: Product, recording: Recording, contract_kw: float = CONTRACT_KW) -> float | None:
    return score_recording(product, recording, contract_kw=contract_kw).score.value


@EVERY
def test_the_rule_of_every_row_exists(row):
    rules = DELIVERY_RULES if row.curve_name else SIGNAL_RULES
    assert row.score.name in rules


@EVERY
def test_perfect_delivery_scores_one(row):
    for seed in range(5):
        value = value_of(row, perfect(row, seed))
        assert value is None or value == pytest.approx(1.0, abs=1e-9), seed
    assert value_of(row, perfect(row, 3)) is not None or row.score.name in {"aemo-fcas", "nordic-ffr", "ercot-ffr"}


@EVERY
@settings(max_examples=12)
@given(seed=SEEDS)
def test_a_score_is_between_nothing_and_one(row, seed):
    value = value_of(row, poor(row, seed))
    assert value is None or 0.0 <= value <= 1.0


@EVERY
@settings(max_examples=8)
@given(seed=SEEDS, factor=st.floats(0.01, 1000.0))
def test_contract_and_power_scale_together(row, seed, factor):
    recording = poor(row, seed)
    scaled = Recording(recording.rate_hz, recording.frequency_hz, recording.power_kw * factor, recording.signal)
    value, other = value_of(row, recording), value_of(row, scaled, CONTRACT_KW * factor)
    assert (value is None) == (other is None)
    if value is not None:
        assert other == pytest.approx(value, abs=1e-6)


@EVERY
@settings(max_examples=12)
@given(seed=SEEDS, first=st.integers(1, SAMPLES - 2), length=st.integers(1, 400))
def test_a_gap_never_raises_the_score(row, seed, first, length):
    recording = poor(row, seed)
    gone = np.zeros(SAMPLES, dtype=np.bool_)
    gone[first : min(first + length, SAMPLES - 1)] = True
    whole, cut = value_of(row, recording), value_of(row, with_gaps(recording, gone))
    if whole is not None and cut is not None:
        assert cut <= whole + 1e-9


@EVERY
def test_a_gap_in_a_perfect_delivery_costs_something(row):
    recording = perfect(row, 3)
    gone = np.zeros(SAMPLES, dtype=np.bool_)
    gone[300:420] = True
    value = value_of(row, with_gaps(recording, gone))
    assert value is None or value < 1.0


@EVERY
@settings(max_examples=5)
@given(seed=SEEDS, offset_s=st.integers(-100_000, 1_800_000_000))
def test_where_time_is_counted_from_does_not_matter(row, seed, offset_s):
    recording = poor(row, seed)
    t_s = np.arange(SAMPLES) / recording.rate_hz
    moved = recording_of_rows(t_s + offset_s, recording.frequency_hz, recording.power_kw, recording.signal)
    assert moved.rate_hz == pytest.approx(recording.rate_hz, rel=1e-3)
    assert value_of(row, moved) == value_of(row, recording)


PAIRS = [
    *((f"neso-{service}-low", f"neso-{service}-high") for service in ("dc", "dm", "dr")),
    *((f"aemo-r{service}", f"aemo-l{service}") for service in ("1", "6", "60", "5")),
    ("fcr-d-up", "fcr-d-down"),
    ("fcr-d-up-static", "fcr-d-down-static"),
    ("ercot-reg-up", "ercot-reg-down"),
]


@pytest.mark.parametrize(("low", "high"), PAIRS)
@settings(max_examples=10)
@given(seed=SEEDS)
def test_the_high_product_is_the_mirror_of_the_low_one(low, high, seed):
    up, down = product_named(low), product_named(high)
    recording = poor(up, seed)
    nominal = up.nominal_hz
    mirrored = Recording(
        recording.rate_hz, 2.0 * nominal - recording.frequency_hz, -recording.power_kw, recording.signal
    )
    assert value_of(down, mirrored) == pytest.approx(value_of(up, recording), abs=1e-9)


@pytest.mark.parametrize("name", ["entsoe-fcr", "fcr-n", "cn-primary", "ercot-pfr"])
@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_product_of_both_sides_is_its_own_mirror(name, seed):
    product = product_named(name)
    recording = poor(product, seed)
    mirrored = Recording(
        recording.rate_hz, 2.0 * product.nominal_hz - recording.frequency_hz, -recording.power_kw, None
    )
    assert value_of(product, mirrored) == pytest.approx(value_of(product, recording), abs=1e-6)


@pytest.mark.parametrize("name", ["neso-dc-low", "entsoe-fcr", "fcr-d-up", "nordic-ffr", "aemo-r6", "cn-primary"])
@settings(max_examples=10)
@given(seed=SEEDS, order=st.permutations(range(4)))
def test_the_order_of_the_sites_does_not_matter(name, seed, order):
    product = product_named(name)
    recordings = [poor(product, seed + n) for n in range(4)]

    def fleet(numbers) -> float | None:
        total = FleetSum(SAMPLES)
        for n in numbers:
            ones = np.ones(SAMPLES)
            record = SiteRecord(recordings[n].frequency_hz, recordings[n].power_kw, ones, ones * 25.0)
            delivery = site_delivery(
                record, curve=product.curve, nominal_hz=50.0, rate_hz=recordings[n].rate_hz, contracted_kw=25.0,
                baseline_kw=0.0,
            )  # fmt: skip
            total.add(record, delivery)
        delivery = total.delivery(
            curve=product.curve, nominal_hz=50.0, rate_hz=recordings[0].rate_hz, contracted_kw=4 * 25.0
        )
        return DELIVERY_RULES[product.score.name](delivery, product).value

    assert fleet(order) == pytest.approx(fleet(range(4)), abs=1e-6)
