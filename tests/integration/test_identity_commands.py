"""The commands of enrolment: authorities, services, tokens, a simulated fleet; wrong use is told."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from django.core.management import CommandError, call_command
from django.utils import timezone
from support.manifests import a_manifest

from sites.core.certificates import make_request, new_key
from sites.edge.link.identity import IdentityError, IdentityFolder
from sites.identity import operations
from sites.identity.models import CertificateRequest, SiteCertificate
from sites.mqtt.address import BrokerAddress
from sites.registry.operations import enrol_sites

pytestmark = pytest.mark.django_db


@pytest.fixture
def authorities(tmp_path: Path, settings: Any) -> Path:
    folder = tmp_path / "ca"
    call_command("make_site_ca", folder=folder)
    settings.SITE_CA_CERT, settings.SITE_CA_KEY = str(folder / "site-ca.pem"), str(folder / "site-ca.key")
    settings.BROKER_CA = str(folder / "service-ca.pem")
    enrol_sites(manifest=a_manifest(3), program="neso-dc-low", at=timezone.now())
    return folder


def test_authorities_are_made_once_and_their_keys_are_private(authorities: Path) -> None:
    keys = [path for path in authorities.iterdir() if path.suffix == ".key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    with pytest.raises(CommandError, match="never written over"):
        call_command("make_site_ca", folder=authorities)


def test_broker_and_services_get_what_they_are(authorities: Path) -> None:
    call_command("make_service_certificate", "broker", folder=authorities, host=["broker.example", "10.0.0.1"])
    call_command("make_service_certificate", "vpp.ingest", folder=authorities)
    signer = x509.load_pem_x509_certificate((authorities / "service-ca.pem").read_bytes())
    for name, subject in (("broker", "CN=broker.example"), ("vpp.ingest", "CN=vpp.ingest")):
        made = x509.load_pem_x509_certificate((authorities / f"{name}.pem").read_bytes())
        made.verify_directly_issued_by(signer)
        assert made.subject.rfc4514_string() == subject
    for name, hosts in (("broker", []), ("vpp.ingest", ["broker.example"])):
        with pytest.raises(CommandError, match="--host"):
            call_command("make_service_certificate", name, folder=authorities, host=hosts)


def test_a_request_is_decided_by_its_fingerprint(authorities: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("enrol_site", "site-0001")
    token = capsys.readouterr().out.strip()
    csr = make_request(new_key(), "site-0001")
    request = operations.submit_request(
        site_id="site-0001", token=token, csr=csr, address="10.0.0.9", at=timezone.now()
    )
    call_command("enrolments")
    assert f"{request.pk} site-0001 enrolment pending" in capsys.readouterr().out
    with pytest.raises(CommandError, match="--fingerprint is '', accepted: the first 8 digits"):
        call_command("decide_request", str(request.pk), "approve")
    call_command("decide_request", str(request.pk), "approve", fingerprint=request.fingerprint[:8])
    assert SiteCertificate.objects.get().identity.site.site_id == "site-0001"
    call_command("revoke_site", "site-0001", reason="stolen")
    assert "1 certificates revoked" in capsys.readouterr().out


def test_without_the_authoritys_key_a_signer_elsewhere_signs(authorities: Path, settings: Any, capsys: Any) -> None:
    key_file, settings.SITE_CA_KEY = settings.SITE_CA_KEY, ""
    call_command("enrol_site", "site-0001")
    token = capsys.readouterr().out.strip()
    request = operations.submit_request(
        site_id="site-0001", token=token, csr=make_request(new_key(), "site-0001"), address="", at=timezone.now()
    )
    call_command("decide_request", str(request.pk), "approve", fingerprint=request.fingerprint)
    assert not SiteCertificate.objects.exists()
    with pytest.raises(CommandError, match="VPP_SITE_CA_KEY is not set"):
        call_command("sign_requests")
    settings.SITE_CA_KEY = key_file
    call_command("sign_requests")
    assert CertificateRequest.objects.get().status == "issued"


def test_a_simulated_fleet_gets_an_identity_each(authorities: Path, tmp_path: Path) -> None:
    call_command("enrol_simulated_sites", folder=tmp_path / "fleet")
    broker = BrokerAddress.parse("mqtts://broker.example")
    addresses = {}
    for number in (1, 2, 3):
        folder = IdentityFolder(tmp_path / "fleet" / f"site-000{number}", f"site-000{number}")
        addresses[number] = folder.address(broker)
        assert stat.S_IMODE((folder.path / "identity.pem").stat().st_mode) == 0o600
    assert len({address.client_id for address in addresses.values()}) == 3
    # One site's identity is no other's.
    with pytest.raises(IdentityError, match=r"certificate is \['site-0001'\]'s, accepted: site-0002's"):
        IdentityFolder(tmp_path / "fleet" / "site-0001", "site-0002").address(broker)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["enrol_site", "nobody"], "is not in the registry"),
        (["enrol_site", "site-0001", "--hours", "0"], "--hours is 0, accepted: 0.01 to 720"),
        (["enrol_site", "site-0009", "--manifest", "absent.json"], "No such file"),
        (["revoke_site", "nobody", "--reason", "x"], "is not in the registry"),
        (["decide_request", "999", "approve"], "request 999 is not known"),
        (["keep_broker", "nats", "--folder", "absent", "--once"], "accepted: the broker's own folder"),
        (["keep_broker", "nats", "--folder", ".", "--every-s", "0"], "--every-s is 0"),
    ],
)
def test_wrong_use_is_told(authorities: Path, words: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command(*words)


def test_mosquitto_is_not_kept_without_a_revocation_list(settings: Any, tmp_path: Path) -> None:
    settings.SITE_CA_KEY = ""
    with pytest.raises(CommandError, match="needs a revocation list"):
        call_command("keep_broker", "mosquitto", "--folder", str(tmp_path), "--once")


def test_an_edge_that_is_not_enrolled_says_so(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="vpp-edge enrol"):
        IdentityFolder(tmp_path, "site-0001").address(BrokerAddress.parse("mqtts://broker.example"))
