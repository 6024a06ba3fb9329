"""Scores on measured frequencies and signals: a perfect responder, a late one, and PJM's score computed plainly."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from support.responses import a_recording, perfect_kw

from markets.core.products import product_named
from markets.core.scores.registry import score_recording

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "frequency"
pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/frequency is absent"),
]
KW = 1000.0


def great_britain() -> tuple[np.ndarray, np.ndarray]:
    """9 August 2019: the first fall, to 49.1 Hz; 1 s, digitized."""
    lines = (SHARED / "gb_20190809_digitised_1s.csv").read_text().splitlines()
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[2:]])
    return rows[:, 0], rows[:, 1]


def a_calm_day() -> tuple[np.ndarray, np.ndarray]:
    """Great Britain, 11 August 2017, a row a minute."""
    with gzip.open(SHARED / "gb_frequency_1min_2017-08-11_2017-09-21.dev.csv.gz", "rt") as file:
        hz = [float(row["f_Hz"]) for row in csv.DictReader(file)][:1440]
    return 60.0 * np.arange(1440), np.array(hz)


def toledo() -> tuple[np.ndarray, np.ndarray]:
    """28 April 2025, 11:00 to 12:33:16 CEST: until the separation; 2 s."""
    with gzip.open(SHARED / "iberia_20250428_toledo_2s.csv.gz", "rt") as file:
        cells = [row["AnalyzerL1Frequency"] for row in csv.DictReader(file)][:2798]
    told = [n for n, cell in enumerate(cells) if cell]
    return 2.0 * np.array(told), np.array([float(cells[n]) for n in told])


def pjm() -> np.ndarray:
    """RegD of two hours, 2 s."""
    with gzip.open(SHARED / "pjm_regd_rega_2s_20170801-02.dev.csv.gz", "rt") as file:
        return np.array([float(row["regd"]) for row in csv.DictReader(file)])[:3600]


def on_grid(recorded: tuple[np.ndarray, np.ndarray], rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    t_s, hz = recorded
    at = np.arange(t_s[0], t_s[-1], 1.0 / rate_hz)
    return at, np.interp(at, t_s, hz)


def judged(name: str, t_s, hz, power_kw, rate_hz: float, signal=None):
    product = product_named(name)
    return score_recording(
        product, a_recording(product, hz, power_kw, rate_hz=rate_hz, signal=signal), contract_kw=KW
    ).score


@pytest.mark.parametrize(
    ("name", "recording", "rate_hz"),
    [
        ("neso-dc-low", great_britain, 20.0),
        ("neso-dc-high", great_britain, 20.0),
        ("neso-dm-low", great_britain, 20.0),
        ("neso-dr-low", great_britain, 2.0),
        ("fcr-d-up", great_britain, 10.0),
        ("nordic-ffr", great_britain, 10.0),
        ("aemo-r6", great_britain, 5.0),
        ("aemo-r60", great_britain, 5.0),
        ("cn-primary", great_britain, 1.0),
        ("entsoe-fcr", a_calm_day, 1.0),
        ("cn-primary", a_calm_day, 1.0),
        ("entsoe-fcr", toledo, 1.0),
        ("fcr-n", toledo, 1.0),
    ],
)
def test_a_perfect_responder_scores_one_and_a_dead_one_less(name, recording, rate_hz):
    t_s, hz = on_grid(recording(), rate_hz)
    product = product_named(name)
    power = perfect_kw(product, t_s, hz, None, KW)
    assert judged(name, t_s, hz, power, rate_hz).value == pytest.approx(1.0, abs=1e-9)
    if np.abs(power).max() > 0.1 * KW:
        assert judged(name, t_s, hz, 0.0 * power, rate_hz).value < 0.95


def test_great_britain_two_seconds_late_is_no_containment():
    t_s, hz = on_grid(great_britain(), 20.0)
    power = perfect_kw(product_named("neso-dc-low"), t_s, hz, None, KW)
    assert judged("neso-dc-low", t_s, hz, np.roll(power, 40), 20.0).value == 0.0


def plainly(signal: np.ndarray, response: np.ndarray) -> float:
    """Return PJM's score of whole hours step by step, as a reader of the manual would write it; rows of 2 s."""
    x, y = signal.reshape(-1, 5).mean(axis=1), response.reshape(-1, 5).mean(axis=1)
    windows = []
    for at in range(0, len(x), 30):
        window = x[at : at + 30]
        best, lag = -1.0, 30
        for j in range(31):
            moved = y[at + j : at + j + 30]
            if len(moved) == 30 and (r := np.corrcoef(window, moved)[0, 1]) > best:
                best, lag = r, j
        correlation, delay = max(0.0, best), abs(10 * lag - 300) / 300
        if np.std(window) < 0.01:
            slopes = [np.polyfit(np.arange(30), part, 1)[0] for part in (window, y[at : at + 30])]
            correlation, delay = max(0.0, 1.0 - abs(slopes[0] - slopes[1])), 1.0
        hour = x[at // 360 * 360 : at // 360 * 360 + 360]
        precision = max(0.0, 1.0 - np.abs(y[at : at + 30] - window).mean() / np.abs(hour).mean())
        windows.append((correlation + delay + precision) / 3.0)
    return float(np.mean(windows))


@pytest.mark.parametrize(("lag", "share", "noise"), [(0, 1.0, 0.0), (5, 1.0, 0.02), (15, 0.8, 0.05), (60, 1.0, 0.2)])
def test_pjm_s_own_signal_is_scored_as_the_manual_reads(lag, share, noise):
    signal = pjm()
    response = share * np.roll(signal, lag) + np.random.default_rng(lag).normal(0.0, noise, signal.size)
    score = judged("pjm-regd", None, np.full(signal.size, 60.0), KW * response, 0.5, signal)
    assert score.value == pytest.approx(plainly(signal, response), abs=1e-6)
    assert (score.value == pytest.approx(1.0)) is (lag == 0)
