"""The scorecard's table: what meets its target, and that a missing figure never does."""

import copy

import pytest
from rich.console import Console

from vpp.demo.scorecard import _largest, _responses, _smallest, percentiles, rows_of, table_of

GOOD = {
    "sites": 200,
    "armed": 200,
    "acknowledged": 200,
    "arm_ms": {"p50": 124.0, "p99": 220.0},
    "product": "neso-dc-low",
    "obligation_kw": 7576.4,
    "delivered_kw_worst_10s": 7500.0,
    "due_kw_worst_10s": 7576.4,
    "delivered_ratio": 0.99,
    "response_ms": {"p50": 20.0, "p99": 40.0},
    "islanding": {
        "events": 1,
        "decision_ms": 1.2,
        "transfer_ms": 1.9,
        "load_outside_itic": 0,
        "sites": 1,
        "sites_back_on_grid": 1,
        "load_min_pu_after_2ms": 0.8,
    },
    "settlement": {"amount": 0.449, "currency": "GBP", "k_factor": 1.0},
    "carbon": {"scope1_kg": 0.0, "scope2_location_kg": 4.4},
    "books_verified": True,
    "truck": {"trucks": 24, "mobilization_min": 90.0, "litres": 533.0, "kg_co2e": 1418.0},
    "wall_s": 70.0,
}


def missed(card):
    return [row.text for row in rows_of(card) if row.met is False]


def test_a_good_card_misses_nothing():
    assert missed(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["acknowledged"], 199),
        (["armed"], 0),
        (["delivered_ratio"], 0.949),
        (["delivered_ratio"], None),
        (["response_ms", "p99"], 1001.0),
        (["response_ms", "p99"], None),
        (["islanding", "events"], 0),
        (["islanding", "load_outside_itic"], 1),
        (["islanding", "load_min_pu_after_2ms"], 0.69),
        (["islanding", "load_min_pu_after_2ms"], None),
        (["islanding", "sites_back_on_grid"], 0),
        (["books_verified"], False),
        (["wall_s"], 90.0),
    ],
)
def test_what_is_short_or_missing_is_missed(path, value):
    card = copy.deepcopy(GOOD)
    place = card
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert len(missed(card)) == 1


def test_the_table_fits_a_terminal_of_80_columns():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table_of(GOOD))
    assert max(map(len, console.export_text().splitlines())) <= 80


def test_percentiles_of_nothing_are_unknown():
    assert percentiles([]) == {"p50": None, "p99": None}
    assert percentiles([10.0, 20.0, 30.0])["p50"] == 20.0


def test_one_unknown_figure_makes_the_worst_unknown():
    assert _largest([1.0, float("nan")]) is None
    assert _smallest([0.9, float("nan")]) is None
    assert _largest([1.0, 2.3]) == 2.3
    assert _smallest([0.9, 0.8]) == 0.8


def test_a_site_that_never_answered_is_not_left_out_of_the_lags():
    answered = {"response_ms": 20, "response_missed": False}
    never_due = {"response_ms": None, "response_missed": False}
    assert _responses([answered, never_due])["p99"] == 20.0
    assert _responses([answered, {"response_ms": None, "response_missed": True}])["p99"] is None
