"""The authority that this process is set up with, from Django's settings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.conf import settings

from sites.identity.authority import Authority, AuthorityError


def authority() -> Authority | None:
    """Return the sites' authority; None where this process does not sign. Raises AuthorityError for half of one."""
    if not settings.SITE_CA_KEY:
        return None
    if not settings.SITE_CA_CERT:
        raise AuthorityError("VPP_SITE_CA_KEY is set without VPP_SITE_CA_CERT, accepted: both or none")
    return Authority.load(Path(settings.SITE_CA_CERT), Path(settings.SITE_CA_KEY))


def broker_ca_pem() -> str:
    """Return the certificate of who signed the broker's; raise AuthorityError when it cannot be read."""
    path = Path(settings.BROKER_CA) if settings.BROKER_CA else None
    try:
        if path is not None:
            return path.read_text()
    except (OSError, UnicodeDecodeError):
        pass
    raise AuthorityError(f"VPP_BROKER_CA is {settings.BROKER_CA!r}, accepted: the file of the broker's authority")


def certificate_life() -> timedelta:
    """Return how long a site's certificate is valid."""
    return timedelta(days=settings.SITE_CERT_DAYS)


def token_life() -> timedelta:
    """Return how long an enrolment token is valid."""
    return timedelta(hours=settings.ENROLMENT_TOKEN_H)
