"""Shares stand while a synchronous area's frequency is away, and for a while after."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sites.core.synchronous import synchronous_area
from vpp.dispatch.freezing import FreezeWatch

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_the_median_decides() -> None:
    watch = FreezeWatch()
    watch.note([("nordic", -0.21), ("nordic", -0.21), ("nordic", 0.0), ("great-britain", 0.0)], at=at(0))
    assert watch.is_frozen(["nordic"], at=at(0))
    assert not watch.is_frozen(["great-britain"], at=at(0))
    # Two sites that measure nonsense move no median of five.
    watch.note([("great-britain", d) for d in (-3.0, 5.0, 0.0, 0.01, -0.01)], at=at(1))
    assert not watch.is_frozen(["great-britain"], at=at(1))


def test_it_thaws_when_the_frequency_has_been_back_for_a_while() -> None:
    watch = FreezeWatch()
    watch.note([("nordic", 0.3)], at=at(0))
    for seconds, frozen in ((1, True), (9.9, True), (10, False)):
        watch.note([("nordic", 0.1)], at=at(seconds))
        assert watch.is_frozen(["nordic"], at=at(seconds)) is frozen


def test_an_unknown_frequency_freezes() -> None:
    watch = FreezeWatch()
    watch.note([("nordic", None), ("nordic", float("nan"))], at=at(0))
    assert watch.is_frozen(["nordic"], at=at(0))
    watch.note([("nordic", 0.0)], at=at(1))
    assert not watch.is_frozen(["nordic"], at=at(1))
    assert watch.is_frozen(["nordic"], at=at(2))


def test_a_clock_that_was_set_back_freezes_until_it_has_caught_up() -> None:
    watch = FreezeWatch()
    watch.note([("nordic", 0.3)], at=at(100))
    watch.note([("nordic", 0.0)], at=at(0))
    assert watch.is_frozen(["nordic"], at=at(0))


@pytest.mark.parametrize(
    ("zone", "area"),
    [
        ("GB", "great-britain"), ("GB-NIR", "ireland"), ("IE", "ireland"), ("SE3", "nordic"), ("NO-NO2", "nordic"),
        ("DK2", "nordic"), ("DK1", "continental-europe"), ("DE", "continental-europe"), ("ES", "continental-europe"),
        ("US-TEX-ERCO", "US-TEX-ERCO"), ("CN-GD", "CN-GD"),
    ],
)  # fmt: skip
def test_zones_and_their_areas(zone: str, area: str) -> None:
    assert synchronous_area(zone) == area
