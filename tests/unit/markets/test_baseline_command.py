"""`manage.py baseline`: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

EVENT = ("2026-06-17T15:00Z", "2026-06-17T17:00Z")


@pytest.fixture
def meter(tmp_path: Path) -> Path:
    """Fifty days at 100 kW by day and 40 kW by night; 30 kW less in the event."""
    start = datetime(2026, 5, 1, tzinfo=UTC)
    lines = ["at,consumption_kw"]
    for quarter in range(50 * 96):
        at = start + timedelta(minutes=15 * quarter)
        in_event = at.date().isoformat() == "2026-06-17" and at.hour in (15, 16)
        lines.append(f"{at.isoformat()},{(100 if 6 <= at.hour < 22 else 40) - 30 * in_event}")
    path = tmp_path / "meter.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def printed(*arguments: str) -> str:
    out = StringIO()
    call_command("baseline", *arguments, stdout=out)
    return out.getvalue()


def test_it_prints_rule_days_adjustment_readings_and_total(meter):
    text = printed(str(meter), "--method", "10-in-10", "--event", *EVENT, "--event-day", "2026-06-16", "--zone", "UTC")
    assert "CAISO 10-in-10 with capped same-day adjustment [10-in-10], certainty M" in text
    assert "days used (10): 2026-06-15, 2026-06-12" in text
    assert "day left out: 2026-06-16 event day" in text
    assert "adjustment by ratio: 1.0000 measured, 1.0000 applied, cap 0.80 to 1.20" in text
    assert "2026-06-17T15:00:00+00:00      100.000       70.000       30.000        7.500" in text
    assert text.rstrip().endswith("saving of the event: 60.000 kWh")


def test_the_document_holds_what_was_printed(meter, tmp_path):
    out = tmp_path / "out.json"
    printed(str(meter), "--method", "high-4-of-5", "--event", *EVENT, "--json", str(out))
    document = json.loads(out.read_text())
    assert document["saving_kwh"] == 60.0
    assert (len(document["intervals"]), len(document["days_used"])) == (8, 4)
    assert document["intervals"][0] == {
        "starts_at": "2026-06-17T15:00:00Z", "ends_at": "2026-06-17T15:15:00Z", "baseline_kw": 100.0,
        "measured_kw": 70.0, "saving_kw": 30.0, "saving_kwh": 7.5,
    }  # fmt: skip
    assert document["adjustment"]["kind"] == "additive"
    assert document["adjustment"]["cap"] is None
    assert (document["method"], document["certainty"]) == ("high-4-of-5", "M")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == ["out.json"]


def test_the_default_is_meter_before_meter_after(meter):
    assert "[meter-before-meter-after]" in printed(str(meter), "--event", *EVENT)


def test_drop_to_shows_limit_and_whether_it_was_kept(meter):
    text = printed(str(meter), "--method", "drop-to", "--event", *EVENT, "--firm-kw", "75", "--reference-kw", "120")
    assert "0 of 8 readings over the firm level of 75 kW" in text
    assert "75.000 yes" in text
    assert "saving of the event: 100.000 kWh" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "regression", "--event", *EVENT], "method 'regression' is not known, accepted: meter-before"),
        (
            ["--event", "2026-06-17T15:00", EVENT[1]],
            "has no zone, accepted: with Z or an offset, or the zone with --zone",
        ),
        (
            ["--event", "2026-10-25T01:30", "2026-10-25T02:00", "--zone", "Europe/London"],
            "comes twice in Europe/London",
        ),
        (["--event", EVENT[1], EVENT[0]], "accepted: after its start"),
        (["--event", "2026-08-01T15:00Z", "2026-08-01T16:00Z"], "accepted: within the readings"),
        (["--event", "2026-05-06T15:00Z", "2026-05-06T16:00Z", "--method", "10-in-10"], "found 3 of the 10 days"),
        (["--event", *EVENT, "--event-day", "yesterday"], "--event-day 'yesterday', accepted: a day such as"),
        (["--event", *EVENT, "--firm-kw", "5"], "does not read firm_kw, accepted: readings_before"),
        (["--event", *EVENT, "--method", "drop-to"], "needs firm_kw, reference_kw"),
        (["--event", *EVENT, "--max-gap-share", "2"], "max_gap_share is 2.0, accepted"),
        (
            ["--event", *EVENT, "--json", "/nowhere/out.json"],
            "there is no folder /nowhere, accepted: a file in a folder",
        ),
        (["--event", *EVENT, "--zone", "Nowhere"], "zone 'Nowhere' is not known"),
    ],
)
def test_a_refusal_says_what_is_accepted(meter, arguments, said):
    with pytest.raises(CommandError) as refused:
        printed(str(meter), *arguments)
    assert said in str(refused.value)


def test_an_output_that_cannot_be_replaced_leaves_the_old_one(meter, tmp_path):
    out = tmp_path / "out.json"
    out.write_text("{}")
    with pytest.raises(CommandError):
        printed(str(meter), "--event", "2026-08-01T15:00Z", "2026-08-01T16:00Z", "--json", str(out))
    assert out.read_text() == "{}"
    with pytest.raises(CommandError, match="is a folder, accepted: a file"):
        printed(str(meter), "--event", *EVENT, "--json", str(tmp_path))
