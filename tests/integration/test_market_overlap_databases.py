"""Two operators at once for the same kilowatts: on both databases, one of them gets them."""

from __future__ import annotations

from support.writers import run, write_at_once

WRITERS = 4
WRITER = """
import sys, django
django.setup()
from datetime import UTC, datetime, timedelta
from markets import operations, queries
from markets.core.events import Event, EventInterval, EventSignal
number = sys.argv[1]
at = datetime(2026, 6, 1, 12, tzinfo=UTC)
starts_at, length = at + timedelta(minutes=5), timedelta(minutes=30)
context = queries.program_named("neso-dc-low").market_context
print("ready", flush=True)
sys.stdin.readline()
for event in range(5):
    signal = EventSignal("LOAD_DISPATCH", "delta", (EventInterval(starts_at, length, -10.0),), "W", "k")
    operations.receive_event(
        raw=b"<raw/>", available_kw=100.0, at=at,
        event=Event("VTN", f"{number}-{event}", 0, "far", context, starts_at, length, (signal,)),
    )
"""


def test_nothing_is_promised_twice_by_writers_at_once(database_url: str) -> None:
    """20 events of 10 kW from 4 processes, 100 kW in all: ten are accepted, whoever came first."""
    run(database_url, "manage.py", "load_programs")
    ended = write_at_once(database_url, WRITER, [(str(number),) for number in range(WRITERS)])
    assert [each.code for each in ended] == [0] * WRITERS, ended
    owed_kw = run(
        database_url, "manage.py", "shell", "--no-imports", "-c",
        "from markets.models import Obligation; from django.db.models import Sum;"
        "print(Obligation.objects.filter(status='open').aggregate(sum=Sum('power_kw'))['sum'])",
    )  # fmt: skip
    assert owed_kw.strip() == "100.0"
