"""Awards at once for the same power, from processes of their own on both databases: none is sold twice."""

from __future__ import annotations

from pathlib import Path

from support.writers import run, write_at_once

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


def test_the_same_power_is_sold_once(database_url: str) -> None:
    offers = run(database_url, "-c", SET_UP).split()
    ended = write_at_once(database_url, CALLER, [(str(number), offers[number]) for number in range(CALLERS)])
    assert [each.code for each in ended] == [0] * CALLERS, ended
    taken = [[float(figure) for figure in each.said.split()] for each in ended]
    # 1960 kW can be sold of the two sites: one award of 1000 kW, and a site holds one curve.
    assert [sum(own for own, _ in taken), max(owed for _, owed in taken)] == [1.0, 1_000.0]
