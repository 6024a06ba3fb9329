"""vpp-edge enrol and renew: the key is made here and stays here; the certificate comes from the platform."""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sites.edge.config import load_config
from sites.edge.link.enrolment import EnrolmentError, Standing, ask_enrolment, ask_renewal, checked_url
from sites.edge.link.identity import IdentityError, IdentityFolder

TOKEN_VARIABLE: Final = "VPP_ENROLMENT_TOKEN"  # noqa: S105 - the name of a variable
LONGEST_PAUSE_S: Final = 30.0
UNDECIDED: Final = frozenset({"pending", "approved"})

log = logging.getLogger(__name__)


def add_enrol_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `vpp-edge enrol` takes."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--url", required=True, metavar="URL", help="the platform, https://host")
    parser.add_argument("--token", metavar="TOKEN", help=f"better in {TOKEN_VARIABLE}, or typed when asked")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="who signed the platform's certificate")
    parser.add_argument("--wait-s", type=float, default=86_400.0, metavar="S", help="how long to wait for the approval")


def run_enrol(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Make the key, hand in the request, wait for the operator; status 4 when refused, 5 when still pending."""
    config = load_config(options.config, environment)
    folder = IdentityFolder(config.identity_dir, config.site_id)
    try:
        url = checked_url(options.url)
        token = (options.token or environment.get(TOKEN_VARIABLE, "") or _typed_token()).strip()
        ca = None if options.ca is None else folder.keep_platform_ca(_read(options.ca))
        _, fingerprint = folder.pending_request()
        sys.stdout.write(f"{config.site_id}: compare this key's fingerprint with the platform's page:\n{fingerprint}\n")
        sys.stdout.flush()
        standing = _wait(folder, url, token, ca, options.wait_s)
    except (EnrolmentError, IdentityError) as error:
        sys.stderr.write(f"vpp-edge enrol: {error.name}: {error}\n")
        return 4
    return _told(config.site_id, standing)


def run_renew(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Renew now, by hand; a running uplink does so by itself in the last third of the certificate's life."""
    config = load_config(options.config, environment)
    try:
        standing = ask_renewal(IdentityFolder(config.identity_dir, config.site_id))
    except (EnrolmentError, IdentityError) as error:
        sys.stderr.write(f"vpp-edge renew: {error.name}: {error}\n")
        return 4
    return _told(config.site_id, standing)


def _wait(folder: IdentityFolder, url: str, token: str, ca: Path | None, wait_s: float) -> Standing:
    deadline_s = time.monotonic() + wait_s
    pause_s, standing = 1.0, Standing("pending")
    while True:
        try:
            standing = ask_enrolment(folder, url=url, token=token, ca=ca)
        except EnrolmentError as error:
            # The platform may be away, or ask for patience; everything else is final.
            if error.name not in {"platform_unreachable", "too_many_requests"}:
                raise
            log.warning("%s; asking again", error)
        left_s = deadline_s - time.monotonic()
        if standing.status not in UNDECIDED or left_s <= 0:
            return standing
        time.sleep(max(0.05, min(pause_s, left_s)))
        pause_s = min(LONGEST_PAUSE_S, pause_s * 1.5)


def _told(site_id: str, standing: Standing) -> int:
    if standing.certificate:
        sys.stdout.write(f"{site_id}: enrolled\n")
        return 0
    if standing.status == "refused":
        sys.stderr.write(f"{site_id}: refused: {standing.reason}\n")
        return 4
    sys.stderr.write(f"{site_id}: {standing.status}; the same command goes on where it stands\n")
    return 5


def _typed_token() -> str:
    return getpass.getpass("Enrolment token: ") if sys.stdin.isatty() else sys.stdin.readline()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdentityError(f"--ca {path}: {error.strerror}, accepted: a readable file") from None
