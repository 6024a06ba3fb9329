"""Every kind of product through meters, book and reversal, on prices and signals given from outside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from support.metered import LEAD_S, RATE_HZ, a_metered_site
from support.settled import settle

from markets import queries
from markets.core.lines import lines_of
from markets.core.prices import Price, PriceInvalid, PriceMissing, PriceTable
from markets.core.product import Certainty, Kind
from markets.core.products import Basis, LiveSettlementRefused, product_named
from markets.core.settlement import ContractedShare
from markets.models import GridSupportEntry, MarketEvent, Obligation, Program, Statement
from markets.operations import ProgramSeed, ensure_programs
from markets.settling import Given, NotSettleable
from markets.signals import keep_signal
from sites.core.intervals import Interval
from sites.ledger.audit import books_audit
from sites.metering.models import MeterInterval
from sites.registry.models import Asset, Site

pytestmark = pytest.mark.django_db
START = datetime(2026, 6, 1, 12, tzinfo=UTC)
AT = START + timedelta(days=3)
SECONDS = 600.0
KWH = 1_000_000_000


def an_obligation(product: str, power_kw: float = 100.0, seconds: float = SECONDS, **changes: Any) -> Obligation:
    (program,) = ensure_programs(seeds=[ProgramSeed(product, f"http://example/{product}")])
    Program.objects.filter(pk=program.pk).update(**changes)
    event = MarketEvent.objects.create(
        vtn_id="VTN", event_id=product, modification_number=0, program=program, raw=b"", content_hash=product,
        operator_status="far", received_at=START, decided_at=START, opt_type="optIn", reason="accepted",
        reason_text="", requested_kw=power_kw, available_kw=power_kw,
    )  # fmt: skip
    return Obligation.objects.create(
        dispatch_id=f"X-{product}", program=program, event=event, power_kw=power_kw, starts_at=START,
        ends_at=START + timedelta(seconds=seconds), created_at=START, changed_at=START,
    )  # fmt: skip


def two_sites(
    service: Callable[[np.ndarray], np.ndarray], *, hz: np.ndarray | float = 50.0, nominal: float = 50.0,
    is_armed: bool = False,
):  # fmt: skip
    """Sites of 60 and 40 kW whose service is a share of their contract over the seconds since the start."""
    t_s = np.arange(round((SECONDS + LEAD_S) * RATE_HZ)) / RATE_HZ - LEAD_S
    frequency_hz = np.broadcast_to(np.asarray(hz, dtype=float), t_s.shape)
    shares = []
    for number, kw in enumerate((60.0, 40.0), 1):
        a_metered_site(
            f"site-{number}", starts_at=START, seconds=SECONDS, frequency_hz=frequency_hz,
            armed_kw=kw if is_armed else 0.0,
            service_kw=np.where(t_s >= 0.0, service(t_s), 0.0) * kw, baseline_kw=-3.0,
        )  # fmt: skip
        Site.objects.filter(site_id=f"site-{number}").update(nominal_hz=nominal)
        shares.append(ContractedShare(f"site-{number}", kw, -3.0))
    return shares


def given_prices(signal=None, **values: str) -> Given:
    day = Interval(START - timedelta(hours=12), START + timedelta(hours=12))
    rows = [Price(name, day, Decimal(value), Certainty.UNSURE, "a round figure") for name, value in values.items()]
    return Given(PriceTable(rows), signal)


def a_signal(step_s: float, values: list[float]):
    rows = [(START + timedelta(seconds=step_s * n), value) for n, value in enumerate(values)]
    return keep_signal(rows=rows, source="drawn by hand", at=AT)


def course(step_s: float, values: list[float], lag_s: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    def power(t_s: np.ndarray) -> np.ndarray:
        at = np.floor((t_s - lag_s) / step_s + 1e-9).astype(int)
        return np.where(at >= 0, np.asarray(values)[np.clip(at, 0, len(values) - 1)], 0.0)

    return power


def lines(dispatch_id: str) -> dict[str, Decimal]:
    facts = queries.fleet_entry_facts(dispatch_id=dispatch_id)
    assert facts is not None
    assert all("demonstration: row of certainty" in line.basis for line in lines_of(facts))
    return {line.name: line.amount for line in lines_of(facts)}


def balances() -> dict[str, Decimal]:
    sums: Counter[str] = Counter()
    for body in GridSupportEntry.objects.values_list("body", flat=True):
        for row in json.loads(body)["postings"]:
            sums[row["account"]] += Decimal(row["amount"])  # type: ignore[assignment]
    return {account: amount for account, amount in sums.items() if amount}  # type: ignore[misc]


REGD = [0.8 * float(np.sin(n * 2.1) * np.cos(n * 0.37)) for n in range(300)]
STEPS = [0.5, -0.5, 0.3, 0.8, 0.0, -0.7]
DIP = np.interp(np.arange(round((SECONDS + LEAD_S) * RATE_HZ)) / RATE_HZ, [60, 66, 200, 260], [50, 49.4, 49.4, 50])


class Case:
    """A product, how its sites serve, what it is given, and the lines it has."""

    def __init__(self, product, serve, expected, *, hz=50.0, nominal=50.0, signal=None, **prices):
        self.product, self.serve, self.expected = product, serve, expected
        self.hz, self.nominal, self.signal, self.prices = hz, nominal, signal, prices


def by_curve(full_share: float = 1.0):
    """Follows the dip of ``DIP`` in full after a second, as a product with a wide band or a trigger is asked for."""
    return lambda t_s: full_share * np.interp(t_s - 1.0, [58.0, 64.0, 198.0, 258.0], [0.0, 1.0, 1.0, 0.0])


CASES = [
    Case("pjm-reg", course(2.0, REGD, 1.0), {"capability", "performance", "penalty"}, hz=60.0, nominal=60.0,
         signal=(2.0, REGD), capacity="20", performance="4", mileage_ratio="2.5"),
    Case("cn-agc-south", course(100.0, STEPS, 4.0), {"mileage"}, signal=(100.0, STEPS), mileage="6"),
    Case("cn-primary", by_curve(), {"small disturbances", "large disturbances"}, hz=DIP, r1="400"),
    Case("fcr-d-up", by_curve(), {"capacity", "penalty"}, hz=DIP, capacity="12"),
    Case("nordic-ffr", by_curve(), {"capacity", "penalty"}, hz=DIP, capacity="30"),
    Case("fcr-n", by_curve(), {"capacity", "penalty", "energy"}, hz=DIP, capacity="30", energy="50"),
    Case("entsoe-fcr", by_curve(), {"capacity", "penalty"}, hz=DIP, capacity="12"),
    Case("aemo-r6", by_curve(), {"capacity", "penalty"}, hz=DIP, capacity="9"),
    Case("ercot-ffr", lambda t_s: np.where((t_s >= 59.5) & (t_s < 300.0), 1.0, 0.0), {"capacity", "penalty"},
         hz=DIP + 10.0, nominal=60.0, capacity="15"),
    Case("ercot-pfr", by_curve(), {"duty"}, hz=DIP + 10.0, nominal=60.0),
    Case("ercot-ers-10", course(600.0, [1.0]), {"capacity", "penalty"}, hz=60.0, nominal=60.0, capacity="8"),
    Case("ercot-reg-up", course(4.0, [0.5] * 150), {"capacity", "penalty"}, hz=60.0, nominal=60.0,
         signal=(4.0, [0.5] * 150), capacity="10"),
    Case("energy-dispatch", course(600.0, [0.9]), {"energy", "imbalance"}, energy="80", imbalance="120"),
    Case("capacity-limit-export", course(300.0, [0.0, -1.3]), {"capacity", "penalty", "excess"}, excess="200",
         capacity="10"),
]  # fmt: skip


SHORT = {"pjm-reg", "cn-agc-south", "cn-primary", "capacity-limit-export"}
"""One of each way to be paid; the others go the same ways with other rows."""


@pytest.mark.parametrize(
    "case",
    [pytest.param(each, id=each.product, marks=() if each.product in SHORT else pytest.mark.long) for each in CASES],
)
def test_a_run_balances_is_computed_again_and_is_undone(case: Case) -> None:
    obligation = an_obligation(case.product)
    shares = two_sites(
        case.serve, hz=case.hz, nominal=case.nominal, is_armed=product_named(case.product).kind is Kind.CURVE
    )
    signal = None if case.signal is None else a_signal(*case.signal)
    statement = settle(obligation, shares, given=given_prices(signal, **case.prices), at=AT)
    told = lines(obligation.dispatch_id)
    assert set(told) == case.expected
    assert sum(told.values()) == statement.amount
    if case.product != "ercot-pfr":
        assert statement.amount != 0
    booked = balances()
    paid = sum((amount for account, amount in booked.items() if account.startswith("asset/")), Decimal(0))
    assert paid == statement.amount == -booked.get("operator/VTN", Decimal(0))
    report = books_audit()
    assert report.verified, report.faults
    # The next run on other prices takes all of it back: what stands is what a first run on them would have given.
    doubled = {
        name: value if name == "mileage_ratio" else str(2 * Decimal(value)) for name, value in case.prices.items()
    }
    if case.prices:
        second = settle(obligation, shares, run=2, given=given_prices(signal, **doubled), at=AT)
        assert second.run == 2
        for name, amount in lines(obligation.dispatch_id).items():
            assert abs(amount - 2 * told[name]) <= Decimal("0.000002")
        assert balances()["operator/VTN"] == -second.amount
        # A run without prices keeps those of the run before, and then there is nothing to book.
        assert settle(obligation, shares, run=3, at=AT) == second
        report = books_audit()
        assert report.verified, report.faults


class TestByHand:
    def test_energy_of_ten_minutes(self) -> None:
        """100 kW for 600 s, 90 kW given: 15 kWh x 0.08 = 1.2; 1.666667 kWh off the plan x 0.12 = 0.2."""
        obligation = an_obligation("energy-dispatch")
        settle(obligation, two_sites(course(600.0, [0.9])), given=given_prices(energy="80", imbalance="120"), at=AT)
        assert lines(obligation.dispatch_id) == {"energy": Decimal("1.2"), "imbalance": Decimal("-0.2")}

    def test_energy_in_steps(self) -> None:
        """100 kW for 300 s, then 40 kW the other way: followed, 8.333333 - 3.333333 = 5 kWh x 0.08 = 0.4."""
        obligation = an_obligation("energy-dispatch")
        obligation.steps = [[START.isoformat(), 100.0], [(START + timedelta(seconds=300)).isoformat(), -40.0]]
        obligation.save()
        shares = two_sites(course(300.0, [1.0, -0.4]))
        settle(obligation, shares, given=given_prices(energy="80", imbalance="120"), at=AT)
        told = lines(obligation.dispatch_id)
        assert told["energy"] == Decimal("0.4")
        assert abs(told["imbalance"]) <= Decimal("0.00001")
        assert books_audit().verified

    def test_no_event_no_saving(self) -> None:
        obligation = an_obligation("energy-dispatch")
        shares = two_sites(lambda t_s: 0.0 * t_s)
        statement = settle(obligation, shares, given=given_prices(energy="80"), at=AT)
        assert statement.amount == 0

    def test_an_export_limit_of_100_kw_exceeded_by_30_percent_for_half_the_time(self) -> None:
        """3 kW go out at each site, and 78 and 52 kW more for 300 s: 136 kW against 100, 36 x 300 s = 3 kWh, x 0.2."""
        obligation = an_obligation("capacity-limit-export")
        settle(obligation, two_sites(course(300.0, [0.0, -1.3])), given=given_prices(excess="200"), at=AT)
        facts = queries.fleet_entry_facts(dispatch_id=obligation.dispatch_id)
        (line,) = lines_of(facts)
        assert line.amount == Decimal("-0.6")
        assert line.quantity == Decimal("3")


class TestRefusals:
    def test_a_missing_price_names_product_and_period_and_books_nothing(self) -> None:
        obligation = an_obligation("fcr-d-up")
        shares = two_sites(by_curve(), hz=DIP)
        with pytest.raises(PriceMissing, match="'fcr-d-up' has no price 'capacity' from 2026-06-01T12:00:00"):
            settle(obligation, shares, at=AT)
        assert not Statement.objects.exists()

    def test_a_signal_product_needs_the_signal(self) -> None:
        obligation = an_obligation("pjm-reg")
        with pytest.raises(NotSettleable, match="scored against the operator's signal"):
            settle(obligation, two_sites(course(2.0, REGD), nominal=60.0), given=given_prices(capacity="20"), at=AT)

    def test_live_is_refused_where_the_row_was_not_read_at_its_source(self) -> None:
        obligation = an_obligation("fcr-d-up")
        shares = two_sites(by_curve(), hz=DIP)
        with pytest.raises(LiveSettlementRefused, match="may not be settled live"):
            settle(obligation, shares, given=given_prices(capacity="12"), basis=Basis.LIVE, at=AT)

    def test_a_row_that_is_not_in_force_is_refused(self) -> None:
        obligation = an_obligation("pjm-regd")
        with pytest.raises(ValueError, match="no row in force on 2026-06-01"):
            settle(obligation, two_sites(course(2.0, REGD)), given=given_prices(capacity="20"), at=AT)

    def test_a_baseline_method_for_a_product_that_is_not_paid_against_one(self) -> None:
        obligation = an_obligation("fcr-d-up", baseline_method="mbma")
        with pytest.raises(NotSettleable, match="of kind curve, accepted: a product of kind instruction"):
            settle(obligation, two_sites(by_curve(), hz=DIP), given=given_prices(capacity="12"), at=AT)

    def test_prices_from_outside_where_the_catalogue_has_them(self) -> None:
        obligation = an_obligation("neso-dc-low")
        with pytest.raises(PriceInvalid, match="has its prices in the catalogue"):
            settle(obligation, two_sites(by_curve(), hz=DIP), given=given_prices(capacity="12"), at=AT)


class TestBaselineMethod:
    def metered(self, kw_of_minute: Callable[[int], float], minutes: int = 60) -> None:
        """Readings of the connection's meter from half an hour before the start."""
        for site in Site.objects.all():
            pcc = Asset.objects.create(site=site, name="pcc", kind="pcc", rated_kw=200.0)
            for minute in range(minutes):
                energy = round(kw_of_minute(minute - 30) / 60.0 * KWH)
                starts_at = START + timedelta(minutes=minute - 30)
                MeterInterval.objects.create(
                    asset=pcc, number=minute + 1, starts_at=starts_at, ends_at=starts_at + timedelta(minutes=1),
                    into_bus_uwh=max(energy, 0), from_bus_uwh=max(-energy, 0), register_into_uwh=0,
                    register_from_uwh=0, received_at=START,
                )  # fmt: skip

    def test_is_paid_against_and_pinned(self) -> None:
        """Each of two sites imports 50 kW before and 10 kW in the event: 40 kW x 10 min x 2 = 13.333333 kWh."""
        obligation = an_obligation("energy-dispatch", baseline_method="mbma")
        shares = two_sites(lambda t_s: 0.0 * t_s)
        self.metered(lambda minute: 50.0 if minute < 0 else 10.0)
        settle(obligation, shares, given=given_prices(energy="90"), at=AT)
        assert lines(obligation.dispatch_id) == {"energy": Decimal("1.2")}
        facts = queries.fleet_entry_facts(dispatch_id=obligation.dispatch_id)
        assert facts["terms"]["baseline_method"] == "meter-before-meter-after"
        pinned = facts["shares"][0]["baseline"]
        assert (pinned["method"], pinned["asset"], pinned["saving_kwh"]) == (
            "meter-before-meter-after", "pcc", "6.666667",
        )  # fmt: skip
        assert pinned["rows"] == [[1, 40, 0]]
        assert books_audit().verified
        # What comes later changes the next run and not this one.
        row = MeterInterval.objects.filter(asset__name="pcc", number=35).order_by("pk")[0]
        row.pk, row.revision, row.into_bus_uwh = None, 1, 0
        row.save(force_insert=True)
        assert books_audit().verified
        second = settle(obligation, shares, run=2, at=AT)
        assert (second.run, second.difference) == (2, Decimal("0.015000"))
        assert books_audit().verified

    def test_without_an_event_there_is_no_saving(self) -> None:
        obligation = an_obligation("energy-dispatch", baseline_method="mbma")
        shares = two_sites(lambda t_s: 0.0 * t_s)
        self.metered(lambda _: 50.0)
        assert settle(obligation, shares, given=given_prices(energy="90"), at=AT).amount == 0

    def test_meters_that_do_not_carry_it_are_named(self) -> None:
        obligation = an_obligation("energy-dispatch", baseline_method="mbma")
        with pytest.raises(NotSettleable, match="site 'site-1' has no pcc meter"):
            settle(obligation, two_sites(lambda t_s: 0.0 * t_s), given=given_prices(energy="90"), at=AT)


class TestCommand:
    """Options of ``manage.py settle``; the shares of a dispatch are those of the dispatcher, here none."""

    def test_a_price_without_a_source_or_value_is_refused(self, tmp_path: Path) -> None:
        obligation = an_obligation("fcr-d-up")
        for words, said in (
            (["--price", "capacity=3"], "has no source"),
            (["--price", "capacity", "--price-source", "a table"], "accepted: NAME=VALUE"),
            (["--prices", str(tmp_path / "none.csv")], "none.csv"),
            (["--signal", str(tmp_path / "none.csv")], "has no --signal-source"),
        ):
            with pytest.raises(CommandError, match=said):
                call_command(
                    "settle", "--obligation", obligation.dispatch_id, "--basis", "demonstration", *words,
                    stdout=StringIO(),
                )  # fmt: skip

    def test_a_table_of_prices_is_read_by_product(self, tmp_path: Path) -> None:
        from markets.given_files import GivenFileError, read_prices

        path = tmp_path / "prices.csv"
        head = "# a round table\nproduct,name,starts_at,ends_at,price,certainty,source\n"
        hour = "2026-06-01T12:00:00+00:00,2026-06-01T13:00:00+00:00"
        path.write_text(f"{head}fcr-d-up,capacity,{hour},12.5,U,round\nfcr-n,capacity,{hour},30,U,round\n")
        assert [str(price.value) for price in read_prices(path, "fcr-d-up").prices] == ["12.5"]
        for cells, said in (
            (f"fcr-d-up,capacity,{hour},12.5,U", "line 3: 6 cells, accepted: 7"),
            (f"fcr-d-up,capacity,{hour},12;5,U,round", "line 3: price 'capacity' is '12;5'"),
            (f"fcr-d-up,capacity,{hour},12.5,X,round", "line 3: 'X' is not a valid Certainty"),
            ("fcr-d-up,capacity,2026-06-01T12:00:00,2026-06-01T13:00:00,1,U,round", "line 3: starts_at is"),
            (f"fcr-d-up,capacity,{hour},12.5,U,", "line 3: price 'capacity' has no source"),
        ):
            path.write_text(head + cells + "\n")
            with pytest.raises(GivenFileError, match=said):
                read_prices(path, "fcr-d-up")
