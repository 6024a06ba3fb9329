"""Who gets which page and which site: every role against every address."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from io import StringIO

import numpy as np
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client
from support import console_event
from support.console_event import a_fleet

from sites.core.comtrade_data import read_recording
from sites.metering.batches import Batch, LiveRow
from sites.metering.models import MeterInterval, WaveformRecord
from sites.metering.operations import store_batch
from sites.registry.models import Asset, Membership, Site
from sites.registry.operations import enrol_sites
from sites.wire.records import pack_samples

pytestmark = pytest.mark.django_db

OWN, OTHERS = "site-0001", "site-0002"
NOW = datetime.now(UTC)
ROLES = ("dispatcher", "auditor", "desk", "owner", "nobody", "stranger")
LOGIN = 302

#            address                          dispatcher auditor desk owner nobody stranger
TABLE = [
    ("/", (200, 200, 302, 302, 403, LOGIN)),
    ("/sites/", (200, 200, 403, 403, 403, LOGIN)),
    ("/my-sites/", (403, 403, 403, 200, 403, LOGIN)),
    ("/books/", (200, 200, 403, 403, 403, LOGIN)),
    (f"/sites/{OWN}/", (200, 200, 403, 200, 403, LOGIN)),
    (f"/sites/{OTHERS}/", (200, 200, 403, 404, 403, LOGIN)),
    ("/sites/site-9999/", (404, 404, 403, 404, 403, LOGIN)),
    (f"/sites/{OWN}/waveforms/1.json", (200, 200, 403, 200, 403, LOGIN)),
    (f"/sites/{OTHERS}/waveforms/1.json", (200, 200, 403, 404, 403, LOGIN)),
    (f"/sites/{OWN}/waveforms/2.json", (404, 404, 403, 404, 403, LOGIN)),
    (f"/sites/{OWN}/waveforms/1.zip", (200, 200, 403, 200, 403, LOGIN)),
    (f"/sites/{OTHERS}/waveforms/1.zip", (200, 200, 403, 404, 403, LOGIN)),
    (f"/sites/{OWN}/waveforms/2.zip", (404, 404, 403, 404, 403, LOGIN)),
    (f"/sites/{OWN}/requests/island/", (200, 403, 403, 403, 403, LOGIN)),
    (f"/sites/{OWN}/requests/maintenance_on/", (403, 403, 403, 200, 403, LOGIN)),
    (f"/sites/{OTHERS}/requests/maintenance_on/", (403, 403, 403, 404, 403, LOGIN)),
    (f"/sites/{OWN}/requests/explode/", (404, 404, 403, 404, 403, LOGIN)),
    (f"/api/v1/sites/{OWN}/commands/", (200, 200, 404, 200, 403, 403)),
    (f"/api/v1/sites/{OTHERS}/commands/", (200, 200, 404, 404, 403, 403)),
    ("/api/v1/sites/", (200, 200, 200, 200, 403, 403)),
    (f"/api/v1/sites/{OWN}/", (200, 200, 404, 200, 403, 403)),
    (f"/api/v1/sites/{OTHERS}/", (200, 200, 404, 404, 403, 403)),
    (f"/api/v1/sites/{OWN}/intervals/", (200, 200, 404, 200, 403, 403)),
    (f"/api/v1/sites/{OTHERS}/intervals/", (200, 200, 404, 404, 403, 403)),
    (f"/api/v1/sites/{OWN}/history/?metric=frequency_hz", (200, 200, 404, 200, 403, 403)),
    (f"/api/v1/sites/{OTHERS}/history/?metric=frequency_hz", (200, 200, 404, 404, 403, 403)),
    ("/api/v1/quarantines/", (200, 200, 200, 200, 403, 403)),
    ("/books/late/", (200, 200, 403, 403, 403, LOGIN)),
    ("/api/v1/late-data/", (200, 200, 403, 403, 403, 403)),
    ("/api/v1/dispatches/", (200, 200, 200, 403, 403, 403)),
    ("/login/", (302, 302, 302, 302, 302, 200)),
    ("/dispatches/", (200, 200, 200, 403, 403, LOGIN)),
    ("/market/", (200, 200, 200, 403, 403, LOGIN)),
    ("/market/obligations/", (200, 200, 200, 403, 403, LOGIN)),
    ("/market/offers/", (200, 200, 200, 403, 403, LOGIN)),
    ("/market/settlements/", (200, 200, 200, 403, 403, LOGIN)),
    ("/market/products/", (200, 200, 200, 200, 403, LOGIN)),
    ("/market/products/neso-dc-low/", (200, 200, 200, 200, 403, LOGIN)),
    ("/market/products/nothing/", (404, 404, 404, 404, 403, LOGIN)),
    ("/market/events/9/", (404, 404, 404, 403, 403, LOGIN)),
    ("/market/obligations/DC-9/", (404, 404, 404, 403, 403, LOGIN)),
    ("/my-sites/money/2026-06/", (403, 403, 403, 200, 403, LOGIN)),
    ("/my-sites/money/2026-13/", (403, 403, 403, 404, 403, LOGIN)),
    ("/my-sites/money/2026-06/grid-support.csv", (403, 403, 403, 200, 403, LOGIN)),
    ("/api/", (200, 200, 200, 200, 403, LOGIN)),
    ("/enrolment/", (200, 200, 403, 403, 403, LOGIN)),
]


@pytest.fixture(autouse=True)
def fleet() -> None:
    """Two sites with live data, a waveform, an interval and a booked entry each."""
    enrol_sites(manifest=a_fleet(2), program="neso-dc-low", at=NOW)
    rows = {
        site.pk: LiveRow(site.site_id, NOW, NOW, {"mode": "grid_tied", "frequency_hz": 49.9, "soc_ratio": 0.5})
        for site in Site.objects.all()
    }
    store_batch(batch=Batch(live=rows), states={}, at=NOW)
    for site in Site.objects.all():
        samples = np.full((1000, 6), 0.5, dtype=np.float32)
        samples[10, 0] = np.nan
        WaveformRecord.objects.create(
            site=site, number=1, starts_at=NOW, trigger_at=NOW + timedelta(milliseconds=50), rate_hz=10_000.0,
            cause="loss_of_mains", columns=["va_pu", "vb_pu", "vc_pu", "ua_pu", "ub_pu", "uc_pu"],
            samples=pack_samples(samples), received_at=NOW,
        )  # fmt: skip
        MeterInterval.objects.create(
            asset=Asset.objects.get(site=site, name="battery"), number=1,
            starts_at=NOW, ends_at=NOW + timedelta(minutes=1),
            into_bus_uwh=2**60, from_bus_uwh=0, register_into_uwh=2**60, register_from_uwh=0, received_at=NOW,
        )  # fmt: skip
        console_event.book(site_id=site.site_id, amount="12.40", at=NOW)


def signed_in(role: str) -> Client:
    """Return a browser of somebody in that role; the owner owns OWN."""
    client = Client()
    if role == "stranger":
        return client
    client.force_login(console_event.a_person(role, owns=[OWN]))
    return client


@pytest.mark.parametrize("index", range(len(ROLES)), ids=ROLES)
@pytest.mark.parametrize(("address", "answers"), TABLE, ids=[row[0] for row in TABLE])
def test_each_role_gets_exactly_its_pages(address: str, answers: tuple[int, ...], index: int) -> None:
    answer = signed_in(ROLES[index]).get(address)
    assert answer.status_code == answers[index]
    if ROLES[index] == "stranger" and answers[index] == LOGIN:
        assert answer["Location"].startswith("/login/?next=")


class TestPages:
    def test_a_wrong_role_is_told_which_role_the_page_is_for(self) -> None:
        page = signed_in("owner").get("/sites/").content.decode()
        assert "This page is for the role auditor or dispatcher; you are signed in as owner." in page

    def test_another_owners_site_looks_exactly_like_one_that_does_not_exist(self) -> None:
        client = signed_in("owner")
        pages = [client.get(f"/sites/{site_id}/").content for site_id in (OTHERS, "site-9999")]
        # Only the sign-out form's token differs from page to page.
        assert [page.split(b"csrfmiddlewaretoken")[0] for page in pages] == [
            pages[0].split(b"csrfmiddlewaretoken")[0]
        ] * 2
        assert OTHERS.encode() not in pages[0]

    def test_the_owners_page_names_own_sites_and_what_they_earned_only(self) -> None:
        page = signed_in("owner").get("/my-sites/").content.decode()
        assert OWN in page
        assert OTHERS not in page
        assert "12.40 GBP" in page

    def test_the_sites_table_is_paged_and_searched_on_the_server(self) -> None:
        enrol_sites(manifest=a_fleet(120), program="neso-dc-low", at=NOW)
        client = signed_in("dispatcher")
        assert client.get("/sites/").content.count(b"<tr><td>") == 50
        assert client.get("/sites/?page=3").content.count(b"<tr><td>") == 20
        found = client.get("/sites/?q=0117").content.decode()
        assert found.count("<tr><td>") == 1
        assert "site-0117" in found
        assert "holds “nowhere”" in client.get("/sites/?q=nowhere").content.decode()

    def test_what_a_person_typed_is_never_markup(self) -> None:
        page = signed_in("dispatcher").get("/sites/", {"q": "<script>alert(1)</script>"}).content
        assert b"<script>alert" not in page

    def test_the_sites_table_asks_the_database_as_often_for_fifty_sites_as_for_two(
        self, django_assert_max_num_queries: object
    ) -> None:
        enrol_sites(manifest=a_fleet(50), program="neso-dc-low", at=NOW)
        client = signed_in("dispatcher")
        with django_assert_max_num_queries(10):  # type: ignore[operator]
            client.get("/sites/")

    def test_no_page_carries_inline_script_or_style(self) -> None:
        client = signed_in("dispatcher")
        for address in ("/", "/sites/", f"/sites/{OWN}/", "/books/"):
            answer = client.get(address)
            page = answer.content.decode()
            assert "default-src 'self'" in answer["Content-Security-Policy"]
            assert "unsafe" not in answer["Content-Security-Policy"]
            assert " style=" not in page
            assert " onclick=" not in page
            assert page.count("<script") == page.count('<script type="module" src=')

    def test_the_books_page_shows_chain_position_and_hash(self) -> None:
        entry = console_event.book(site_id=OWN, amount="1.10", at=NOW + timedelta(hours=1))
        page = signed_in("auditor").get("/books/?book=markets.gridsupportentry").content.decode()
        assert f"{OWN}/battery" in page
        assert "position 2" in page
        assert entry.entry_hash in page

    def test_a_waveform_has_times_from_the_decision_and_null_for_a_missing_sample(self) -> None:
        found = signed_in("owner").get(f"/sites/{OWN}/waveforms/1.json").json()
        assert (found["times_ms"][0], found["times_ms"][500]) == (-50.0, 0.0)
        assert found["columns"]["va_pu"][9:12] == [0.5, None, 0.5]

    def test_an_event_comes_back_as_comtrade_in_volts(self) -> None:
        client = signed_in("owner")
        page = client.get(f"/sites/{OWN}/").content.decode()
        assert f'href="/sites/{OWN}/waveforms/1.zip"' in page
        answer = client.get(f"/sites/{OWN}/waveforms/1.zip")
        assert answer["Content-Disposition"].startswith(f'attachment; filename="{OWN}_')
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            cfg, dat = (archive.read(name) for name in sorted(archive.namelist()))
        recording = read_recording(cfg, dat)
        assert recording.configuration.trigger_s == pytest.approx(0.05)
        peak_v = Site.objects.get(site_id=OWN).nominal_voltage_v * 2.0**0.5
        values = recording.values(0)
        assert values[9] == pytest.approx(0.5 * peak_v, rel=1e-4)
        assert np.isnan(values[10])

    def test_a_waveform_that_is_not_what_it_says_is_answered_by_name(self) -> None:
        WaveformRecord.objects.filter(site__site_id=OWN).update(samples=b"nonsense")
        client = signed_in("owner")
        for kind in ("json", "zip"):
            answer = client.get(f"/sites/{OWN}/waveforms/1.{kind}")
            assert (answer.status_code, answer.json()["error"]) == (422, "waveform_unreadable")


class TestApi:
    def test_a_list_holds_visible_sites_only_with_their_age(self) -> None:
        rows = signed_in("owner").get("/api/v1/sites/").json()["results"]
        assert [row["site_id"] for row in rows] == [OWN]
        assert rows[0]["frequency_hz"] == 49.9
        assert 0.0 <= rows[0]["age_s"] < 600.0

    def test_energies_beyond_a_floats_precision_stay_exact(self) -> None:
        answer = signed_in("owner").get(f"/api/v1/sites/{OWN}/intervals/")
        assert json.loads(answer.content)["results"][0]["into_bus_uwh"] == 2**60

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    def test_nothing_can_be_written(self, method: str) -> None:
        client = signed_in("dispatcher")
        assert getattr(client, method)(f"/api/v1/sites/{OWN}/").status_code == 405


class TestHealth:
    def test_without_a_broker_link_it_is_503_and_names_the_broker(self, client: Client) -> None:
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "gone": ["broker"]})


class TestDemoUsers:
    def test_without_demo_nothing_is_changed(self) -> None:
        with pytest.raises(CommandError, match="--demo"):
            call_command("create_demo_users")
        assert not get_user_model().objects.exists()

    def test_the_printed_passwords_work_and_are_new_each_time(self) -> None:
        printed = [self.people() for _ in range(2)]
        assert printed[0]["owner"]["password"] != printed[1]["owner"]["password"]
        for name in ("dispatcher", "owner", "auditor", "desk"):
            assert not Client().login(username=name, password=printed[0][name]["password"])
            assert Client().login(username=name, password=printed[1][name]["password"])

    def test_a_site_that_is_not_enrolled_is_named_and_nobody_is_made(self) -> None:
        with pytest.raises(CommandError, match="site-7777"):
            call_command("create_demo_users", "--demo", "--owner-site", "site-7777")
        assert not get_user_model().objects.exists()

    def test_the_owner_has_exactly_the_sites_named_last(self) -> None:
        self.people("--owner-site", OWN)
        self.people("--owner-site", OTHERS)
        assert [row.site.site_id for row in Membership.objects.all()] == [OTHERS]

    def people(self, *arguments: str) -> dict[str, dict[str, str]]:
        out = StringIO()
        call_command("create_demo_users", "--demo", "--json", *arguments, stdout=out)
        return json.loads(out.getvalue())


def test_a_site_s_page_shows_that_its_outbox_fills() -> None:
    client = signed_in("dispatcher")
    site = Site.objects.get(site_id=OWN)
    page = f"/sites/{OWN}/"
    assert b'id="s-outbox" data-level=""' in client.get(page).content
    told = {"outbox_state": "unwritable", "outbox_rows": 70_000, "outbox_oldest_at": NOW, "outbox_used_ratio": 0.5}
    row = LiveRow(OWN, NOW, NOW, told)
    store_batch(batch=Batch(standing={site.pk: row}), states={}, at=NOW)
    shown = client.get(page).content.decode()
    assert 'id="s-outbox" data-level="warn">the disk takes nothing more' in shown
    assert "70,000 rows wait" in shown
