"""The edge's questions to the platform's pages: enrol by a token, renew by the present certificate."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509

from sites.core.certificates import serial_text, sign_renewal
from sites.edge.link.identity import IdentityFolder, life_over

ENROL_PATH: Final = "/api/v1/enrolment/"
RENEW_PATH: Final = "/api/v1/enrolment/renewals/"
ANSWER_WITHIN_S: Final = 20.0
MAX_ANSWER_BYTES: Final = 64_000
RENEW_FROM: Final = 2.0 / 3.0
"""Share of a certificate's life after which a new one is asked for; the last third is for what goes wrong."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class EnrolmentError(Exception):
    """The platform did not do what was asked; ``name`` is its own for a refusal."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Standing:
    """How a request stands at the platform."""

    status: str
    """pending, approved, issued or refused."""
    reason: str = ""
    certificate: str = ""
    broker_ca: str = ""
    client_id: str = ""


def checked_url(url: str) -> str:
    """Return a platform's address; raise EnrolmentError unless it is https, or http on this machine."""
    try:
        parts = urlsplit(url)
        is_here = parts.hostname in LOOPBACK
        good = bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_here))
        good = good and not (parts.query or parts.fragment or parts.username) and (parts.port or 443) > 0
    except ValueError:
        good = False
    if not good:
        raise EnrolmentError("url_invalid", f"platform is {url[:100]!r}, accepted: https://host[:port][/path]")
    return url.rstrip("/")


def ask_enrolment(folder: IdentityFolder, *, url: str, token: str, ca: Path | None) -> Standing:
    """Hand in the pending key's request, or ask how it stands: the same question either way.

    A certificate in the answer is installed. Raises EnrolmentError.
    """
    request, _ = folder.pending_request()
    body = {"site_id": folder.site_id, "token": token, "csr": request.decode()}
    return _asked(folder, url, ENROL_PATH, body, ca)


def ask_renewal(folder: IdentityFolder) -> Standing:
    """Ask for a certificate for a new key, on the present one's word; install what comes. Raises EnrolmentError."""
    present, url = folder.certificate(), folder.enrolment().url
    request, fingerprint = folder.pending_request()
    serial = serial_text(present)
    signature = sign_renewal(folder.key(), site_id=folder.site_id, serial=serial, fingerprint=fingerprint)
    body = {
        "site_id": folder.site_id,
        "serial": serial,
        "csr": request.decode(),
        "signature": base64.b64encode(signature).decode(),
    }
    return _asked(folder, url, RENEW_PATH, body, folder.platform_ca)


def is_renewal_due(certificate: x509.Certificate, *, at: datetime) -> bool:
    """Tell whether a certificate is in its last third."""
    return life_over(certificate, at=at) >= RENEW_FROM


def _asked(folder: IdentityFolder, url: str, path: str, body: Mapping[str, str], ca: Path | None) -> Standing:
    answer = _post(checked_url(url) + path, body, ca)
    texts = {name: answer.get(name, "") for name in ("status", "reason", "certificate", "broker_ca", "client_id")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise EnrolmentError("answer_malformed", f"{url} answered with fields that are no texts")
    standing = Standing(**texts)
    if standing.certificate:
        folder.install(
            certificate_pem=standing.certificate,
            broker_ca_pem=standing.broker_ca,
            url=url,
            client_id=standing.client_id,
        )
    return standing


def _post(url: str, body: Mapping[str, str], ca: Path | None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - checked_url lets https pass, and http on loopback
        url, json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": "application/json"}
    )
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())
        with opener.open(request, timeout=ANSWER_WITHIN_S) as response:
            data = response.read(MAX_ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise _refusal(url, error) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise EnrolmentError("platform_unreachable", f"{url} cannot be asked: {reason}") from None
    if len(data) > MAX_ANSWER_BYTES:
        raise EnrolmentError("answer_malformed", f"{url} answered with more than {MAX_ANSWER_BYTES} bytes")
    return _json(url, data)


def _refusal(url: str, error: urllib.error.HTTPError) -> EnrolmentError:
    try:
        answer = _json(url, error.read(MAX_ANSWER_BYTES))
        return EnrolmentError(str(answer["error"])[:40], str(answer.get("detail", ""))[:300])
    except (EnrolmentError, KeyError, OSError):
        return EnrolmentError("platform_refused", f"{url} answered with status {error.code}")


def _json(url: str, data: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise EnrolmentError("answer_malformed", f"{url} did not answer with a JSON object")
    return answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token is for the address that was given, and for no other."""

    def redirect_request(self, *_: Any) -> None:
        return None
