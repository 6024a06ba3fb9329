"""Sign what is approved, where the authority's key is and the pages are not."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.identity import configured, operations
from sites.identity.authority import AuthorityError


class Command(BaseCommand):
    """``manage.py sign_requests``; may be repeated, by a timer."""

    help = "Sign every approved request with the authority in VPP_SITE_CA_CERT and VPP_SITE_CA_KEY."

    def handle(self, *args: Any, **options: Any) -> None:
        """Sign; tell how many."""
        try:
            authority = configured.authority()
        except AuthorityError as error:
            raise CommandError(str(error)) from None
        if authority is None:
            raise CommandError("VPP_SITE_CA_KEY is not set, accepted: the file that make_site_ca wrote")
        issued = operations.issue_approved(
            authority=authority, at=timezone.now(), valid_for=configured.certificate_life()
        )
        self.stdout.write(f"{len(issued)} certificates signed")
