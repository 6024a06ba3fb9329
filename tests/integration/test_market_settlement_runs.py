"""Later settlement runs: the last one is reversed, what is known now is booked, and every run can be computed again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.settled import AT, a_fleet, an_obligation, settle

from markets import queries
from markets.core import products
from markets.core.lines import lines_of
from markets.late import late_settlements
from markets.models import GridSupportEntry, Obligation, Statement
from markets.settling import NotSettleable
from sites.core.intervals import Interval
from sites.ledger.audit import books_audit
from sites.ledger.models import ChainHead
from sites.metering.models import HighRateRecord, MeterInterval
from sites.wire.records import pack_samples, unpack_samples

pytestmark = pytest.mark.django_db
LATER = AT + timedelta(days=2)
NAME = "DC-e1"


def revised_record(site_id: str, number: int, gain: float) -> None:
    """Store a chunk of the record again with its power times a gain, as its next revision."""
    row = HighRateRecord.objects.filter(site__site_id=site_id, number=number).order_by("-revision")[0]
    samples = unpack_samples(bytes(row.samples), len(row.columns)).copy()
    column = row.columns.index("battery_kw")
    samples[:, column] = -3.0 + (samples[:, column] + 3.0) * gain
    row.pk, row.revision, row.received_at, row.samples = None, row.revision + 1, LATER, pack_samples(samples)
    row.save(force_insert=True)


def revised_interval(site_id: str, number: int, more_uwh: int) -> None:
    row = MeterInterval.objects.get(asset__site__site_id=site_id, number=number)
    row.pk, row.revision, row.received_at = None, row.revision + 1, LATER
    row.service_into_uwh += more_uwh
    row.save(force_insert=True)


def balances(kinds: Callable[[str], bool] = lambda _: True) -> dict[str, Decimal]:
    """Return what the book holds on each account, of the entries of some kinds."""
    sums: Counter[str] = Counter()
    for kind, body in GridSupportEntry.objects.values_list("kind", "body"):
        if kinds(kind):
            for row in json.loads(body)["postings"]:
                sums[row["account"]] += Decimal(row["amount"])  # type: ignore[assignment]
    return {account: Decimal(amount) for account, amount in sums.items() if amount}


class TestSecondRun:
    def test_of_a_revised_record_reverses_the_first_and_books_what_a_fresh_settlement_gives(self) -> None:
        obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
        first = settle(obligation, shares)
        before = list(GridSupportEntry.objects.order_by("pk").values())
        revised_record("site-1", 3, 0.0)
        second = settle(obligation, shares, run=2, at=LATER)
        assert (second.run, second.obligation.statements.count()) == (2, 2)
        assert second.amount < first.amount
        assert second.difference == second.amount - first.amount
        # Nothing of the first run was touched, and it is still computed again from the rows that it used.
        assert list(GridSupportEntry.objects.order_by("pk").values())[: len(before)] == before
        report = books_audit()
        assert report.verified, report.faults
        kinds = Counter(GridSupportEntry.objects.values_list("kind", flat=True))
        assert kinds == {"settlement": 2, "statement": 1, "reversal/1": 3, "settlement/2": 2, "statement/2": 1}
        assert queries.fleet_entry_facts(dispatch_id=NAME, run=1)["amount"] == str(first.amount)
        facts = queries.fleet_entry_facts(dispatch_id=NAME)
        assert facts["amount"] == str(second.amount)
        assert facts["shares"][0]["records"] == [[1, 2, 0], [3, 3, 1], [4, 4, 0]]
        # The same meters settled for the first time, in a book without a first run.
        booked = balances()
        self.forget_the_book()
        fresh = settle(Obligation.objects.get(), shares, at=LATER)
        assert fresh.amount == second.amount
        assert balances() == booked

    def forget_the_book(self) -> None:
        from support.books import empty_books

        Statement.objects.all().delete()
        empty_books()
        ChainHead.objects.all().delete()
        Obligation.objects.update(status="open")

    def test_of_unchanged_data_books_nothing(self) -> None:
        obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
        first = settle(obligation, shares)
        count = GridSupportEntry.objects.count()
        assert settle(obligation, shares, run=2, at=LATER) == first
        # A revision that says the same is no change either.
        revised_interval("site-1", 2, 0)
        revised_record("site-1", 2, 1.0)
        assert settle(obligation, shares, run=2, at=LATER) == first
        assert GridSupportEntry.objects.count() == count

    def test_of_another_price_changes_the_money_and_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
        first = settle(obligation, shares)
        row = products.PRODUCTS["neso-dc-low"]
        prices = tuple(replace(price, price_per_mw_h=price.price_per_mw_h * 2) for price in row.prices)
        monkeypatch.setitem(products.PRODUCTS, "neso-dc-low", replace(row, prices=prices))
        second = settle(obligation, shares, run=2, at=LATER)
        assert second.amount == second.difference + first.amount == Decimal("0.005310")
        before, now = (queries.fleet_entry_facts(dispatch_id=NAME, run=run) for run in (1, 2))
        assert (before["fleet"], before["shares"]) == (now["fleet"], now["shares"])
        # Each run keeps its own price.
        assert books_audit().verified

    def test_is_the_next_one_or_none(self) -> None:
        obligation, shares = an_obligation(), a_fleet([100.0])
        with pytest.raises(NotSettleable, match=r"0 runs, run 2 asked, accepted: 1\Z"):
            settle(obligation, shares, run=2)
        settle(obligation, shares)
        with pytest.raises(NotSettleable, match="1 runs, run 3 asked, accepted: 1 to 2"):
            settle(obligation, shares, run=3)

    def test_an_altered_reversal_is_found(self) -> None:
        obligation, shares = an_obligation(), a_fleet([100.0])
        settle(obligation, shares)
        revised_record("site-1", 3, 0.0)
        settle(obligation, shares, run=2, at=LATER)
        (reversal,) = GridSupportEntry.objects.filter(kind="reversal/1", chain="site-1/battery")
        body = json.loads(reversal.body)
        for row in body["postings"]:
            row["amount"] = str(2 * Decimal(row["amount"]))
        reversal.body = json.dumps(body)
        (again,) = GridSupportEntry.recalculated_bodies([reversal])
        assert again is not None
        assert again["postings"] != body["postings"]

    def test_late_metering_is_told_against_the_last_run(self) -> None:
        obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
        settle(obligation, shares)
        day = Interval(AT - timedelta(days=1), AT + timedelta(days=1))
        revised_record("site-2", 3, 0.5)
        (late,) = late_settlements(period=day)
        assert late.records == (("site-2", 3),)
        settle(obligation, shares, run=2, at=LATER)
        assert late_settlements(period=day) == []
        revised_interval("site-1", 4, 1_000)
        (late,) = late_settlements(period=day)
        assert late.fleet_entry.kind == "statement/2"
        assert [row.number for row in late.intervals] == [4]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(["site-1", "site-2", "site-3"]),
            st.integers(1, 4),
            st.sampled_from([0.0, 0.5, 0.9, 0.98, 1.0, 1.2]),
        ),
        min_size=1,
        max_size=4,
    ),
    order=st.permutations([0, 1, 2]),
)
def test_runs_balance_and_a_reversal_undoes_its_run(changes: list[tuple[str, int, float]], order: list[int]) -> None:
    from django.db import transaction

    with transaction.atomic():
        obligation, shares = an_obligation(), a_fleet([50.0, 30.0, 20.0])
        run = settle(obligation, shares).run
        for site_id, number, gain in changes:
            revised_record(site_id, number, gain)
            # In any order of the sites the same is said.
            statement = settle(obligation, [shares[place] for place in order], run=run + 1, at=LATER)
            run = statement.run
        statements = list(queries.statements_of(dispatch_id=NAME))
        assert statements[-1].amount == sum(row.difference for row in statements)
        assert sum(balances().values()) == 0
        for entry in GridSupportEntry.objects.all():
            assert sum(Decimal(row["amount"]) for row in json.loads(entry.body)["postings"]) == 0
        for taken_back in range(1, run):
            of_it = {f"reversal/{taken_back}"} | (
                {"settlement", "statement"}
                if taken_back == 1
                else {f"settlement/{taken_back}", f"statement/{taken_back}"}
            )
            assert balances(of_it.__contains__) == {}
        assert balances().get("operator/VTN", Decimal(0)) == -statements[-1].amount
        assert books_audit().verified
        transaction.set_rollback(True)


class TestLines:
    def test_add_up_to_the_amount(self) -> None:
        settle(an_obligation(), a_fleet([100.0], gain=0.95))
        facts = queries.fleet_entry_facts(dispatch_id=NAME)
        capacity, energy, penalty = lines_of(facts)
        # 3.186 GBP/MW/h x 0.1 MW x 30 s
        assert capacity.amount == Decimal("0.002655")
        assert penalty.amount < 0
        assert capacity.amount + energy.amount + penalty.amount == Decimal(facts["amount"])
        assert energy.quantity == (Decimal(facts["fleet"]["delivered_uwh"]) / 10**9).quantize(Decimal("0.000001"))

    def test_without_an_event_there_is_no_energy(self) -> None:
        obligation, shares = an_obligation(), a_fleet([100.0])
        for row in HighRateRecord.objects.all():
            samples = unpack_samples(bytes(row.samples), len(row.columns)).copy()
            samples[:, row.columns.index("frequency_hz")] = 50.0
            samples[:, row.columns.index("battery_kw")] = -3.0
            HighRateRecord.objects.filter(pk=row.pk).update(samples=pack_samples(samples))
        settle(obligation, shares)
        capacity, energy, penalty = lines_of(queries.fleet_entry_facts(dispatch_id=NAME))
        assert (energy.quantity, energy.amount, penalty.amount) == (0, 0, 0)
        assert capacity.amount == Decimal("0.002655")

    @pytest.mark.parametrize(("less", "more"), [(0.5, 0.97), (0.95, 0.96), (0.97, 1.0)])
    def test_who_delivers_more_is_never_paid_less(self, less: float, more: float) -> None:
        obligation, shares = an_obligation(), a_fleet([100.0], gain=less)
        first = settle(obligation, shares)
        for number in range(1, 5):
            revised_record("site-1", number, more / less)
        assert settle(obligation, shares, run=2, at=LATER).amount >= first.amount
