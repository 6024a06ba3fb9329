"""Awards at once for the same power, from processes of their own on both databases: none is sold twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.migrated import make_tables
from support.postgres import postgres_database

ROOT = Path(__file__).resolve().parents[2]
CALLERS = 2

SET_UP = """
import django
django.setup()
from support.offered import NOW, WINDOW, a_site, a_unit, an_offer
from markets.offers.models import Offer
sites = a_site(1), a_site(2)
one = an_offer(a_unit(*sites), 1900.0)
Offer.objects.update(status="withdrawn")
two = an_offer(a_unit(*sites, name="again"), 1900.0)
Offer.objects.update(status="open")
print(one.pk, two.pk)
"""
# One caller takes of one offer, one of the other, which has the same sites behind it.
CALLER = """
import sys
import django
django.setup()
from support.offered import an_award
from markets.core.offering import OfferRefused
from markets.models import Obligation
from markets.offers.models import Offer
number, offer = int(sys.argv[1]), Offer.objects.get(pk=int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
taken = 0
for turn in range(6):
    try:
        an_award(offer, 1000.0, f"A{number}-{turn}")
        taken += 1
    except OfferRefused:
        pass
print(taken, sum(Obligation.objects.values_list("power_kw", flat=True)), flush=True)
"""


def environment(url: str) -> dict[str, str]:
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    return os.environ | {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "vpp.settings", "PYTHONPATH": paths}


def run(url: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(url), cwd=ROOT, capture_output=True, text=True, timeout=180,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'awards.sqlite3'}"
        return
    with postgres_database() as url:
        yield url


def test_the_same_power_is_sold_once(database_url: str) -> None:
    make_tables(database_url, lambda: run(database_url, "manage.py", "migrate", "--verbosity", "0"))
    offers = run(database_url, "-c", SET_UP).split()
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, str(number), offers[number]],
            env=environment(database_url), cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(CALLERS)
    ]  # fmt: skip
    try:
        for caller in callers:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "ready\n"
        for caller in callers:
            assert caller.stdin is not None
            caller.stdin.write("go\n")
            caller.stdin.flush()
        taken = []
        for caller in callers:
            said, error = caller.communicate(timeout=180)
            assert caller.returncode == 0, error[-3000:]
            taken.append([float(figure) for figure in said.split()])
    finally:
        for caller in callers:
            caller.kill()
            caller.wait()
    # 1960 kW can be sold of the two sites: one award of 1000 kW, and a site holds one curve.
    assert [sum(own for own, _ in taken), max(owed for _, owed in taken)] == [1.0, 1_000.0]
