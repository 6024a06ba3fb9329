"""The books in a database: booked once, never changed, and every kind of tampering is named."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.books import tamper
from support.carbon_book import (
    AT,
    a_body,
    a_metered_site,
    a_period,
    append,
    close,
    faults,
    meter,
)

from carbon.models import CarbonEntry
from sites.ledger.audit import What
from sites.ledger.migration import unprotect_statements
from sites.ledger.models import ChainHead
from sites.ledger.operations import Draft, EntryConflict, append_entries
from sites.ledger.postings import EntryUnbalanced, posting

pytestmark = pytest.mark.django_db


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
