"""The grid-support book holds no carbon and the carbon book no money: columns, bodies, and roots under any price."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.db import models, transaction
from support.metered import INTERVAL_S, STARTS_AT
from support.settled import AT, SECONDS, a_fleet, an_obligation, settle

from carbon.models import CarbonEntry
from carbon.operations import close_period
from markets import settling
from markets.core.product import AvailabilityPrice, Certainty
from markets.core.products import ROWS
from markets.models import GridSupportEntry
from sites.core.intervals import Interval
from sites.ledger.queries import book_root
from sites.metering.models import MeterInterval
from sites.registry.models import Asset, Site

pytestmark = pytest.mark.django_db
CARBON = re.compile(r"co2|carbon|emission|scope[_ ]?[123]|green", re.IGNORECASE)
MONEY = re.compile(
    r"price|cost|currency|revenue|payment|penalty|money|invoice|(?<![a-z])fee(?![a-z])|"
    + "|".join(rf"(?<![a-z]){row.currency}(?![a-z])" for row in {row.currency: row for row in ROWS}.values()),
    re.IGNORECASE,
)


def texts_in(value: Any) -> Iterator[str]:
    """Yield every key and every text of a body."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield str(name)
            yield from texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part)
    elif isinstance(value, str):
        yield value


def columns_of(app: str) -> Iterator[str]:
    """Yield the columns of an app's tables."""
    for model in apps.get_app_config(app).get_models():
        for field in model._meta.get_fields():
            if isinstance(field, models.Field):
                yield f"{model._meta.label}.{field.column}"


def with_the_rest_of_the_bus() -> None:
    """Give the settled sites a load that takes what the battery gives, and a switch that nothing passes."""
    for site in Site.objects.all():
        battery = Asset.objects.get(site=site, name="battery")
        for name in ("pcc", "load"):
            asset = Asset.objects.create(site=site, name=name, kind=name, rated_kw=100.0)
            for row in MeterInterval.objects.filter(asset=battery):
                into, out = (row.from_bus_uwh, row.into_bus_uwh) if name == "load" else (0, 0)
                MeterInterval.objects.create(
                    asset=asset, number=row.number, starts_at=row.starts_at, ends_at=row.ends_at, into_bus_uwh=into,
                    from_bus_uwh=out, register_into_uwh=0, register_from_uwh=0, received_at=row.received_at,
                )  # fmt: skip


def both_books(price: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, Decimal]:
    """Settle and close one world on a price, and forget it again: roots of both books, and the amount."""
    point = transaction.savepoint()
    given = AvailabilityPrice(date(2026, 6, 1), Decimal(price), Certainty.MEMORY, "this test")
    monkeypatch.setattr(settling, "price_at", lambda *_: given)
    statement = settle(an_obligation(), a_fleet([60.0, 40.0]))
    with_the_rest_of_the_bus()
    window = Interval(STARTS_AT, STARTS_AT + statement.obligation.window.duration)
    closed = close_period(period=window, dispatch_id="DC-e1", at=AT, allow_older_vintage=True)
    assert not closed.statement.facts().get("left_out")
    roots = book_root(GridSupportEntry), book_root(CarbonEntry)
    for model, foreign in ((GridSupportEntry, CARBON), (CarbonEntry, MONEY)):
        bodies = [json.loads(body) for body in model._default_manager.values_list("body", flat=True)]
        assert bodies
        assert [text for body in bodies for text in texts_in(body) if foreign.search(text)] == []
    transaction.savepoint_rollback(point)
    return *roots, statement.amount


def test_no_price_moves_the_carbon_root(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECONDS % INTERVAL_S == 0
    found = [both_books(price, monkeypatch) for price in ("3.186", "-20.00", "0", "999999.99")]
    assert len({amount for _, _, amount in found}) == 4
    assert len({grid for grid, _, _ in found}) == 4
    assert len({carbon for _, carbon, _ in found}) == 1


def test_the_tables_have_no_column_of_each_other() -> None:
    markets, carbon = list(columns_of("markets")), list(columns_of("carbon"))
    assert any(name.startswith("markets.GridSupportEntry.") for name in markets)
    assert any(name.startswith("carbon.CarbonEntry.") for name in carbon)
    assert [name for name in markets if CARBON.search(name)] == []
    assert [name.partition(".")[2] for name in carbon if MONEY.search(name)] == []


def test_the_words_are_found_where_they_stand() -> None:
    assert CARBON.search("ugCO2e")
    assert MONEY.search("GBP")
    assert MONEY.search("price_per_mw_h")
    assert not MONEY.search("fuel/diesel")
