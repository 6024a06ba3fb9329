"""Enrolment in the database, roles and object-level rights."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.management import CommandError, call_command
from support.manifests import a_manifest
from support.meters import START, a_batch, an_interval

from sites.metering.operations import store_batch
from sites.registry import permissions, queries
from sites.registry.manifest import ManifestError
from sites.registry.models import Asset, Enrollment, Site
from sites.registry.operations import Enrolled, enrol_sites, grant_ownership

pytestmark = pytest.mark.django_db


def enrol(manifest: list[dict], program: str = "neso-dc-low", at=START) -> Enrolled:
    return enrol_sites(manifest=manifest, program=program, at=at)


class TestEnrolment:
    def test_enrols_sites_assets_and_program(self) -> None:
        assert enrol(a_manifest(3)) == Enrolled(sites=3, created=3, changed=0)
        assert Asset.objects.count() == 9
        assert [site.site_id for site in queries.enrolled_sites(program="neso-dc-low")] == [
            "site-0001", "site-0002", "site-0003",
        ]  # fmt: skip

    def test_enrolling_again_changes_nothing(self) -> None:
        enrol(a_manifest(3))
        assert enrol(a_manifest(3), at=START + timedelta(days=1)) == Enrolled(sites=3, created=0, changed=0)
        assert (Site.objects.count(), Asset.objects.count(), Enrollment.objects.count()) == (3, 9, 3)
        assert Site.objects.filter(enrolled_at=START).count() == 3

    def test_another_nameplate_is_taken_over(self) -> None:
        enrol(a_manifest(2))
        manifest = a_manifest(2)
        manifest[1]["assets"][1]["rated_kw"] = 75.0
        assert enrol(manifest).changed == 1
        assert Asset.objects.get(site__site_id="site-0002", name="battery").rated_kw == 75.0

    def test_one_faulty_site_enrols_none(self) -> None:
        manifest = a_manifest(3)
        manifest[2]["phases"] = 2
        with pytest.raises(ManifestError):
            enrol(manifest)
        assert not Site.objects.exists()

    def test_a_change_of_kind_is_refused_and_undone_as_a_whole(self) -> None:
        enrol(a_manifest(2))
        manifest = a_manifest(2)
        manifest[0]["name"] = "renamed"
        manifest[1]["assets"][2]["kind"] = "pv"
        with pytest.raises(ManifestError, match=r"site site-0002: asset load: kind is 'pv', accepted: load"):
            enrol(manifest)
        assert Site.objects.get(site_id="site-0001").name == "Site 1"

    def test_an_asset_with_metering_must_stay_and_one_without_may_go(self) -> None:
        enrol(a_manifest(1))
        battery = Asset.objects.get(site__site_id="site-0001", name="battery")
        enrol(a_manifest(1, assets=("pcc", "battery")))
        assert set(Asset.objects.values_list("name", flat=True)) == {"pcc", "battery"}
        store_batch(batch=a_batch(an_interval(battery, 1)), states={}, at=START)
        with pytest.raises(ManifestError, match="asset battery is missing, accepted: it stays"):
            enrol(a_manifest(1, assets=("pcc",)))

    def test_the_command_names_file_site_and_field(self, tmp_path) -> None:
        file = tmp_path / "fleet.json"
        file.write_text(json.dumps(a_manifest(1, phases=2)))
        with pytest.raises(CommandError, match=r"fleet.json: site site-0001: phases is 2, accepted: 1 or 3"):
            call_command("enrol_sites", str(file))
        file.write_text("[")
        with pytest.raises(CommandError, match=r"fleet.json is not JSON"):
            call_command("enrol_sites", str(file))


@pytest.fixture
def users() -> dict[str, User]:
    enrol(a_manifest(3))
    found = {name: User.objects.create_user(name) for name in ("dispatcher", "auditor", "desk", "owner", "nobody")}
    for name in ("dispatcher", "auditor", "desk"):
        found[name].groups.add(Group.objects.get(name=name))
    grant_ownership(found["owner"], Site.objects.filter(site_id="site-0002"))
    found["admin"] = User.objects.create_superuser("admin")
    found["gone"] = User.objects.create_user("gone", is_active=False)
    found["gone"].groups.add(Group.objects.get(name="dispatcher"))
    return found


@pytest.mark.parametrize(
    ("name", "role", "sites", "operates", "audits", "reads_market", "settled"),
    [
        ("dispatcher", "dispatcher", 3, True, True, True, 3),
        ("auditor", "auditor", 3, False, True, True, 3),
        ("desk", "desk", 0, False, False, True, 3),
        ("owner", "owner", 1, False, False, False, 1),
        ("nobody", None, 0, False, False, False, 0),
        ("gone", None, 0, False, False, False, 0),
        ("admin", "dispatcher", 3, True, True, True, 3),
    ],
)
def test_rights_follow_the_role(
    users, name: str, role: str | None, sites: int, operates: bool, audits: bool, reads_market: bool, settled: int
) -> None:
    user = users[name]
    assert permissions.role_of(user) == role
    assert permissions.visible_sites(user).count() == sites
    assert permissions.may_operate(user) is operates
    assert permissions.may_decide_enrolment(user) is operates
    assert permissions.may_audit(user) is audits
    assert permissions.may_read_market(user) is reads_market
    assert permissions.sites_in_settlements(user).count() == settled
    if name == "desk":
        assert permissions.permitted_requests(user, Site.objects.get(site_id="site-0002")) == frozenset()


def test_nobody_logged_in_sees_nothing() -> None:
    enrol(a_manifest(1))
    assert permissions.visible_sites(AnonymousUser()).count() == 0
    assert permissions.role_of(AnonymousUser()) is None


def test_owners_see_only_their_own(users) -> None:
    assert [site.site_id for site in permissions.visible_sites(users["owner"])] == ["site-0002"]
    grant_ownership(users["owner"], Site.objects.filter(site_id__in=["site-0002", "site-0003"]))
    assert permissions.visible_sites(users["owner"]).count() == 2
