"""A settled dispatch beside what others would have done: in the API, on its page, by command; in no book."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from support.console_event import a_person
from support.settled import AT, a_fleet, an_obligation, settle

from carbon.core import bodies
from carbon.models import CarbonEntry
from markets.models import GridSupportEntry, Obligation
from sites.ledger.operations import append_entry
from sites.ledger.queries import book_root
from vpp.dispatch.models import Dispatch

pytestmark = pytest.mark.django_db

DISPATCH = "DC-e1"
ADDRESS = f"/api/v1/dispatches/{DISPATCH}/impact/"
PAGE = f"/dispatches/{DISPATCH}/"


def a_dispatch(obligation: Obligation) -> Dispatch:
    return Dispatch.objects.create(
        dispatch_id=obligation.dispatch_id, obligation=obligation, product=obligation.program.product,
        power_kw=obligation.power_kw, starts_at=obligation.starts_at, ends_at=obligation.ends_at, created_at=AT,
        status=Dispatch.Status.LAPSED,
    )  # fmt: skip


@pytest.fixture
def obligation() -> Obligation:
    found = an_obligation()
    a_dispatch(found)
    return found


@pytest.fixture
def settled(obligation: Obligation) -> Obligation:
    settle(obligation, a_fleet([60.0, 30.0, 10.0]))
    return obligation


@pytest.fixture
def auditor() -> Client:
    client = Client()
    client.force_login(a_person("auditor"))
    return client


class TestApi:
    def test_measured_and_estimated_stand_side_by_side(self, settled, auditor):
        answer = auditor.get(ADDRESS).json()
        entry = json.loads(GridSupportEntry.objects.get(kind="statement").body)["facts"]["fleet"]
        assert answer["delivered"]["energy_kwh"] == pytest.approx(entry["delivered_uwh"] / 1e9)
        assert answer["delivered"]["energy_kwh"] > 0.5
        assert (answer["delivered"]["amount"], answer["delivered"]["currency"]) == ("0.002655", "GBP")
        assert answer["delivered"]["run"] == 1
        statement = answer["statement"]
        assert statement["service"]["power_kw"] == 100.0
        assert statement["service"]["window_h"] == pytest.approx(30 / 3600)
        kinds = [row["counterfactual"]["kind"] for row in statement["alternatives"]]
        assert kinds == ["thermal-plant", "generator-trucks"]
        for row in statement["alternatives"]:
            avoided, other = row["avoided_kg_co2e"], row["counterfactual"]["kg_co2e"]
            assert avoided["low"] == pytest.approx(other["low"] - statement["fleet_kg_co2e"]["high"])
            assert all(parameter["source"] for parameter in row["counterfactual"]["parameters"])
        assert "not a booked figure" in statement["note"]

    def test_before_settlement_both_are_null(self, obligation, auditor):
        assert auditor.get(ADDRESS).json() == {"dispatch_id": DISPATCH, "delivered": None, "statement": None}

    def test_the_carbon_that_the_book_attributes_is_told_beside_not_taken_off(self, settled, auditor):
        before = auditor.get(ADDRESS).json()
        assert before["delivered"]["service_kg_co2e"] is None
        names = ("scope1_ug", "scope2_location_ug", "load_ug", "export_ug", "service_out_uwh", "import_uwh",
                 "export_uwh",
                 "fuel_ul", "entries", "sites")  # fmt: skip
        facts = dict.fromkeys(names, 0) | {"service_out_ug": 250_000_000, "merkle_root": ""}
        append_entry(
            CarbonEntry, chain=bodies.STATEMENT_CHAIN, kind=bodies.STATEMENT, period=settled.window,
            dispatch_id=DISPATCH, body={"postings": [], "facts": facts}, at=AT,
        )  # fmt: skip
        after = auditor.get(ADDRESS).json()
        assert after["delivered"]["service_kg_co2e"] == pytest.approx(0.25)
        assert after["statement"] == before["statement"]

    @pytest.mark.parametrize(
        ("role", "status"), [("dispatcher", 200), ("auditor", 200), ("owner", 403), ("nobody", 403)]
    )
    def test_who_may_ask(self, settled, role, status):
        client = Client()
        client.force_login(a_person(role))
        assert client.get(ADDRESS).status_code == status
        assert client.get(PAGE).status_code == status
        assert client.get("/dispatches/").status_code == status

    def test_an_unknown_dispatch(self, auditor):
        assert auditor.get(ADDRESS).status_code == 404
        assert auditor.get(PAGE).status_code == 404


class TestPages:
    def test_a_settled_one_shows_the_two_side_by_side(self, settled, auditor):
        page = auditor.get(PAGE).content.decode()
        for text in ("Delivered", "measured and booked", "Instead of this fleet", "estimated, in no book",
                     "Generator trucks",
                     "Gas turbine", "Avoided by this fleet", "not closed for this dispatch",
                     "1 truck", "Every figure behind the estimates"):  # fmt: skip
            assert text in page, text
        assert f'href="/books/?q={DISPATCH}"' in page

    def test_one_that_is_not_settled_says_so_and_estimates_nothing(self, obligation, auditor):
        page = auditor.get(PAGE).content.decode()
        assert "Not settled yet" in page
        assert "Instead of this fleet" not in page

    def test_the_table_names_standing_and_money(self, settled, auditor):
        page = auditor.get("/dispatches/").content.decode()
        assert f'<a href="{PAGE}">{DISPATCH}</a>' in page
        assert "settled, run 1" in page
        assert "0.002655 GBP" in page


class TestNoBookHoldsIt:
    def test_asking_in_every_way_changes_no_entry_and_no_entry_speaks_of_it(self, settled, auditor, tmp_path):
        before = [(book.objects.count(), book_root(book)) for book in (GridSupportEntry, CarbonEntry)]
        assert auditor.get(ADDRESS).status_code == 200
        assert auditor.get(PAGE).status_code == 200
        call_command("counterfactual", "--obligation", DISPATCH, stdout=StringIO())
        assert [(book.objects.count(), book_root(book)) for book in (GridSupportEntry, CarbonEntry)] == before
        words = ("avoided", "counterfactual", "instead", "truck", "turbine", "cost_usd", "kg_co2e", "marginal")
        for book in (GridSupportEntry, CarbonEntry):
            for body in book.objects.values_list("body", flat=True):
                text = bytes(body).decode() if isinstance(body, bytes | memoryview) else str(body)
                assert not [word for word in words if word in text.lower()]


class TestCommand:
    def test_it_prints_and_writes_what_the_api_answers(self, settled, auditor, tmp_path):
        out, path = StringIO(), tmp_path / "impact.json"
        call_command("counterfactual", "--obligation", DISPATCH, "--json", str(path), stdout=out)
        assert json.loads(path.read_text()) == auditor.get(ADDRESS).json()
        text = out.getvalue()
        assert "measured: " in text
        assert "instead: Generator trucks" in text
        assert "avoided by the fleet: " in text
        assert text.count(" A: ") + text.count(" C: ") + text.count(" V: ") > 20

    def test_a_service_by_its_figures_needs_no_database_row(self):
        out = StringIO()
        call_command(
            "counterfactual", "--power-kw", "1000", "--energy-kwh", "-200", "--window-h", "0.5", "--takes", stdout=out
        )
        assert "instead: Gas turbine" in out.getvalue()
        assert "which a generator cannot" in out.getvalue()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "accepted: --obligation DISPATCH_ID, or --power-kw"),
            (["--obligation", "DC-e1", "--power-kw", "1"], "accepted: --obligation DISPATCH_ID, or"),
            (["--power-kw", "1", "--energy-kwh", "1"], "together"),
            (["--obligation", "DC-none"], "'DC-none' is not known or not settled, accepted: a settled one"),
            (["--power-kw", "0", "--energy-kwh", "1", "--window-h", "1"], "power_kw is 0.0, accepted"),
            (["--power-kw", "1", "--energy-kwh", "nan", "--window-h", "1"], "energy_kwh is nan, accepted"),
        ],
    )
    def test_a_refusal_says_what_is_accepted(self, arguments, said):
        with pytest.raises(CommandError) as refused:
            call_command("counterfactual", *arguments, stdout=StringIO())
        assert said in str(refused.value)
