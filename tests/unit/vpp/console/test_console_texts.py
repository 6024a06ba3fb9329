"""Texts of the pages: units, minus signs, ages, instants in a site's own zone."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from sites.metering.models import SiteStanding
from sites.registry.models import Site
from vpp.console import requests, texts


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (-3.46, "−3.5 kW"), (0.0, "0.0 kW"), (-0.04, "0.0 kW"), (12345.678, "12,345.7 kW")]
)
def test_a_quantity_carries_its_unit_and_a_real_minus(value: float | None, text: str) -> None:
    assert texts.quantity(value, "kW") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (0.4, "0 s"), (89, "89 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 days")],
)
def test_an_age_is_told_in_the_unit_that_says_enough(seconds: float | None, text: str) -> None:
    assert texts.age(seconds) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 1, 5, 12, 0, tzinfo=UTC), "2026-01-05 12:00:00 GMT"),
        (datetime(2026, 7, 5, 12, 0, tzinfo=UTC), "2026-07-05 13:00:00 BST"),
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25 01:30:00 BST"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25 01:30:00 GMT"),
    ],
)
def test_an_instant_is_told_in_the_sites_zone_with_its_name(at: datetime, text: str) -> None:
    assert texts.instant(at, ZoneInfo("Europe/London")) == text


def test_an_instant_without_a_zone_is_utc_and_keeps_its_milliseconds() -> None:
    at = datetime(2026, 1, 5, 12, 0, 0, 123_456, tzinfo=UTC)
    assert texts.instant(at, digits=3) == "2026-01-05 12:00:00.123 UTC"


def test_a_zone_that_this_machine_does_not_know_falls_back_to_utc() -> None:
    assert texts.zone_of(Site(time_zone="Mars/Olympus")).key == "UTC"


class TestMoneyAndCarbon:
    @pytest.mark.parametrize(
        ("amount", "text"),
        [("12.4", "12.40"), ("0", "0.00"), ("0.002345", "0.002345"), ("-0.5", "−0.50"), ("1234.5", "1,234.50")],
    )
    def test_a_small_amount_is_seen(self, amount, text):
        assert texts.money(Decimal(amount)) == text

    @pytest.mark.parametrize(
        ("amount", "unit", "text"),
        [
            (11_029_549, "ugCO2e", "11.030 g CO2e"),
            (-3_653_318_754, "ugCO2e", "−3.653 kg CO2e"),
            ("-0.449028", "GBP", "−0.449028 GBP"),
        ],
    )
    def test_a_posting_has_a_unit_that_people_read(self, amount, unit, text):
        assert texts.booked(amount, unit) == text


class TestWhatASiteSaysOfItsOutbox:
    def told(self, **values: object) -> str:
        standing = SiteStanding(**values)  # type: ignore[misc]
        return requests.standing_texts(standing, saturates_in_s=None, zone=ZoneInfo("UTC"))["outbox"]

    def test_an_older_edge_says_nothing(self) -> None:
        assert self.told() == texts.NOTHING

    def test_safe(self) -> None:
        assert self.told(outbox_state="ok", outbox_rows=0, outbox_used_ratio=0.0) == "safe"

    def test_what_waits_and_what_was_given_up(self) -> None:
        text = self.told(
            outbox_state="dropping", outbox_rows=1234, outbox_oldest_at=datetime(2026, 3, 1, 11, 0, tzinfo=UTC),
            outbox_used_ratio=0.97, outbox_dropped_records=3, outbox_dropped_waveforms=0,
        )  # fmt: skip
        assert text == (
            "samples were given up within the last hour; 1,234 rows wait, the oldest from 2026-03-01 11:00:00 UTC; "
            "97% of its bound taken; samples of 3 records given up"
        )
