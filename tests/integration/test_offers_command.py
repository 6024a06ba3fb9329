"""``manage.py offers``: a unit, a scored test as evidence, an offer, its award, and what it says of nonsense."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from support.offered import a_site

from markets import operations as market_operations
from markets.models import Obligation
from markets.offers.models import Qualification
from sites.metering.models import LiveState
from sites.registry.models import FeederGroup

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fleet() -> None:
    a_site(1), a_site(2)
    LiveState.objects.update(measured_at=timezone.now(), received_at=timezone.now())
    market_operations.ensure_programs()


def offers(*arguments: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    call_command("offers", *map(str, arguments), stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def window() -> list[str]:
    now = timezone.now()
    return ["--start", (now + timedelta(minutes=10)).isoformat(), "--end", (now + timedelta(minutes=40)).isoformat()]


def a_record(folder: Path, *, share: float) -> Path:
    """A minute of 20 Hz with a dip to 49.6 Hz; ``share`` of what DC asks of 1500 kW is given."""
    t = np.arange(0, 60, 0.05)
    frequency = np.where((t > 10) & (t < 40), 49.6, 50.0)
    due = np.interp(50.0 - frequency, [0.015, 0.2, 0.5], [0.0, 0.05, 1.0]) * 1_500.0
    power = np.interp(t - 0.4, t, due) * share
    rows = "\n".join(f"{a:.2f},{b:.3f},{c:.3f}" for a, b, c in zip(t, frequency, power, strict=True))
    path = folder / f"{share}.csv"
    path.write_text(f"t_s,frequency_hz,power_kw\n{rows}\n")
    return path


def test_from_a_unit_to_an_obligation() -> None:
    assert offers("feeder", "feeder-7", "--up-kw", 1500, "--down-kw", 900, "--site", "site-0001")[0]["sites"] == 1
    assert offers("unit", "gb-low", "--program", "neso-dc-low", "--zone", "GB")[0]["sites"] == 2
    (found,) = offers("headroom", "gb-low", *window())
    assert (found["gross_kw"], found["net_kw"], found["forecast"]) == (2_000.0, 1_960.0, "live")
    (offer,) = offers("submit", "gb-low", *window(), "--price", "2.5", "--basis", "demonstration")
    assert (offer["quantity_kw"], offer["gross_kw"]) == (1_960.0, 2_000.0)
    (award,) = offers("award", offer["offer"], "--id", "A1", "--kw", 1500, "--price", "2.4")
    assert award == {"award": "A1", "dispatch_id": "DC-A1", "owed_kw": 1_500.0}
    assert offers("redeclare") == []
    LiveState.objects.filter(site__site_id="site-0001").update(mode="islanded")
    (row,) = offers("redeclare")
    assert (row["previous_kw"], row["quantity_kw"], row["told"][0]) == (1_500.0, 980.0, "dispatcher")
    assert Obligation.objects.get().power_kw == 980.0


def test_a_recorded_test_is_scored_before_it_is_evidence(tmp_path: Path) -> None:
    offers("unit", "gb-low", "--program", "neso-dc-low", "--zone", "GB")
    tested = ["--contract-kw", 1_500, "--tested-at", (timezone.now() - timedelta(days=1)).isoformat()]
    (good,) = offers("qualify", "gb-low", "--record", a_record(tmp_path, share=1.0), *tested)
    assert (good["score"], len(good["sha256"])) == ("1.000000", 64)
    (poor,) = offers("qualify", "gb-low", "--record", a_record(tmp_path, share=0.5), *tested)
    assert poor["score"] == "0.000000"
    assert Qualification.objects.count() == 2
    with pytest.raises(CommandError, match="may not be settled live"):
        offers("submit", "gb-low", *window(), "--kw", 1_500, "--price", "2.5")
    with pytest.raises(CommandError, match="up to the 1500 kW that a test showed"):
        offers("submit", "gb-low", *window(), "--kw", 1_501, "--price", "2.5")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["feeder", "a b", "--up-kw", "1", "--down-kw", "1"], "accepted: 1 to 64"),
        (["feeder", "f", "--up-kw", "nan", "--down-kw", "1"], "up_kw is nan"),
        (["feeder", "f", "--up-kw", "1", "--down-kw", "1", "--parent", "g"], "feeder 'g' is not known"),
        (["feeder", "f", "--up-kw", "1", "--down-kw", "1", "--site", "site-9"], "site site-9 is not enrolled"),
        (["unit", "u", "--program", "neso-dx", "--zone", "GB"], "is not set up"),
        (["unit", "u", "--program", "neso-dc-low", "--zone", "FR"], "the unit has no site"),
        (["headroom", "u", "--start", "2026-01-01T00:00Z", "--end", "2026-01-01T01:00Z"], "none is set up"),
        (["headroom", "u", "--start", "today", "--end", "2026-01-01T01:00Z"], "is not known|ISO 8601"),
        (["award", "7", "--id", "A", "--kw", "1", "--price", "1"], "offer 7 is not known"),
        (["redeclare", "--every", "0"], "accepted: 1 to 3600"),
    ],
)
def test_what_it_says_of_nonsense(arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=told):
        offers(*arguments)


def test_a_feeder_cannot_stand_inside_itself() -> None:
    offers("feeder", "a", "--up-kw", 1, "--down-kw", 1)
    offers("feeder", "b", "--up-kw", 1, "--down-kw", 1, "--parent", "a")
    with pytest.raises(CommandError, match="feeder b stands inside a"):
        offers("feeder", "a", "--up-kw", 1, "--down-kw", 1, "--parent", "b")
    assert FeederGroup.objects.get(name="a").parent is None
