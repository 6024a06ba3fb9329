"""The enrolment manifest says the same as the sites' births."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sites.edge.__main__ import main
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.manifest import manifest_of, profile_of


def test_the_manifest_is_written_without_a_broker(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    assert main(["simulate", "--sites", "3", "--seed", "5", "--manifest", str(path)]) == 0
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert [entry["site_id"] for entry in entries] == ["site-0001", "site-0002", "site-0003"]
    assert entries == [json.loads(json.dumps(manifest_of(site))) for site in synthetic_fleet(3, 5)]


def test_assets_that_are_not_there_are_not_enrolled() -> None:
    for site in synthetic_fleet(40, 1):
        names = {asset.name for asset in profile_of(site).assets}
        assert ("genset" in names) is (site.genset_kw > 0.0)
        assert {"pcc", "battery", "load"} <= names


def test_three_phase_sites_are_told_phase_to_neutral() -> None:
    voltages = {(s.phases, manifest_of(s)["nominal_voltage_v"]) for s in synthetic_fleet(40, 1)}
    assert voltages == {(1, 230.0), (3, 230.9)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sites", "2"], "no broker, accepted: mqtt://"),
        (["--sites", "2", "--broker", "mqtt://h"], "--platform-key is missing, accepted: 64 hexadecimal"),
        (["--sites", "2", "--broker", "http://h", "--platform-key", "0" * 64, "--runtime-dir", "x"], "scheme 'http'"),
        (["--sites", "2", "--broker", "mqtt://h", "--platform-key", "zz"], "--platform-key is"),
        (["--sites", "2", "--broker", "mqtt://h", "--platform-key", "0" * 64], "--runtime-dir is missing"),
    ],
)
def test_a_missing_setting_ends_the_start_and_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VPP_EDGE_BROKER_URL", raising=False)
    assert main(["simulate", *arguments]) == 2
    assert message in capsys.readouterr().err
