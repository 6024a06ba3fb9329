"""What a site stands at is kept beside its live values, judged as text from outside, and whole after each news."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sites.metering.batches import Batch
from sites.metering.sorting import Arrival, Sorter
from sites.registry.queries import SiteKeys
from sites.wire.birth_table import MetricValue
from sites.wire.host_events import NodeBorn, NodeData

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def a_sorter() -> Sorter:
    return Sorter({"site-1": SiteKeys(7, {}, 3)}, 60.0)


def tell(sorter: Sorter, *, is_birth: bool = False, **values: Any) -> Batch:
    batch = Batch()
    known = {name: MetricValue(value, NOW_MS, False) for name, value in values.items()}
    event = (NodeBorn if is_birth else NodeData)("site-1", known, NOW_MS)
    sorter.add(Arrival(event, "topic", b"", NOW, batch))
    return batch


def test_news_are_added_to_what_the_birth_told() -> None:
    sorter = a_sorter()
    tell(sorter, is_birth=True, alarms="", tiers_closed=3, limited_by="none", decided_at=None, frequency_hz=50.0)
    batch = tell(sorter, alarms="fire,fault", decided_at=NOW_MS - 1000, frequency_hz=50.0)
    values = batch.standing[7].values
    assert values == {
        "alarms": "fire,fault", "tiers_closed": 3, "limited_by": "none",
        "decided_at": datetime(2026, 3, 1, 11, 59, 59, tzinfo=UTC),
    }  # fmt: skip
    # An instant is no reading, and live values go their own way.
    assert batch.live[7].values == {"frequency_hz": 50.0}
    assert [row[2] for row in batch.readings] == [("frequency_hz",)]


def test_without_news_nothing_is_written() -> None:
    assert tell(a_sorter(), frequency_hz=50.0).standing == {}


@pytest.mark.parametrize("text", ["<script>", "Fire", "a" * 201, "fire\n"])
def test_a_text_that_no_site_of_ours_would_say_is_refused(text: str) -> None:
    batch = tell(a_sorter(), alarms=text)
    assert batch.standing == {}
    assert batch.counts["value_out_of_range"] == 1


def test_the_state_of_a_site_s_outbox_is_kept_with_it() -> None:
    batch = tell(
        a_sorter(), is_birth=True, outbox_state="filling", outbox_rows=12, outbox_oldest_at=NOW_MS - 1000,
        outbox_used_ratio=0.83, outbox_dropped_records=None,
    )  # fmt: skip
    assert batch.standing[7].values == {
        "outbox_state": "filling", "outbox_rows": 12, "outbox_oldest_at": datetime(2026, 3, 1, 11, 59, 59, tzinfo=UTC),
        "outbox_used_ratio": 0.83, "outbox_dropped_records": None,
    }  # fmt: skip
