"""Files of deploy/ as the programs that will read them judge them, where these are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.services import find_program

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def ran(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def program(name: str, package: str) -> Path:
    found = find_program(name)
    if found is None:
        pytest.skip(f"{name} is not installed; on Debian: apt-get install {package}")
    return found


def test_systemd_finds_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    judge = program("systemd-analyze", "systemd")
    # Programs have to be there for it; ours stand elsewhere on this machine.
    (tmp_path / "opt/.venv/bin").mkdir(parents=True)
    for name in ("python", "uvicorn", "vpp-edge"):
        (tmp_path / "opt/.venv/bin" / name).symlink_to(sys.executable)
    units = tmp_path / "units"
    units.mkdir()
    for folder in ("platform", "edge"):
        for path in (DEPLOY / folder).iterdir():
            if path.suffix in {".service", ".timer", ".target"}:
                (units / path.name).write_text(path.read_text().replace("/opt/vpp", str(tmp_path / "opt")))
    done = ran(judge, "verify", "--man=no", *sorted(units.iterdir()), SYSTEMD_UNIT_PATH=f"{units}:")
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_a_unit_that_is_wrong(tmp_path: Path) -> None:
    judge = program("systemd-analyze", "systemd")
    wrong = tmp_path / "wrong.service"
    wrong.write_text("[Service]\nExecStart=/absent/program\nNoNewPriviledges=yes\n")
    told = ran(judge, "verify", "--man=no", wrong).stderr
    assert "NoNewPriviledges" in told
    assert "/absent/program" in told


@pytest.mark.parametrize(("kind", "name"), [("rules", "alerts.yml"), ("config", "prometheus.yml")])
def test_prometheus_takes_alerts_and_configuration(kind: str, name: str) -> None:
    done = ran(program("promtool", "prometheus"), "check", kind, DEPLOY / "monitoring" / name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((DEPLOY / "setup").glob("*.sh")), ids=lambda path: path.name)
def test_the_shell_reads_the_scripts(path: Path) -> None:
    assert ran("bash", "-n", path).stderr == ""


def test_the_examples_of_sites_are_accepted() -> None:
    for path in sorted((DEPLOY / "edge").glob("*.toml")):
        done = ran(sys.executable, "-m", "sites.edge", "check-config", path, VPP_EDGE_BROKER_URL="")
        assert done.returncode == 0, done.stderr
