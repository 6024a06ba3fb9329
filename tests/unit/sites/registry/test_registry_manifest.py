"""The enrolment manifest: what is accepted, and what each refusal names."""

from __future__ import annotations

import copy

import pytest
from support.manifests import a_manifest

from sites.registry.manifest import ManifestError, parse_manifest


def with_site(**values) -> list[dict]:
    manifest = a_manifest(2)
    manifest[1] |= values
    return manifest


def with_asset(**values) -> list[dict]:
    manifest = a_manifest(2)
    manifest[1]["assets"][1] |= values
    return manifest


def test_a_manifest_gives_its_sites_and_assets() -> None:
    first, second = parse_manifest(a_manifest(2))
    assert (first.site_id, second.site_id) == ("site-0001", "site-0002")
    assert [asset.name for asset in first.assets] == ["pcc", "battery", "load"]
    assert first.assets[1].capacity_kwh == 100.0


def test_what_is_known_of_a_meter_is_taken_with_its_asset() -> None:
    known = {"meter_class": "0.5S", "meter_calibrated_on": "2026-03-01", "meter_uncertainty_ratio": 0.005}
    _, second = parse_manifest(with_asset(**known))
    asset = second.assets[1]
    assert (asset.meter_class, str(asset.meter_calibrated_on), asset.meter_uncertainty_ratio) == tuple(known.values())
    assert (second.assets[0].meter_class, second.assets[0].meter_calibrated_on) == ("", None)


@pytest.mark.parametrize(
    "wrong", [{"meter_class": "0.7"}, {"meter_calibrated_on": "March"}, {"meter_uncertainty_ratio": 2.0}]
)
def test_what_a_meter_cannot_be_is_named(wrong: dict) -> None:
    with pytest.raises(ManifestError, match=f"{next(iter(wrong))} is .*accepted"):
        parse_manifest(with_asset(**wrong))


def test_limits_that_do_not_apply_may_be_left_out() -> None:
    manifest = a_manifest(1)
    for asset in manifest[0]["assets"]:
        del asset["capacity_kwh"], asset["reserve_kwh"]
    assert parse_manifest(manifest)[0].assets[0].reserve_kwh == 0.0


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        ({}, "accepted: a list of 1 to 100000 sites"),
        ([], "accepted: a list of 1 to 100000 sites"),
        ([3], "site number 1 is 3, accepted: an object"),
        (with_site(site_id="a b"), "site number 2: site_id is 'a b', accepted: 1 to 64 of A-Z a-z 0-9 _ -"),
        (with_site(site_id="site-0001"), "site site-0001: site_id stands twice"),
        (with_site(nominal_hz=55), "site site-0002: nominal_hz is 55, accepted: 50 or 60"),
        (with_site(nominal_hz=float("nan")), "nominal_hz is nan, accepted: 50 or 60"),
        (with_site(phases=True), "phases is True, accepted: 1 or 3"),
        (with_site(loss_of_link=None), "loss_of_link is missing, accepted: hold, release"),
        (with_site(time_zone="Mars/Base"), "time_zone is 'Mars/Base', accepted: a name of the IANA data base"),
        (with_site(time_zone="../etc/passwd"), "time_zone is '../etc/passwd'"),
        (with_site(assets=[]), "site site-0002: assets is a list of 0, accepted: a list of 1 to 64 assets"),
        (with_site(color="red"), "'color' is not a field, accepted: site_id, name"),
        (with_asset(name="record"), "asset name is 'record', accepted: any but control, record, waveform"),
        (with_asset(name="pcc"), "assets name 'pcc' twice"),
        (with_asset(kind="wind"), "asset battery: kind is 'wind', accepted: pcc, battery, pv, genset, load"),
        (with_asset(kind="pcc"), "assets hold 2 pcc, accepted: exactly one"),
        (with_asset(rated_kw=-1), "site site-0002: asset battery: rated_kw is -1, accepted: 0 to 1000000"),
        (with_asset(rated_kw=None), "rated_kw is missing"),
        (with_asset(reserve_kwh=101.0), "reserve_kwh is 101, accepted: up to its capacity 100"),
    ],
)
def test_a_faulty_manifest_is_refused_naming_site_field_and_what_is_accepted(manifest: object, named: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(manifest)
    assert named in str(caught.value)


def test_parsing_leaves_the_manifest_as_it_is() -> None:
    manifest = a_manifest(1)
    before = copy.deepcopy(manifest)
    parse_manifest(manifest)
    assert manifest == before
