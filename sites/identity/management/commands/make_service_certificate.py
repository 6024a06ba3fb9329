"""Make keys and certificates of the broker and of the platform's services, each in a folder of its own."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import serialization
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.core.certificates import key_pem, new_key
from sites.identity.authority import Authority, AuthorityError
from sites.identity.files import write_private, write_public
from sites.identity.rights import SERVICE_NAMES
from sites.mqtt.address import BrokerAddress, BrokerAddressError

BROKER = "broker"


class Command(BaseCommand):
    """``manage.py make_service_certificate broker vpp.ingest --folder AUTHORITIES --host NAME``."""

    help = (
        "Write INTO/NAME/NAME.pem and NAME.key, signed by the service-ca of --folder, and what else the process needs: "
        "service-ca.pem, for the broker site-ca.pem and authorities.pem, with --url a service's broker.env. "
        "Earlier ones are replaced."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose they are, where they go and, for the broker, under which names it is reached."""
        parser.add_argument("names", nargs="+", choices=(BROKER, *SERVICE_NAMES), metavar="NAME")
        parser.add_argument("--folder", type=Path, required=True, help="where make_site_ca wrote")
        parser.add_argument("--into", type=Path, help="where each gets a folder of its own (default: --folder)")
        parser.add_argument("--host", action="append", default=[], help="the broker's host name or address, repeatable")
        parser.add_argument("--url", default="", help="mqtts://host:port at which services reach the broker")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sign a new key for each."""
        names, folder, hosts, url = options["names"], options["folder"], options["host"], options["url"]
        if (BROKER in names) is not bool(hosts):
            raise CommandError("--host, accepted: once or more with broker, never without it")
        _check_url(url)
        into: Path = (options["into"] or folder).absolute()
        try:
            authority = Authority.load(folder / "service-ca.pem", folder / "service-ca.key")
            for name in names:
                own = into / name
                own.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._make(authority, name, own, hosts)
                write_public(own / "service-ca.pem", authority.pem)
                if name == BROKER:
                    site_ca = (folder / "site-ca.pem").read_bytes()
                    write_public(own / "site-ca.pem", site_ca)
                    write_public(own / "authorities.pem", site_ca + authority.pem)
                elif url:
                    write_private(own / "broker.env", f"VPP_BROKER_URL={service_url(url, own, name)}\n".encode())
        except (AuthorityError, OSError, ValueError) as error:
            raise CommandError(str(error)) from None

    def _make(self, authority: Authority, name: str, own: Path, hosts: list[str]) -> None:
        key, at = new_key(), timezone.now()
        if name == BROKER:
            made = authority.broker_certificate(key.public_key(), hosts=hosts, at=at)
        else:
            made = authority.service_certificate(key.public_key(), name=name, at=at)
        write_private(own / f"{name}.key", key_pem(key))
        write_public(own / f"{name}.pem", made.public_bytes(serialization.Encoding.PEM))
        self.stdout.write(f"{own / name}.pem and .key, valid until {made.not_valid_after_utc:%Y-%m-%d}")


def service_url(url: str, own: Path, name: str) -> str:
    """Return the broker's address with the certificate that stands in a service's own folder."""
    files = {"ca": own / "service-ca.pem", "cert": own / f"{name}.pem", "key": own / f"{name}.key"}
    return f"{url}?{urlencode(files, safe='/')}"


def _check_url(url: str) -> None:
    try:
        if url and (not url.startswith("mqtts://") or "?" in url or BrokerAddress.parse(url).user):
            # Not told: it may hold a password.
            raise BrokerAddressError("not an address alone")
    except BrokerAddressError as error:
        raise CommandError(f"--url: {error}, accepted: mqtts://host:port") from None
