"""The dispatcher's API and what it hands to settlement, on a real database."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import include, path
from support.dispatched import NOW, a_fleet, acknowledge, after, an_obligation, current

from vpp.dispatch import operations
from vpp.dispatch.models import Dispatch

pytestmark = pytest.mark.django_db

urlpatterns = [path("api/", include("vpp.dispatch.urls"))]


class TestSettleCommand:
    def test_names_what_it_waits_for(self) -> None:
        with pytest.raises(CommandError, match="obligation 'DC-9' is not known"):
            call_command("settle", "--obligation", "DC-9", "--basis", "demonstration")
        a_fleet(50.0)
        operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        # Its window is over by the real clock, but no site acknowledged.
        with pytest.raises(CommandError, match="no acknowledged share"):
            call_command("settle", "--obligation", "DC-1", "--basis", "demonstration")

    def test_hands_the_acknowledged_shares_to_the_market(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        # No meter data stands behind the share, and the market says for which site.
        with pytest.raises(CommandError, match="1 sites are not metered in full: site-0001"):
            call_command("settle", "--obligation", "DC-1", "--basis", "demonstration")


@pytest.mark.urls(__name__)
class TestApi:
    @pytest.fixture
    def dispatch(self) -> Dispatch:
        a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(49.0), at=NOW)
        acknowledge(current(dispatch)[:1], at=after(1.0))
        return dispatch

    def client_of(self, role: str) -> Client:
        user = User.objects.create_user(username=role)
        user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user)
        return client

    @pytest.mark.parametrize("role", ["dispatcher", "auditor"])
    def test_reads_dispatches_and_assignments(self, dispatch: Dispatch, role: str) -> None:
        client = self.client_of(role)
        (row,) = client.get("/api/dispatches/").json()["results"]
        assert row == client.get("/api/dispatches/DC-1/").json()
        assert (row["armed"], row["acknowledged"], row["armed_kw"]) == (2, 1, pytest.approx(50.0))
        rows = client.get("/api/dispatches/DC-1/assignments/").json()["results"]
        assert [(r["site_id"], r["acknowledged_at"] is not None) for r in rows] == [
            ("site-0001", True),
            ("site-0002", False),
        ]
        assert client.get("/api/dispatches/DC-9/").status_code == 404
        assert client.get("/api/dispatches/DC-9/assignments/").status_code == 404

    def test_an_owner_or_a_stranger_reads_nothing(self, dispatch: Dispatch) -> None:
        owner = self.client_of("owner")
        for path_ in ("/api/dispatches/", "/api/dispatches/DC-1/", "/api/dispatches/DC-1/assignments/"):
            assert owner.get(path_).status_code == 403
            assert Client().get(path_).status_code == 403
