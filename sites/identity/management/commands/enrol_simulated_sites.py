"""Give every site of a simulated fleet a certificate of its own, for `vpp-edge simulate --identities`."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.core.certificates import key_pem, make_request, new_key
from sites.identity import configured, operations
from sites.identity.authority import AuthorityError
from sites.identity.files import write_private
from sites.identity.models import SiteCertificate
from sites.registry.models import Site

ACTOR = "enrol_simulated_sites"
WRITERS = 16


class Command(BaseCommand):
    """``manage.py enrol_simulated_sites --folder DIR``."""

    help = "Make keys and certificates for all enrolled sites. For simulations only: a real site makes its key itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the folder."""
        parser.add_argument("--folder", type=Path, required=True, help="DIR/SITE is written for each")
        parser.add_argument("--url", default="", help="the platform's pages, where the sites renew")

    def handle(self, *args: Any, **options: Any) -> None:
        """Take each site from token to certificate."""
        try:
            authority, broker_ca = configured.authority(), configured.broker_ca_pem()
        except AuthorityError as error:
            raise CommandError(str(error)) from None
        if authority is None:
            raise CommandError("VPP_SITE_CA_KEY is not set, accepted: the file that make_site_ca wrote")
        at, keys = timezone.now(), {}
        for site in Site.objects.all():
            key = keys[site.site_id] = new_key()
            token = operations.issue_token(site=site, by=ACTOR, at=at, valid_for=configured.token_life())
            request = operations.submit_request(
                site_id=site.site_id, token=token, csr=make_request(key, site.site_id), address="", at=at
            )
            operations.approve(request=request, by=ACTOR, at=at)
        made = operations.issue_approved(authority=authority, at=at, valid_for=configured.certificate_life())

        def write_identity(certificate: SiteCertificate) -> None:
            site_id = certificate.identity.site.site_id
            folder: Path = options["folder"] / site_id
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            about = {"site_id": site_id, "url": options["url"], "client_id": certificate.identity.client_id}
            write_private(folder / "broker-ca.pem", broker_ca.encode())
            write_private(folder / "enrolment.json", json.dumps(about, indent=1).encode() + b"\n")
            write_private(folder / "identity.pem", key_pem(keys[site_id]) + certificate.pem.encode())

        # Each file waits for the disk; a thousand of them one after the other take longer than all the rest.
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write_identity, made))
        self.stdout.write(f"{len(made)} sites in {options['folder']}, for {settings.SITE_CERT_DAYS:g} days")
