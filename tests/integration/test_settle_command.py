"""``manage.py settle`` on metered sites: runs, dry runs, what is missing; two at once, and a kill in the middle."""

from __future__ import annotations

import hashlib
import json
import signal
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from support.metered import STARTS_AT
from support.settled import SECONDS, a_fleet, an_obligation
from support.writers import run, write_at_once

from markets.models import GridSupportEntry, Obligation, Statement
from sites.metering.models import HighRateRecord
from sites.registry.models import Site
from sites.wire.records import pack_samples, unpack_samples
from vpp.dispatch.models import Dispatch, SiteAssignment

PERIOD = ("--from", (STARTS_AT - timedelta(hours=1)).isoformat(), "--to", (STARTS_AT + timedelta(hours=1)).isoformat())
NAME = "DC-e1"
ROOT = Path(__file__).resolve().parents[2]


def a_dispatch() -> Obligation:
    """Two metered sites whose shares are acknowledged, and the obligation that they served."""
    obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
    dispatch = Dispatch.objects.create(
        dispatch_id=NAME, obligation=obligation, product="neso-dc-low", power_kw=100.0, starts_at=STARTS_AT,
        ends_at=STARTS_AT + timedelta(seconds=SECONDS), created_at=STARTS_AT,
    )  # fmt: skip
    for share in shares:
        SiteAssignment.objects.create(
            dispatch=dispatch, site=Site.objects.get(site_id=share.site_id), assignment_id=share.site_id, sequence=1,
            power_kw=share.contracted_kw, baseline_kw=share.baseline_kw, body=b"{}",
            content_hash=hashlib.sha256(share.site_id.encode()).hexdigest(), ends_at=dispatch.ends_at,
            created_at=STARTS_AT, acknowledged_at=STARTS_AT - timedelta(seconds=5),
        )  # fmt: skip
    return obligation


def revise() -> None:
    """Store site-1's third chunk again, now without power."""
    row = HighRateRecord.objects.get(site__site_id="site-1", number=3, revision=0)
    samples = unpack_samples(bytes(row.samples), len(row.columns)).copy()
    samples[:, row.columns.index("battery_kw")] = -3.0
    row.pk, row.revision, row.samples = None, 1, pack_samples(samples)
    row.received_at = row.received_at + timedelta(days=3000)
    row.save(force_insert=True)


def settle(*arguments: Any, basis: str = "demonstration") -> str:
    out = StringIO()
    call_command("settle", *arguments, "--basis", basis, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
class TestCommand:
    def test_settles_once_and_says_what_stands(self) -> None:
        a_dispatch()
        # 3.186 GBP/MW/h x 0.1 MW x 30 s
        booked = settle("--obligation", NAME)
        assert (
            "DC-e1 run 1: booked 0.002655 GBP (capacity 0.002655, energy 0.000000, penalty 0.000000; demonstration), "
            "entry " in booked
        )
        assert settle(*PERIOD) == booked.replace("booked", "held")
        assert "run 2: unchanged; run 1 stands with 0.002655 GBP, nothing is booked" in settle(
            "--obligation", NAME, "--run", 2
        )
        assert (Statement.objects.count(), GridSupportEntry.objects.count()) == (1, 3)

    def test_books_the_next_run_of_what_late_metering_touches(self, tmp_path: Path) -> None:
        a_dispatch()
        settle("--obligation", NAME)
        assert settle(*PERIOD, "--late") == "nothing to settle\n"
        revise()
        count = GridSupportEntry.objects.count()
        assert "run 2: would book " in settle(*PERIOD, "--late", "--dry-run")
        assert GridSupportEntry.objects.count() == count
        out = tmp_path / "runs.json"
        text = settle(*PERIOD, "--late", "--json", out)
        assert ", difference -0.00" in text
        (result,) = json.loads(out.read_text())["results"]
        assert (result["run"], result["outcome"]) == (2, "booked")
        assert result["entry_hash"] == GridSupportEntry.objects.get(kind="statement/2").entry_hash
        assert "run 1: held 0.002655 GBP" in settle("--obligation", NAME, "--run", 1)

    def test_names_each_site_that_is_not_metered(self, tmp_path: Path) -> None:
        a_dispatch()
        HighRateRecord.objects.filter(site__site_id="site-2").delete()
        out = tmp_path / "runs.json"
        with pytest.raises(CommandError, match=r"1 sites are not metered in full: site-2: record covers 0\.0%"):
            settle("--obligation", NAME, "--json", out)
        (result,) = json.loads(out.read_text())["results"]
        assert (result["outcome"], result["missing"]) == ("waits", {"site-2": "record covers 0.0%"})
        assert Statement.objects.count() == 0
        assert "penalty -" in settle("--obligation", NAME, "--accept-gaps")

    def test_does_not_settle_live_on_rows_that_were_not_read(self) -> None:
        a_dispatch()
        with pytest.raises(CommandError, match="may not be settled live"):
            settle("--obligation", NAME, basis="live")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "either --obligation, or --from with --to"),
            (("--obligation", NAME, *PERIOD), "either --obligation, or --from with --to"),
            (("--from", "2026-01-01T00:00:00+00:00"), "accepted: ISO 8601 instants"),
            (("--obligation", NAME, "--run", 0), "--run is 0, accepted: 1 or more"),
            (("--obligation", NAME, "--late"), "--late takes the next run of each"),
            (("--obligation", "DC-9"), "obligation 'DC-9' is not known"),
            ((*PERIOD, "--json", "/nowhere/runs.json"), "there is no folder /nowhere"),
        ],
    )
    def test_names_what_it_cannot_take(self, arguments: tuple[Any, ...], said: str) -> None:
        with pytest.raises(CommandError, match=said):
            settle(*arguments)


# Settles in a process of its own; with a kind given it is killed when it comes to write the first entry of that kind.
SETTLER = """
import os, signal, sys
import django
django.setup()
from django.core.management import call_command
from markets import settling
append_entries = settling.append_entries
def killed_before(model, drafts, **more):
    if sys.argv[1] and any(draft.kind == sys.argv[1] for draft in drafts):
        os.kill(os.getpid(), signal.SIGKILL)
    return append_entries(model, drafts, **more)
settling.append_entries = killed_before
print("ready", flush=True)
sys.stdin.readline()
call_command("settle", "--obligation", "DC-e1", "--run", "2", "--basis", "demonstration")
"""
SET_UP = """
import sys
sys.path.insert(0, "tests")
import django
django.setup()
from integration.test_settle_command import a_dispatch, revise, settle
a_dispatch()
settle("--obligation", "DC-e1")
revise()
"""
COUNT = """
import django
django.setup()
from collections import Counter
from markets.models import GridSupportEntry, Statement
import json
kinds = Counter(GridSupportEntry.objects.values_list("kind", flat=True))
print(json.dumps([Statement.objects.count(), kinds]))
"""


def test_a_kill_in_the_middle_leaves_nothing_half_and_two_at_once_book_once(database_url: str) -> None:
    def settlers(*kinds: str) -> list[int]:
        """Let one settler for each kind go, and return how they ended."""
        return [each.code for each in write_at_once(database_url, SETTLER, [(kind,) for kind in kinds])]

    run(database_url, "-c", SET_UP)
    first = [1, {"settlement": 2, "statement": 1}]
    assert json.loads(run(database_url, "-c", COUNT)) == first
    # After the reversals are written, before what replaces them is.
    assert settlers("settlement/2") == [-signal.SIGKILL]
    assert json.loads(run(database_url, "-c", COUNT)) == first
    assert settlers("", "") == [0, 0]
    assert json.loads(run(database_url, "-c", COUNT)) == [
        2, {"settlement": 2, "statement": 1, "reversal/1": 3, "settlement/2": 2, "statement/2": 1}
    ]  # fmt: skip
    # Exit code 0: every entry stands and is computed again, of either run.
    run(database_url, "manage.py", "verify_books")
