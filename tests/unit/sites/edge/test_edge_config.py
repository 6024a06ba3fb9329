"""A site's file is taken whole or refused with file, key and accepted range."""

from __future__ import annotations

from pathlib import Path

import pytest

from sites.edge.config import ConfigError, load_config
from sites.edge.link.fallback import LinkLossPolicy, LossOfLink, must_release
from sites.mqtt.address import BrokerAddress, BrokerAddressError

EXAMPLE = Path(__file__).parents[4] / "deploy" / "edge" / "site.example.toml"


def a_file(folder: Path, old: str = "", new: str = "") -> Path:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    path = folder / "site.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_example_is_good() -> None:
    config = load_config(EXAMPLE, {})
    assert config.site_id == "site-example"
    assert [asset.name for asset in config.assets] == ["pcc", "battery", "pv", "load"]
    assert config.profile.policy == LinkLossPolicy(LossOfLink.HOLD, 10.0)


def test_what_is_known_of_a_meter_is_told_in_the_births(tmp_path: Path) -> None:
    told = 'rated_kw = 120.0\nmeter_class = "B"\nmeter_calibrated_on = 2026-03-01\nmeter_uncertainty_ratio = 0.01'
    pcc, battery, *_ = load_config(a_file(tmp_path, "rated_kw = 120.0", told), {}).profile.assets
    known = (pcc.meter_class, pcc.meter_calibrated_at, pcc.meter_uncertainty_ratio)
    assert known == ("B", 1_772_366_400_000, 0.01)
    assert (battery.meter_class, battery.meter_calibrated_at, battery.meter_uncertainty_ratio) == (None, None, None)


def test_the_environment_names_the_broker_first(tmp_path: Path) -> None:
    config = load_config(a_file(tmp_path), {"VPP_EDGE_BROKER_URL": "mqtts://edge:secret@10.0.0.1:1884"})
    assert (config.broker.host, config.broker.port, config.broker.user) == ("10.0.0.1", 1884, "edge")
    assert "secret" not in repr(config)


def test_plain_mqtt_beyond_this_machine_has_to_be_meant(tmp_path: Path) -> None:
    told = {"VPP_EDGE_BROKER_URL": "mqtt://edge:secret@10.0.0.1:1884"}
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1:1884 is plain MQTT beyond this machine.*VPP_OPEN_BROKER=1"):
        load_config(a_file(tmp_path), told)
    assert load_config(a_file(tmp_path), {**told, "VPP_OPEN_BROKER": "1"}).broker.is_open


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "site-example"', 'id = "site example"', r"site\.id is 'site example', accepted: 1 to 64"),
        ('id = "site-example"', "", r"site\.id is missing, accepted"),
        ("nominal_hz = 50", "nominal_hz = 55", r"site\.nominal_hz is 55, accepted: 50, 60"),
        ('grid_code = "g99"', 'grid_code = "g98"', r"site\.grid_code is 'g98', accepted: one of en50549-1, g99"),
        ('grid_code = "g99"', 'grid_code = "ieee1547-iii"', r"'ieee1547-iii' is for 60 Hz, the site is 50 Hz"),
        ("nominal_voltage_v = 400.0", "nominal_voltage_v = 1", r"site\.nominal_voltage_v is 1, accepted: 100 to"),
        ("interval_s = 60", "interval_s = 7", r"link\.interval_s is 7, accepted: .* divides an hour"),
        ('loss_of_link = "hold"', 'loss_of_link = "maybe"', r"link\.loss_of_link is 'maybe', accepted: hold, release"),
        ("loss_grace_s", "los_grace_s", r"link\.los_grace_s is not known, accepted: .*loss_grace_s"),
        ('"0000', '"zz00', r"link\.platform_keys is 'zz00.*accepted: 64 hexadecimal digits"),
        ('broker_url = "mqtt:', 'broker_url = "http:', r"link\.broker_url: broker address has scheme 'http'"),
        ("rated_kw = 120.0", "rated_kw = nan", r"assets\[0\]\.rated_kw is nan, accepted: a number from 0"),
        ("rated_kw = 120.0", 'rated_kw = 1\nmeter_class = "9"', r"assets\[0\]\.meter_class is '9', accepted: 0\.1S"),
        ("rated_kw = 120.0", "rated_kw = 1\nmeter_calibrated_on = 7", r"meter_calibrated_on is 7, accepted: a date"),
        ('kind = "pv"', 'kind = "load"', r"assets is .*accepted: each kind once"),
        ('driver = "simulated"', 'driver = "magic"', r"plant\.driver is 'magic', accepted: simulated"),
        ("[site]", "[site", r"is not TOML"),
    ],
)
def test_a_wrong_value_names_file_key_and_what_is_accepted(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = a_file(tmp_path, old, new)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, {})
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml", {})


def test_a_broker_address_error_never_shows_the_password() -> None:
    with pytest.raises(BrokerAddressError) as caught:
        BrokerAddress.parse("https://user:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("choice", "armed", "away_s", "released"),
    [
        (LossOfLink.HOLD, True, 1e6, False),
        (LossOfLink.RELEASE, True, 10.0, False),
        (LossOfLink.RELEASE, True, 10.1, True),
        (LossOfLink.RELEASE, False, 1e6, False),
        (LossOfLink.RELEASE, True, 0.0, False),
    ],
)
def test_only_a_site_that_chose_release_gives_up_after_its_grace(
    choice: LossOfLink, armed: bool, away_s: float, released: bool
) -> None:
    assert must_release(LinkLossPolicy(choice, 10.0), armed=armed, away_s=away_s) is released
