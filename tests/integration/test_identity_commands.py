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
from sites.mqtt.address import BrokerAddress, TlsFiles
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


def test_authorities_that_are_there_are_well_when_asked_so(authorities: Path) -> None:
    before = {path.name: path.read_bytes() for path in authorities.iterdir()}
    call_command("make_site_ca", folder=authorities, if_absent=True)
    assert {path.name: path.read_bytes() for path in authorities.iterdir()} == before
    (authorities / "site-ca.pem").write_bytes(before["service-ca.pem"])
    with pytest.raises(CommandError, match="is not the key of"):
        call_command("make_site_ca", folder=authorities, if_absent=True)


def test_broker_and_services_get_what_they_are_in_a_folder_each(authorities: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    call_command(
        "make_service_certificate", "broker", "vpp.ingest",
        folder=authorities, into=keys, host=["broker.example", "10.0.0.1"], url="mqtts://broker.example:8884",
    )  # fmt: skip
    signer = x509.load_pem_x509_certificate((authorities / "service-ca.pem").read_bytes())
    for name, subject in (("broker", "CN=broker.example"), ("vpp.ingest", "CN=vpp.ingest")):
        made = x509.load_pem_x509_certificate((keys / name / f"{name}.pem").read_bytes())
        made.verify_directly_issued_by(signer)
        assert made.subject.rfc4514_string() == subject
        assert stat.S_IMODE((keys / name / f"{name}.key").stat().st_mode) == 0o600
        assert (keys / name / "service-ca.pem").read_bytes() == (authorities / "service-ca.pem").read_bytes()
    both = (authorities / "site-ca.pem").read_bytes() + (authorities / "service-ca.pem").read_bytes()
    assert (keys / "broker" / "authorities.pem").read_bytes() == both
    assert not list(keys.glob("*/*-ca.key"))
    name, _, url = (keys / "vpp.ingest" / "broker.env").read_text().strip().partition("=")
    own = keys / "vpp.ingest"
    assert name == "VPP_BROKER_URL"
    assert BrokerAddress.parse(url).tls == TlsFiles(
        own / "service-ca.pem", own / "vpp.ingest.pem", own / "vpp.ingest.key"
    )


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["broker"], {}, "--host"),
        (["vpp.ingest"], {"host": ["broker.example"]}, "--host"),
        (["vpp.ingest"], {"url": "mqtt://broker.example"}, "accepted: mqtts://host:port"),
        (["vpp.ingest"], {"url": "mqtts://broker.example?ca=/x"}, "accepted: mqtts://host:port"),
        (["vpp.ingest"], {"url": "mqtts://me:secret@broker.example"}, "accepted: mqtts://host:port"),
    ],
)
def test_a_service_certificate_asked_for_wrongly_is_refused(
    authorities: Path, names: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError, match=message) as caught:
        call_command("make_service_certificate", *names, folder=authorities, **options)
    assert not list(authorities.glob("*/*.key"))
    assert "secret" not in str(caught.value)


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
