"""A bad setting stops the start and names the variable and what is accepted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vpp.environment import load_env_file

ROOT = Path(__file__).resolve().parents[3]
GOOD = {
    "VPP_ENV_FILE": "/nonexistent",
    "VPP_SECRET_KEY": "k" * 40,
    "VPP_SIGNING_KEY": "ab" * 32,
    "DJANGO_SETTINGS_MODULE": "vpp.settings",
    "PATH": os.environ["PATH"],
}


def start(**changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); print('started')"],
        env={**GOOD, **changes}, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_good_settings_start():
    assert start().stdout == "started\n"


def test_a_process_without_a_signing_key_starts_and_only_what_signs_refuses():
    assert start(VPP_SIGNING_KEY="").stdout == "started\n"
    refused = subprocess.run(
        [sys.executable, "manage.py", "run_dispatch"],
        env={**GOOD, "VPP_SIGNING_KEY": ""}, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "VPP_SIGNING_KEY is not set, accepted: 1 to 4 seeds" in refused.stderr


def test_another_users_env_file_is_not_ours_to_read(tmp_path, monkeypatch):
    def refuse(*_args: object) -> str:
        raise PermissionError(13, "Permission denied")

    (tmp_path / ".env").write_text("VPP_HOST_ID=theirs\n")
    monkeypatch.delenv("VPP_HOST_ID", raising=False)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", refuse)
        load_env_file(tmp_path / ".env")
    assert "VPP_HOST_ID" not in os.environ


def test_debug_pages_are_not_served_beyond_this_machine():
    assert start(VPP_DEBUG="1").stdout == "started\n"
    refused = start(VPP_DEBUG="1", VPP_ALLOWED_HOSTS="localhost,vpp.example")
    assert refused.returncode != 0
    assert "VPP_DEBUG is on, accepted: only while VPP_ALLOWED_HOSTS is" in refused.stderr


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("VPP_SECRET_KEY", "", "`make install` writes it into .env"),
        ("VPP_SECRET_KEY", "short", "32 or more"),
        ("VPP_SIGNING_KEY", "xyz", "64 hexadecimal digits"),
        ("VPP_SIGNING_KEY", f"{'ab' * 32},", "commas between"),
        ("VPP_SIGNING_KEY", f"{'ab' * 32},{'ab' * 32}", "none twice"),
        ("VPP_SIGNING_KEY", ",".join(f"{n:064x}" for n in range(5)), "1 to 4 keys"),
        ("VPP_DEBUG", "perhaps", "0, 1, true, false, yes, no"),
        ("VPP_TRUSTED_PROXIES", "*", "IP addresses and networks such as 127.0.0.1,10.0.0.0/24"),
        ("VPP_TRUSTED_PROXIES", "127.0.0.1,", "IP addresses and networks"),
        ("VPP_TRUSTED_PROXIES", "0.0.0.0/0", "not of everybody"),
        ("VPP_TRUSTED_PROXIES", "10.0.0.1/24", "IP addresses and networks"),
        ("VPP_ALLOWED_HOSTS", "*", "host names separated by commas, no *"),
        ("VPP_ALLOWED_HOSTS", "vpp.example,,localhost", "host names separated by commas"),
        ("VPP_DROPOUT_MARGIN", "0.9", "a number from 0 to 0.5"),
        ("VPP_DROPOUT_MARGIN", "nan", "a number from 0 to 0.5"),
        ("VPP_MAX_PAYLOAD_BYTES", "1e6", "a whole number from 1000 to 16000000"),
        ("VPP_BROKER_URL", "http://u:secret@127.0.0.1:1", "mqtt://host:port"),
        ("VPP_BROKER_URL", "mqtt://127.0.0.1:99999", "mqtt://host:port"),
        ("VPP_BROKER_URL", "mqtt://u:secret@broker.example", "plain MQTT beyond this machine"),
        ("DATABASE_URL", "mysql://u:secret@127.0.0.1/x", "sqlite:///path or postgresql://"),
    ],
)
def test_a_bad_value_names_variable_and_range(name, value, accepted):
    run = start(**{name: value})
    last_line = run.stderr.strip().splitlines()[-1]
    assert run.returncode != 0
    assert name in last_line
    assert accepted in last_line
    assert "secret" not in last_line
