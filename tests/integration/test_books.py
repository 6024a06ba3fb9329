"""The books in a database: booked once, never changed, and every kind of tampering is named."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.books import tamper

from carbon.models import CarbonEntry
from carbon.operations import MeteringGaps, PeriodNotOver, PeriodOverlaps, close_period
from carbon.queries import period_totals
from markets.models import GridSupportEntry
from sites.core.intervals import Interval
from sites.ledger.audit import What, books_audit
from sites.ledger.chain import merkle_root_of_hashes
from sites.ledger.migration import unprotect_statements
from sites.ledger.models import ChainHead
from sites.ledger.operations import Draft, EntryConflict, append_entries, append_entry
from sites.ledger.postings import EntryUnbalanced, posting
from sites.ledger.queries import book_root
from sites.metering.models import MeterInterval, Reading, ReadingShape
from sites.registry.models import Asset, Site

STARTS_AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
AT = STARTS_AT + timedelta(hours=6)
MINUTE = timedelta(minutes=1)
KWH = 1_000_000_000

pytestmark = pytest.mark.django_db


def a_period(index: int = 0, minutes: int = 4) -> Interval:
    starts_at = STARTS_AT + index * minutes * MINUTE
    return Interval(starts_at, starts_at + minutes * MINUTE)


def a_body(amount: int = 5, **facts: Any) -> dict[str, Any]:
    return {"postings": [posting("a", "ug", amount), posting("b", "ug", -amount)], "facts": facts}


def append(chain: str = "site-0001/battery", index: int = 0, amount: int = 5, **facts: Any) -> CarbonEntry:
    return append_entry(
        CarbonEntry,
        chain=chain,
        kind="test",
        period=a_period(index),
        dispatch_id="DC-1",
        body=a_body(amount, **facts),
        at=AT,
    )


def a_site(site_id: str = "site-0001", zone: str = "GB", genset: bool = True) -> Site:
    site = Site.objects.create(
        site_id=site_id, name=site_id, grid_zone=zone, nominal_hz=50.0, nominal_voltage_v=230.0,
        loss_of_link="hold", partition=1, enrolled_at=STARTS_AT,
    )  # fmt: skip
    for name, rated_kw, capacity_kwh in (
        ("pcc", 100.0, 0.0), ("battery", 50.0, 100.0), ("pv", 20.0, 0.0), ("genset", 60.0, 0.0), ("load", 60.0, 0.0)
    ):  # fmt: skip
        if name != "genset" or genset:
            Asset.objects.create(site=site, name=name, kind=name, rated_kw=rated_kw, capacity_kwh=capacity_kwh)
    return site


def meter(site: Site, minute: int, *, revision: int = 0, without: tuple[str, ...] = (), **watt_hours: int) -> None:
    """Store one minute of the site: net flow into its bus by asset [Wh, signed], and service_wh, fuel_ul."""
    for asset in site.assets.all():
        if asset.name in without:
            continue
        into = watt_hours.get(asset.name, 0) * 1_000_000
        MeterInterval.objects.create(
            asset=asset, number=minute + 1, revision=revision,
            starts_at=STARTS_AT + minute * MINUTE, ends_at=STARTS_AT + (minute + 1) * MINUTE,
            into_bus_uwh=max(into, 0), from_bus_uwh=max(-into, 0),
            service_into_uwh=watt_hours.get("service", 0) * 1_000_000 if asset.kind == "battery" else 0,
            service_from_uwh=watt_hours.get("taken", 0) * 1_000_000 if asset.kind == "battery" else 0,
            fuel_ul=watt_hours.get("fuel_ul", 0) if asset.kind == "genset" else 0,
            register_into_uwh=0, register_from_uwh=0, received_at=AT,
        )  # fmt: skip


def a_metered_site(site_id: str = "site-0001", **options: Any) -> Site:
    """Four minutes: charging from the grid, a service discharge, islanded on the battery, then on diesel."""
    site = a_site(site_id, **options)
    meter(site, 0, pcc=900, pv=100, load=-800, battery=-200)
    meter(site, 1, pcc=-100, pv=100, load=-800, battery=800, service=700)
    meter(site, 2, pcc=0, pv=100, load=-800, battery=700)
    if options.get("genset", True):
        meter(site, 3, pcc=0, genset=900, load=-800, battery=-100, fuel_ul=310_000)
    else:
        meter(site, 3, pcc=800, load=-800)
    return site


def close(**options: Any) -> Any:
    return close_period(
        **{"period": a_period(), "dispatch_id": "DC-1", "at": AT, "allow_older_vintage": True} | options
    )


def faults() -> set[tuple[str, int, str]]:
    return {(fault.chain, fault.position, fault.what) for fault in books_audit([CarbonEntry]).faults}


class TestAppendEntry:
    def test_numbers_and_links_each_chain_from_one(self) -> None:
        first, second = append(index=0), append(index=1)
        other = append(chain="site-0002/battery")
        assert (first.position, second.position, other.position) == (1, 2, 1)
        assert first.previous_hash == "0" * 64
        assert second.previous_hash == first.entry_hash
        assert ChainHead.objects.get(chain=first.chain).entry_hash == second.entry_hash

    def test_the_same_again_returns_the_held_entry(self) -> None:
        first = append()
        assert append().pk == first.pk
        assert CarbonEntry.objects.count() == 1

    def test_another_body_for_the_same_is_a_conflict_that_says_where(self) -> None:
        append(energy_uwh=1)
        with pytest.raises(EntryConflict, match=r"position 1 with another body; it differs at facts\.energy_uwh"):
            append(energy_uwh=2)

    def test_an_unbalanced_batch_books_nothing(self) -> None:
        bad = {"postings": [posting("a", "ug", 1)], "facts": {}}
        drafts = [Draft("c", "test", a_period(0), "", a_body()), Draft("c", "test", a_period(1), "", bad)]
        with pytest.raises(EntryUnbalanced, match=r"Entry 'test c' is off by \{'ug': '1'\}"):
            append_entries(CarbonEntry, drafts, at=AT)
        assert CarbonEntry.objects.count() == 0

    def test_a_batch_with_the_same_draft_twice_books_it_once(self) -> None:
        draft = Draft("c", "test", a_period(), "", a_body())
        first, second = append_entries(CarbonEntry, [draft, draft], at=AT)
        assert first is second
        assert CarbonEntry.objects.count() == 1


class TestAppendOnly:
    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE carbon_carbonentry SET kind = 'x'",
            "DELETE FROM carbon_carbonentry",
            pytest.param(
                "INSERT OR REPLACE INTO carbon_carbonentry SELECT * FROM carbon_carbonentry",
                marks=pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite has it"),
            ),
        ],
    )
    def test_the_database_itself_refuses_change(self, sql: str) -> None:
        append()
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
        assert CarbonEntry.objects.get().kind == "test"


TAMPERINGS = [
    ("UPDATE {table} SET body = replace(body, '5', '7') WHERE chain = 'c' AND position = 3", {("c", 3, What.ALTERED)}),
    ("UPDATE {table} SET kind = 'other' WHERE chain = 'c' AND position = 2", {("c", 2, What.ALTERED)}),
    ("UPDATE {table} SET dispatch_id = 'DC-9' WHERE chain = 'c' AND position = 2", {("c", 2, What.ALTERED)}),
    ("DELETE FROM {table} WHERE chain = 'c' AND position = 3", {("c", 3, What.HOLE)}),
    ("DELETE FROM {table} WHERE chain = 'c' AND position = 1", {("c", 1, What.HOLE)}),
    ("DELETE FROM {table} WHERE chain = 'c' AND position = 5", {("c", 5, What.HOLE)}),
    ("DELETE FROM {table} WHERE chain = 'c'", {("c", 5, What.HEAD_DIFFERS)}),
    ("UPDATE {table} SET previous_hash = entry_hash WHERE chain = 'c' AND position = 4",
     {("c", 4, What.ALTERED), ("c", 4, What.RELINKED)}),
    ("UPDATE {table} SET chain = 'd' WHERE chain = 'c' AND position = 5",
     {("c", 5, What.HOLE), ("d", 5, What.ALTERED)}),
]  # fmt: skip


class TestTampering:
    @pytest.mark.parametrize(("sql", "expected"), TAMPERINGS, ids=[sql[:60] for sql, _ in TAMPERINGS])
    def test_is_named_by_chain_position_and_kind(self, sql: str, expected: set[tuple[str, int, str]]) -> None:
        for index in range(5):
            append(chain="c", index=index)
        append(chain="sound")
        # Entries of kind "test" are no closing's; what the meters give for them is another question.
        assert {fault for fault in faults() if fault[2] != What.RECALCULATION_DIFFERS} == set()
        assert tamper(CarbonEntry, sql, []) >= 1
        found = {fault for fault in faults() if fault[2] != What.RECALCULATION_DIFFERS}
        assert expected <= found
        assert not {fault for fault in found if fault[0] == "sound"}

    def test_swapped_rows_are_named_as_reordered(self) -> None:
        for index in range(4):
            append(chain="c", index=index)
        for old, new in ((2, 99), (3, 2), (99, 3)):
            tamper(CarbonEntry, "UPDATE {table} SET position = %s WHERE position = %s", [new, old])
        assert {("c", 2, What.REORDERED), ("c", 3, What.REORDERED)} <= faults()

    def test_a_rewritten_tail_differs_from_the_registered_head(self) -> None:
        append(chain="c", index=0)
        last = append(chain="c", index=1)
        last.body = last.body.replace("5", "6")
        tamper(
            CarbonEntry,
            "UPDATE {table} SET body = %s, entry_hash = %s WHERE position = 2",
            [last.body, last.computed_hash()],
        )
        assert ("c", 2, What.HEAD_DIFFERS) in faults()

    def test_a_rehashed_middle_row_breaks_the_link_after_it(self) -> None:
        rows = [append(chain="c", index=index) for index in range(3)]
        rows[1].body = rows[1].body.replace("5", "6")
        tamper(
            CarbonEntry,
            "UPDATE {table} SET body = %s, entry_hash = %s WHERE position = 2",
            [rows[1].body, rows[1].computed_hash()],
        )
        assert ("c", 3, What.RELINKED) in faults()

    @pytest.mark.parametrize("entry_hash", ["f" * 64, "no hash"])
    def test_a_changed_head_is_named(self, entry_hash: str) -> None:
        append(chain="c")
        ChainHead.objects.update(entry_hash=entry_hash)
        assert ("c", 1, What.HEAD_DIFFERS) in faults()

    def test_a_taken_away_trigger_is_named(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(unprotect_statements(connection, "carbon_carbonentry")[0])
        assert ("", 0, What.UNPROTECTED) in faults()

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite keeps a trigger's text")
    def test_a_trigger_that_refuses_nothing_any_more_is_named(self) -> None:
        table = "carbon_carbonentry"
        with connection.cursor() as cursor:
            cursor.execute(f'DROP TRIGGER "{table}_no_update"')
            cursor.execute(f'CREATE TRIGGER "{table}_no_update" BEFORE UPDATE ON "{table}" WHEN 0 BEGIN SELECT 1; END')
        assert ("", 0, What.UNPROTECTED) in faults()

    @settings(
        max_examples=40,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data())
    def test_any_single_mutation_of_a_closed_period_is_found(self, data: st.DataObject) -> None:
        point = transaction.savepoint()
        try:
            a_metered_site()
            close()
            assert faults() == set()
            row = data.draw(st.sampled_from(list(CarbonEntry.objects.all())))
            column = data.draw(
                st.sampled_from(
                    ["chain", "position", "kind", "starts_at", "ends_at", "dispatch_id", "booked_at", "body",
                     "previous_hash", "entry_hash", "DELETE"]
                )
            )  # fmt: skip
            if column == "DELETE":
                tamper(CarbonEntry, "DELETE FROM {table} WHERE id = %s", [row.pk])
            else:
                held = getattr(row, column)
                if isinstance(held, datetime):
                    new: Any = held + timedelta(microseconds=data.draw(st.integers(1, 10**9)))
                elif isinstance(held, int):
                    new = held + data.draw(st.integers(1, 50))
                else:
                    # One character changed, put in, or taken out.
                    longest = CarbonEntry._meta.get_field(column).max_length or 10**6
                    place = data.draw(st.integers(0, max(0, len(held) - 1)))
                    letter = data.draw(st.sampled_from('0123456789abcdef-{}",: '))
                    new = data.draw(
                        st.sampled_from(
                            [held[:place] + letter + held[place + 1 :], held[:place] + letter + held[place:],
                             held[:place] + held[place + 1 :]]
                        ).filter(lambda text: text != held and len(text) <= longest)
                    )  # fmt: skip
                try:
                    with transaction.atomic():
                        tamper(CarbonEntry, f"UPDATE {{table}} SET {column} = %s WHERE id = %s", [new, row.pk])  # noqa: S608
                except IntegrityError:
                    return  # two rows at one position: the database does not take it
            assert faults(), f"{column} of {row} changed unseen"
        finally:
            transaction.savepoint_rollback(point)


class TestVerifyBooks:
    def test_says_so_and_returns_when_all_stands(self) -> None:
        a_metered_site()
        close()
        out = StringIO()
        call_command("verify_books", stdout=out)
        assert out.getvalue().splitlines()[-1] == "books verified"

    def test_json_names_the_faulty_row_and_exits_with_1(self) -> None:
        a_metered_site()
        close()
        tamper(CarbonEntry, "UPDATE {table} SET body = replace(body, 'load', 'lost') WHERE kind = 'load'", [])
        out = StringIO()
        with pytest.raises(SystemExit) as caught:
            call_command("verify_books", "--json", stdout=out)
        assert caught.value.code == 1
        report = json.loads(out.getvalue())
        assert report["verified"] is False
        assert {"book": "carbon.carbonentry", "chain": "site-0001/load", "position": 1, "what": "altered"}.items() <= (
            report["faults"][0].items()
        )

    def test_a_meter_changed_after_the_closing_shows_in_the_recalculation(self) -> None:
        site = a_metered_site()
        close()
        meter(site, 0, revision=1, pcc=901, pv=100, load=-800, battery=-200)
        assert ("site-0001/pcc", 1, What.RECALCULATION_DIFFERS) in faults()

    def test_a_forged_statement_root_is_named(self) -> None:
        a_metered_site()
        statement = close().statement
        forged = statement.content()
        forged["facts"]["merkle_root"] = "0" * 64
        statement.body = json.dumps(forged, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        tamper(
            CarbonEntry,
            "UPDATE {table} SET body = %s, entry_hash = %s WHERE kind = 'statement'",
            [statement.body, statement.computed_hash()],
        )
        ChainHead.objects.filter(chain=statement.chain).update(entry_hash=statement.computed_hash())
        assert faults() == {("fleet/carbon", 1, What.MERKLE_ROOT_DIFFERS)}


class TestClosePeriod:
    def test_books_both_scopes_by_hand(self) -> None:
        a_metered_site()
        facts = close().statement.facts()
        # Net imports: 0.9 kWh, none while exporting or islanded; 0.310 l of mineral diesel.
        assert facts["scope2_location_ug"] == round(0.9 * KWH * 20707 / 100_000)
        assert facts["scope1_ug"] == 310 * 2_659_370
        assert facts["fuel_ul"] == 310_000
        assert facts["import_uwh"] == 900_000_000
        assert facts["export_uwh"] == 100_000_000

    def test_every_entry_balances_and_the_bus_is_passed_through(self) -> None:
        a_metered_site()
        closed = close()
        by_account: dict[str, int] = {}
        for entry in closed.entries:
            assert sum(row["amount"] for row in entry.content()["postings"]) == 0
            for row in entry.content()["postings"]:
                by_account[row["account"]] = by_account.get(row["account"], 0) + row["amount"]
        assert by_account.pop("bus/site-0001") == 0
        assert {row["account"]: row["amount"] for row in closed.statement.content()["postings"]} == {
            account: amount for account, amount in by_account.items() if amount
        }
        assert closed.statement.facts()["bus_residual_ug"] == 0

    def test_the_service_takes_its_stock_over_from_own_use(self) -> None:
        a_metered_site()
        close()
        facts = CarbonEntry.objects.get(kind="inventory").facts()
        assert facts["service_out_uwh"] == 700_000_000
        assert facts["discharge_own_uwh"] == 800_000_000
        # 0.7 kWh at the terminals take 0.7 / 0.95 kWh from store.
        assert facts["transfer_uwh"] == round(0.7 * KWH * 100 / 95)
        assert facts["closing_service"] == {"carbon_ug": 0, "energy_uwh": 0, "green_uwh": 0}
        assert facts["service_out_ug"] > 0

    def test_the_first_stock_is_opened_from_the_read_state_of_charge(self) -> None:
        site = a_metered_site()
        shape = ReadingShape.objects.create(names="power_kw,soc_ratio")
        Reading.objects.create(
            site=site, asset="battery", shape=shape, measured_at=STARTS_AT - MINUTE, received_at=AT, values=(1.0, 0.5)
        )
        close()
        facts = CarbonEntry.objects.get(kind="opening").facts()
        assert facts["closing_own"]["energy_uwh"] == 50 * KWH
        assert facts["energy_basis"] == "read state of charge 0.5"
        assert books_audit([CarbonEntry]).verified

    def test_again_returns_the_same_entries(self) -> None:
        a_metered_site()
        first = close()
        again = close(at=AT + timedelta(hours=1))
        assert again.statement.entry_hash == first.statement.entry_hash
        assert [entry.pk for entry in again.entries] == [entry.pk for entry in first.entries]
        assert len(first.entries) == 5

    def test_again_over_corrected_meters_is_a_conflict(self) -> None:
        site = a_metered_site()
        close()
        meter(site, 0, revision=1, pcc=901, pv=100, load=-800, battery=-200)
        with pytest.raises(EntryConflict, match="scope2_location"):
            close()

    def test_the_next_period_takes_the_stock_over(self) -> None:
        site = a_metered_site()
        close()
        for minute in range(4, 8):
            meter(site, minute, pcc=500, load=-600, battery=100)
        close(period=a_period(1), dispatch_id="")
        first, second = CarbonEntry.objects.filter(kind="inventory").order_by("position")
        assert second.facts()["opening_own"] == first.facts()["closing_own"]
        assert books_audit([CarbonEntry]).verified
        # The first closing stays idempotent with a later one behind it.
        close()
        assert CarbonEntry.objects.filter(kind="inventory").count() == 2

    def test_a_hole_refuses_the_period_and_is_named(self) -> None:
        site = a_site()
        for minute in range(4):
            meter(site, minute, pcc=800, load=-800, without=("load",) if minute == 2 else ())
        with pytest.raises(
            MeteringGaps, match=r"site-0001/load 2026-11-20T12:02:00\+00:00 to 2026-11-20T12:03"
        ) as caught:
            close()
        assert [(hole.asset, hole.period) for hole in caught.value.holes] == [
            ("load", Interval(STARTS_AT + 2 * MINUTE, STARTS_AT + 3 * MINUTE))
        ]
        assert CarbonEntry.objects.count() == 0

    def test_an_allowed_hole_is_written_into_the_entries(self) -> None:
        site = a_site()
        for minute in range(3):
            meter(site, minute, pcc=800, load=-800)
        facts = close(allow_gaps=True).statement.facts()
        assert (facts["hole_s"], facts["gaps_allowed"]) == (5 * 60, True)
        assert books_audit([CarbonEntry]).verified

    def test_a_part_of_a_closed_period_is_refused(self) -> None:
        a_metered_site()
        close()
        with pytest.raises(PeriodOverlaps, match="is closed already as statement 1 'DC-1'"):
            close(dispatch_id="DC-2")

    def test_time_left_out_since_the_last_closing_is_refused(self) -> None:
        site = a_metered_site()
        close()
        for minute in range(8, 12):
            meter(site, minute, pcc=800, load=-800)
        with pytest.raises(MeteringGaps, match=r"not closed before: 2026-11-20T12:04"):
            close(period=a_period(2))
        assert close(period=a_period(2), allow_gaps=True).statement.facts()["unbooked_before_s"] == 240

    def test_a_running_period_is_refused(self) -> None:
        with pytest.raises(PeriodNotOver):
            close(at=STARTS_AT)

    def test_totals_are_read_back_from_the_statement(self) -> None:
        a_metered_site()
        closed = close()
        totals = period_totals(a_period(), dispatch_id="DC-1")
        assert totals.entry_hash == closed.statement.entry_hash
        assert totals.merkle_root == merkle_root_of_hashes([entry.entry_hash for entry in closed.entries])
        assert totals.scope2_location_kg == pytest.approx(0.9 * 0.20707)
        assert period_totals(a_period(1)).statements == 0

    def test_an_old_vintage_is_noted_in_the_entries_that_use_it(self) -> None:
        a_metered_site()
        close()
        notes = {entry.kind: entry.facts().get("factor_vintage_note") for entry in CarbonEntry.objects.all()}
        assert notes["scope2_location"] == notes["scope1"] == "vintage 2023 used for activity of 2026"
        assert notes["load"] is None

    def test_a_hundred_sites_make_the_sum_of_each(self) -> None:
        for index in range(20):
            a_metered_site(f"site-{index:04d}", genset=index % 2 == 0)
        closed = close()
        facts = closed.statement.facts()
        assert facts["sites"] == 20
        assert facts["scope1_ug"] == 10 * 310 * 2_659_370
        assert facts["import_uwh"] == 10 * 900_000_000 + 10 * 1_700_000_000
        assert books_audit([CarbonEntry]).verified


class TestBooksNeverMix:
    def carbon_root(self, *, price: str, load_wh: int = -800) -> str:
        """Close a world that differs in a price or in a load, and forget it again."""
        point = transaction.savepoint()
        site = a_site()
        for minute in range(4):
            meter(site, minute, pcc=-load_wh - 100, load=load_wh, battery=100, service=100)
        append_entry(
            GridSupportEntry,
            chain="site-0001/battery",
            kind="settlement",
            period=a_period(),
            dispatch_id="DC-1",
            body={"postings": [posting("revenue", "GBP", f"-{price}"), posting("due", "GBP", price)], "facts": {}},
            at=AT,
        )
        close()
        root = book_root(CarbonEntry)
        transaction.savepoint_rollback(point)
        return root

    def test_a_price_does_not_move_the_carbon_root_and_a_kilowatt_hour_does(self) -> None:
        root = self.carbon_root(price="1.00")
        assert self.carbon_root(price="999.00") == root
        assert self.carbon_root(price="1.00", load_wh=-801) != root


class TestCloseCarbon:
    def test_prints_the_totals(self) -> None:
        a_metered_site()
        out = StringIO()
        call_command(
            "close_carbon",
            "--from", "2026-11-20T12:00:00Z", "--to", "2026-11-20T12:04:00Z",
            "--allow-older-vintage", stdout=out,
        )  # fmt: skip
        assert "5 entries of 1 sites" in out.getvalue()


@pytest.mark.django_db(transaction=True)
class TestMigration:
    def test_is_reversible(self) -> None:
        executor = MigrationExecutor(connection)
        executor.migrate([("carbon", "0001_initial")])
        append()
        CarbonEntry.objects.all().delete()
        ChainHead.objects.all().delete()
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes("carbon"))
        append()
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            CarbonEntry.objects.all().delete()
