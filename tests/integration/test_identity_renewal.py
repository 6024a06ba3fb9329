"""The edge's own side of enrolment against real pages: it asks, renews when it is due, and changes over."""

from __future__ import annotations

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from support.manifests import a_manifest

from sites.edge.link.enrolment import EnrolmentError, ask_enrolment, ask_renewal, checked_url
from sites.edge.link.identity import IdentityFolder
from sites.edge.link.renewal import keep_renewed
from sites.identity import configured, operations
from sites.identity.authority import Authority
from sites.identity.models import CertificateRequest, SiteCertificate
from sites.registry.models import Site
from sites.registry.operations import enrol_sites

SITE = "site-0001"
# Counted from five minutes before its issue the last third of such a certificate has begun when it comes.
DUE_AT_ONCE_DAYS = 0.0015


@pytest.fixture
def folder(live_server: Any, settings: Any, tmp_path: Path) -> IdentityFolder:
    """A site that is enrolled at running pages."""
    files = tmp_path / "ca.pem", tmp_path / "ca.key"
    Authority.create("sites", at=timezone.now()).save(*files)
    settings.SITE_CA_CERT, settings.SITE_CA_KEY = map(str, files)
    settings.BROKER_CA, settings.SITE_CERT_DAYS = str(files[0]), DUE_AT_ONCE_DAYS
    enrol_sites(manifest=a_manifest(1), program="neso-dc-low", at=timezone.now())
    site = Site.objects.get()
    token = operations.issue_token(site=site, by="test", at=timezone.now(), valid_for=timedelta(hours=1))
    made = IdentityFolder(tmp_path / "identity", SITE)
    assert ask_enrolment(made, url=live_server.url, token=token, ca=None).status == "pending"
    operations.approve(request=CertificateRequest.objects.get(), by="test", at=timezone.now())
    operations.issue_approved(
        authority=configured.authority(),  # type: ignore[arg-type]
        at=timezone.now(),
        valid_for=configured.certificate_life(),
    )
    assert ask_enrolment(made, url=live_server.url, token=token, ca=None).status == "issued"
    return made


def let_time_pass() -> None:
    SiteCertificate.objects.update(issued_at=timezone.now() - timedelta(minutes=10))


async def test_a_due_certificate_is_renewed_and_taken_into_use(folder: IdentityFolder) -> None:
    first, changed = folder.key().private_numbers().private_value, asyncio.Event()
    await asyncio.to_thread(let_time_pass)

    async def change_over(index: int) -> None:
        assert index == 0
        changed.set()

    with ThreadPoolExecutor(1) as pool:
        keeping = asyncio.create_task(keep_renewed([folder], change_over, pool, look_every_s=0.1, patience_s=0.2))
        async with asyncio.timeout(30.0):
            await changed.wait()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert folder.key().private_numbers().private_value != first
    assert not (folder.path / "pending.key").exists()
    assert stat.S_IMODE((folder.path / "identity.pem").stat().st_mode) == 0o600


async def test_a_pair_that_came_by_hand_is_taken_into_use_and_a_refusal_ends_nothing(folder: IdentityFolder) -> None:
    changes: list[int] = []

    async def change_over(index: int) -> None:
        changes.append(index)

    with ThreadPoolExecutor(1) as pool:
        # Too early at the platform: asked again and again, and the present pair stays.
        keeping = asyncio.create_task(keep_renewed([folder], change_over, pool, look_every_s=0.1, patience_s=30.0))
        await asyncio.sleep(1.0)
        assert (changes, keeping.done()) == ([], False)
        await asyncio.to_thread(let_time_pass)
        await asyncio.to_thread(ask_renewal, folder)
        async with asyncio.timeout(10.0):
            while not changes:
                await asyncio.sleep(0.05)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert changes[0] == 0


def test_the_platforms_refusals_come_by_name(folder: IdentityFolder, live_server: Any) -> None:
    with pytest.raises(EnrolmentError) as caught:
        ask_renewal(folder)
    assert caught.value.name == "too_early"
    with pytest.raises(EnrolmentError) as caught:
        ask_enrolment(folder, url=live_server.url, token="unknown", ca=None)
    assert caught.value.name == "token_unknown"
    with pytest.raises(EnrolmentError) as caught:
        ask_enrolment(folder, url="http://127.0.0.1:9", token="unknown", ca=None)
    assert caught.value.name == "platform_unreachable"


@pytest.mark.parametrize(
    "url", ["http://platform.example", "ftp://h", "https://", "https://u:p@h", "https://h?x=1", "x"]
)
def test_a_token_goes_nowhere_unprotected(url: str) -> None:
    with pytest.raises(EnrolmentError, match="accepted: https"):
        checked_url(url)
