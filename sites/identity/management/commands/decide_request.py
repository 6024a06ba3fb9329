"""Approve or refuse a site's signing request after comparing the key's fingerprint with the one at the site."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.identity import configured, operations
from sites.identity.authority import AuthorityError
from sites.identity.models import CertificateRequest
from sites.identity.operations import EnrolmentRefused


class Command(BaseCommand):
    """``manage.py decide_request ID approve --fingerprint HEX``."""

    help = "Approve or refuse a pending request; approved ones are signed at once where the authority's key is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the request and the decision."""
        parser.add_argument("request", type=int)
        parser.add_argument("decision", choices=("approve", "refuse"))
        parser.add_argument(
            "--fingerprint", default="", help="the key's, as `vpp-edge enrol` showed it (8 digits or more)"
        )
        parser.add_argument("--reason", default="refused by the operator")

    def handle(self, *args: Any, **options: Any) -> None:
        """Decide; sign if this process can."""
        request = CertificateRequest.objects.select_related("site").filter(pk=options["request"]).first()
        if request is None:
            raise CommandError(f"request {options['request']} is not known; `manage.py enrolments` lists them")
        try:
            if options["decision"] == "refuse":
                operations.refuse(request=request, by="manage.py", reason=options["reason"], at=timezone.now())
                self.stdout.write(f"{request.site.site_id}: refused")
                return
            shown = options["fingerprint"].lower().replace(":", "")
            if len(shown) < 8 or not request.fingerprint.startswith(shown):
                raise CommandError(
                    f"--fingerprint is {shown[:64]!r}, accepted: the first 8 digits or more of {request.fingerprint}, "
                    "after comparing them with what the site shows"
                )
            operations.approve(request=request, by="manage.py", at=timezone.now())
            authority = configured.authority()
        except (EnrolmentRefused, AuthorityError) as error:
            raise CommandError(str(error)) from None
        if authority is None:
            self.stdout.write(f"{request.site.site_id}: approved; `manage.py sign_requests` signs it")
            return
        life = configured.certificate_life()
        issued = operations.issue_approved(authority=authority, at=timezone.now(), valid_for=life)
        self.stdout.write(f"{request.site.site_id}: approved; {len(issued)} certificates signed")
