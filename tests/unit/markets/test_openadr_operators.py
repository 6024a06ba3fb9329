"""The table of operators: what it declares, and that each fault is named with file, table and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from markets.openadr.operators import ConfigurationInvalid, Ven3Config, VenConfig, operators, read_operators

TWO = """
[[operator]]
name = "north"
url = "http://127.0.0.1:8080/OpenADR2/Simple/2.0b/"
ven_name = "our-vpp"

[[operator]]
name = "south"
version = "3.1.0"
url = "http://127.0.0.1:8081/openadr3/3.1.0"
ven_name = "our-vpp"
client_id = "us"
secret_file = "south.secret"
targets = ["feeder-7"]
poll_s = 5

[[operator.program]]
name = "south-dc-low"
product = "neso-dc-low"
market_context = "frequency response"
signal_name = "DISPATCH_SETPOINT"
signal_type = "setpoint"
signal_sign = 1
sign_note = "power into the grid is positive"
"""


@pytest.fixture
def written(tmp_path: Path):
    """Return what writes a table beside a secret that others cannot read."""
    secret = tmp_path / "south.secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)

    def write(text: str) -> Path:
        path = tmp_path / "operators.toml"
        path.write_text(text)
        return path

    return write


def test_operators_of_both_versions_stand_side_by_side(written):
    north, south = read_operators(written(TWO))
    assert north == VenConfig("http://127.0.0.1:8080/OpenADR2/Simple/2.0b", "our-vpp", "north")
    assert isinstance(south, Ven3Config)
    assert (south.operator, south.client_secret, south.targets, south.poll_s) == ("south", "s3cret", ("feeder-7",), 5.0)
    assert "s3cret" not in repr(south)
    (program,) = south.programs
    assert (program.operator, program.product_name, program.sign) == ("south", "neso-dc-low", 1)


def test_certificates_are_found_beside_the_file(written, tmp_path):
    for name in ("ven.pem", "ven.key", "ca.pem"):
        (tmp_path / name).write_text("x")
    table = (
        '[[operator]]\nname = "n"\nurl = "https://vtn.example/OpenADR2/Simple/2.0b"\n'
        'cert = "ven.pem"\nkey = "ven.key"\nca = "ca.pem"\nvtn_fingerprint = "AA:BB"\n'
    )
    (config,) = read_operators(written(table))
    assert config.cert == str(tmp_path / "ven.pem")
    with pytest.raises(ConfigurationInvalid, match=r"operators.toml: operator 1 \(n\): ca is .*absent.pem"):
        read_operators(written(table.replace("ca.pem", "absent.pem")))


def test_a_secret_may_come_from_the_environment(written, monkeypatch):
    monkeypatch.setenv("SOUTH_SECRET", "from the environment")
    table = TWO.replace('secret_file = "south.secret"', 'secret_env = "SOUTH_SECRET"')
    assert read_operators(written(table))[1].client_secret == "from the environment"
    monkeypatch.delenv("SOUTH_SECRET")
    with pytest.raises(ConfigurationInvalid, match=r"operator 2 \(south\): secret_env names 'SOUTH_SECRET'"):
        read_operators(written(table))


def test_a_secret_that_everybody_may_read_is_refused(written, tmp_path):
    path = written(TWO)
    (tmp_path / "south.secret").chmod(0o644)
    with pytest.raises(ConfigurationInvalid, match="accepted: mode 0640 or 0600"):
        read_operators(path)


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ('name = "north"', 'name = north"', r"is no TOML: .*line 3"),
        ('name = "north"', 'name = "North Grid"', r"operator 1 \(North Grid\): name is 'North Grid', accepted: "),
        ('name = "south"', 'name = "north"', r"operator 2 \(north\): name north stands twice"),
        ('version = "3.1.0"', 'version = "2.0a"', r"version is '2.0a', accepted: 2.0b, 3.0.1, 3.1.0"),
        ("poll_s = 5", "poll_s = 0", r"operator 2 \(south\): poll_s is 0, accepted: 1 to 3600"),
        ("poll_s = 5", "poll_s = true", r"poll_s is True, accepted: a number"),
        ("poll_s = 5", "pol_s = 5", r"pol_s is no key, accepted: .*poll_s"),
        ("poll_s = 5", 'client_secret = "x"', r"client_secret is no key"),
        ('client_id = "us"\n', "", r"client_id is missing"),
        ('secret_file = "south.secret"', "", r"secret_env or secret_file is needed"),
        ('secret_file = "south.secret"', 'secret_file = "absent"', r"secret_file is 'absent': No such file"),
        ("http://127.0.0.1:8081", "http://grid.example", r"url is plain HTTP to grid.example, accepted: https"),
        ("http://127.0.0.1:8081", "ftp://127.0.0.1", r"url is 'ftp://"),
        ("http://127.0.0.1:8080", "https://user@grid.example", r"url is 'https://user@"),
        ('targets = ["feeder-7"]', "targets = [7]", r"targets is \[7\], accepted: a list of texts"),
        ('product = "neso-dc-low"', 'product = "no-such"', r"operator 2 \(south\): program 1 product: .*no-such"),
        ("signal_sign = 1", "signal_sign = 0", r"program 1 signal_sign is 0, accepted: -1 or 1"),
        ("signal_sign = 1", "signal_sign = 1\nunit_kw = -1", r"program 1 unit_kw is -1, accepted: 1e-06 to 1e\+09"),
        ("signal_sign = 1", "sign = 1", r"program 1 sign is no key, accepted: .*signal_sign"),
        ('sign_note = "power into the grid is positive"', "", r"program 1 sign_note is missing"),
        ("poll_s = 5", 'mqtt = "mqtt://grid.example:1883"', r"operator 2 \(south\): mqtt is refused: .*plain MQTT"),
        ("poll_s = 5", 'mqtt = "mqtts://u:pw@grid.example"', r"mqtt holds a password, accepted: mqtt_secret_env"),
        ("poll_s = 5", 'mqtt_secret_env = "X"', r"mqtt_secret_env is set without mqtt"),
        ("[[operator]]", "[[operators]]", r"accepted: \[\[operator\]\] tables"),
    ],
)
def test_a_fault_is_named_by_file_table_and_key(written, before, after, named):
    assert before in TWO
    path = written(TWO.replace(before, after))
    with pytest.raises(ConfigurationInvalid, match=named) as refused:
        read_operators(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationInvalid, match=r"none.toml cannot be read: No such file"):
        read_operators(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"VTN_URL": ""}, "VPP_VTN_URL"),
        ({"VTN_URL": "ftp://x"}, "VPP_VTN_URL"),
        ({"VTN_URL": "http://grid.example/OpenADR2"}, "VPP_VTN_URL"),
        ({"VTN_URL": "https://grid.example/OpenADR2"}, "VPP_VEN_CERT"),
        ({"VTN_URL": "https://grid.example/OpenADR2", "VEN_CERT": __file__, "VEN_KEY": __file__}, "VPP_VEN_CA"),
        (
            {"VTN_URL": "https://grid.example/x", "VEN_CERT": __file__, "VEN_KEY": __file__, "VEN_CA": __file__},
            "VPP_VTN_FINGERPRINT",
        ),
        ({"VTN_URL": "http://127.0.0.1:1/x", "OPERATORS_FILE": "operators.toml"}, "VPP_VTN_URL is set beside"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, changes, named):
    settings.OPERATORS_FILE = settings.VEN_CERT = settings.VEN_KEY = settings.VEN_CA = settings.VTN_FINGERPRINT = ""
    for name, value in changes.items():
        setattr(settings, name, value)
    with pytest.raises(ConfigurationInvalid, match=named):
        operators()
