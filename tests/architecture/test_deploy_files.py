"""What deploy/ starts exists: commands, files, settings; units hold to least privilege."""

import argparse
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted([*DEPLOY.glob("platform/*.service"), *DEPLOY.glob("edge/*.service")])


def started(text: str) -> set[str]:
    return set(re.findall(r"(?:python\"?,? \"?|`)manage\.py[\"', ]+([a-z_]+)", text))


@pytest.mark.parametrize(
    "path", [*UNITS, DEPLOY / "compose.yml", DEPLOY / "README.md", DEPLOY / "Dockerfile"], ids=lambda path: path.name
)
def test_every_command_that_is_started_exists(path):
    assert started(path.read_text()) <= set(get_commands()) | {"migrate"}


def command_lines() -> list[tuple[str, list[str]]]:
    """Return each `manage.py` line that units and compose.yml run: where it stands, and its words."""
    text = (DEPLOY / "compose.yml").read_text().replace("\\\n", " ")
    lines = [
        (path.name, line.replace("%i", "0-31"))
        for path in UNITS
        for line in re.findall(r"^ExecStart=.*manage\.py (.+)$", path.read_text(), re.MULTILINE)
    ]
    lines += [("compose.yml", line) for line in re.findall(r"python manage\.py ([^;\"\n]+)", text)]
    lines += [
        ("compose.yml", line.replace('", "', " ").strip('"'))
        for line in re.findall(r"\"manage\.py\", (\".+\")\]", text)
    ]
    return [(where, shlex.split(line)) for where, line in lines]


@pytest.mark.parametrize(("where", "words"), command_lines(), ids=lambda value: str(value)[:60])
def test_a_command_that_is_started_takes_the_words_it_is_given(where, words):
    name, *arguments = words
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    parser.error = lambda message: pytest.fail(f"{where}: {name}: {message}")
    given = parser.parse_args(arguments)
    assert isinstance(given, argparse.Namespace)


def test_every_alert_has_its_place_in_the_runbook_and_every_name_there_exists():
    runbook = (DEPLOY / "README.md").read_text()
    alerts = set(re.findall(r"- alert: (\w+)", (DEPLOY / "monitoring/alerts.yml").read_text()))
    headings = "\n".join(line for line in runbook.splitlines() if line.startswith("### "))
    assert alerts == set(re.findall(r"Vpp\w+", headings))
    told = set(re.findall(r"\bvpp_[a-z_]+", runbook))
    metrics = (ROOT / "sites/observability/metrics.py").read_text()
    assert {name for name in told if name.removesuffix("_total").removesuffix("_bucket") not in metrics} == set()
    units = {re.sub(r"@[0-9-]*", "@", name) for name in re.findall(r"(?<!/)\bvpp-[a-z-]+(?:@[0-9-]*)?", runbook)}
    there = {path.name.partition(".")[0] for path in (DEPLOY / "platform").iterdir()}
    assert units - there - {"vpp-edge", "vpp-platform", "vpp-edge-control@", "vpp-edge-uplink@"} == set()
    for words in re.findall(r"`(?:[A-Z_]+=\S+ )?(?:\.venv/bin/python )?manage\.py ([^`]+)`", runbook):
        name, *arguments = shlex.split(words.replace("…", ""))
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        known = {option for action in parser._actions for option in action.option_strings}
        assert {word for word in arguments if word.startswith("--")} <= known, words


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_as_its_own_user_with_nothing_to_gain(path):
    text = path.read_text()
    assert re.search(r"^User=(vpp|vpp-edge|vpp-sign|mosquitto)$", text, re.MULTILINE)
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "UMask=0077"):
        assert line in text


def test_units_that_are_wanted_are_there():
    wanted = set(
        re.findall(r"vpp-[a-z]+(?:@[0-9-]+)?\.(?:service|timer)", (DEPLOY / "platform/vpp-platform.target").read_text())
    )
    names = {re.sub(r"@[0-9-]+", "@", name) for name in wanted}
    assert len(names) > 5
    assert names <= {path.name for path in (DEPLOY / "platform").iterdir()}


def test_settings_that_are_given_are_ones_that_are_read():
    read = set(re.findall(r'"(VPP_[A-Z_]+|DATABASE_URL)"', (ROOT / "vpp/settings.py").read_text()))
    # Under which name sites reach the broker, and where compose.yml lets it listen.
    brokers = {"VPP_BROKER_HOST", "VPP_BROKER_BIND"}
    for name in ("compose.yml", "compose.env.example", "Dockerfile"):
        assert set(re.findall(r"\b(VPP_[A-Z_]+)\b", (DEPLOY / name).read_text())) <= read | brokers, name


def test_compose_gives_no_secret_a_default():
    text = (DEPLOY / "compose.yml").read_text()
    for secret in re.findall(r"\$\{([A-Z_0-9]*(?:PASSWORD|KEY)[A-Z_0-9]*)([^}]*)\}", text):
        assert secret[1] == ":?", secret
    filled = [
        line
        for line in (DEPLOY / "compose.env.example").read_text().splitlines()
        if re.match(r"\w*(PASSWORD|KEY)=.", line)
    ]
    assert filled == []


def test_files_that_are_mounted_are_there():
    for host_path in re.findall(r'"\./([^:"]+):', (DEPLOY / "compose.yml").read_text()):
        # The certificates of a grid operator are the operator's.
        assert host_path == "openadr" or (DEPLOY / host_path).is_file(), host_path
