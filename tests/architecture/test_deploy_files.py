"""What deploy/ starts exists: commands, files, settings; units hold to least privilege."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

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
