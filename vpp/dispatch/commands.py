"""Requests to sites from people: issued as signed commands that expire, and what the sites answered.

One path for every kind of request: rights, row, signature, answer. What a request means is the site's business.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Max, QuerySet

from sites.core.commands import SiteCommand as Command
from sites.core.requests import SiteRequest
from sites.registry.models import Site
from sites.registry.permissions import permitted_requests, role_of
from vpp.dispatch import leases
from vpp.dispatch.exchange import DesiredRow
from vpp.dispatch.models import SiteCommand
from vpp.dispatch.recording import Sending
from vpp.dispatch.reports import SiteReport

logger = logging.getLogger(__name__)


class CommandPending(RuntimeError):
    """A site still has to answer another request; the message says which and until when."""

    name = "command_pending"


def issue_command(*, site: Site, request: SiteRequest, user: Any, at: datetime) -> SiteCommand:
    """Ask a site for something in a person's name; the dispatcher process signs and sends it.

    Raises PermissionDenied when the person may not ask that of this site, CommandPending while the site has
    another command to answer.
    """
    if request not in permitted_requests(user, site):
        role = role_of(user) or "no role"
        logger.warning("command.denied site=%s request=%s by=%s role=%s", site.site_id, request, user, role)
        raise PermissionDenied(f"request {request} at site {site.site_id} is not for {role}")
    with transaction.atomic():
        # One at a time: two people who ask at once get sequences one after the other.
        Site.objects.select_for_update().get(pk=site.pk)
        pending = SiteCommand.objects.filter(site=site, answered_at=None, expires_at__gt=at).first()
        if pending is not None:
            raise CommandPending(
                f"site {site.site_id} has not answered {pending.request} of {pending.issued_at:%H:%M:%S}Z, "
                f"accepted: a further request once it has, or after {pending.expires_at:%H:%M:%S}Z"
            )
        known = SiteCommand.objects.filter(site=site).aggregate(ours=Max("sequence"), theirs=Max("reported_sequence"))
        command = Command(
            command_id=str(uuid.uuid4()),
            site_id=site.site_id,
            # A site may have answered a higher one than we know of, when the database comes from a backup.
            sequence=max(known["ours"] or 0, known["theirs"] or 0) + 1,
            request=request,
            issued_by=user.get_username(),
            issued_at=at,
            expires_at=at + timedelta(seconds=settings.COMMAND_LIFE_S),
        )
        return SiteCommand.objects.create(
            site=site,
            command_id=command.command_id,
            sequence=command.sequence,
            request=request.value,
            issued_by=user,
            issued_by_name=command.issued_by,
            issued_as=role_of(user) or "",
            issued_at=at,
            expires_at=command.expires_at,
            body=command.to_bytes(),
            content_hash=command.content_hash,
        )


def command_rows(*, at: datetime) -> list[DesiredRow]:
    """Return the commands that wait for an answer, in the order they were issued."""
    rows = SiteCommand.objects.filter(answered_at=None, expires_at__gt=at).select_related("site")
    return [
        DesiredRow(
            assignment_pk=row.pk,
            site_id=row.site.site_id,
            sequence=row.sequence,
            body=bytes(row.body),
            content_hash=row.content_hash,
            ends_at=row.expires_at,
            acknowledged=False,
            refused=False,
        )
        for row in rows.order_by("pk")
    ]


def site_commands(*, site: Site) -> QuerySet[SiteCommand]:
    """Return a site's commands with who asked and what was answered, newest first: its audit trail."""
    return SiteCommand.objects.filter(site=site).select_related("site").defer("body")


def state_of(command: SiteCommand, *, at: datetime) -> str:
    """Return where a command stands: ``accepted``, ``refused``, ``waiting``, or ``unanswered`` once it expired."""
    if command.answer:
        return command.answer
    return "waiting" if at < command.expires_at else "unanswered"


def record_commands_sent(*, sendings: Sequence[Sending], token: int | None = None) -> None:
    """Record a batch of sendings: the first and the last one of each command, and their number."""
    if not sendings:
        return
    with transaction.atomic():
        leases.require_dispatch(token)
        rows = SiteCommand.objects.defer("body").in_bulk(sorted({sending.assignment_pk for sending in sendings}))
        for sending in sendings:
            row = rows.get(sending.assignment_pk)
            if row is not None:
                row.first_sent_at = row.first_sent_at or sending.sent_at
                row.last_sent_at = sending.sent_at
                row.sends += 1
        SiteCommand.objects.bulk_update(rows.values(), ["first_sent_at", "last_sent_at", "sends"], batch_size=200)


def record_answers(*, reports: Sequence[SiteReport], token: int | None = None) -> None:
    """Record what sites answered, each on the command that it names; the first answer stays.

    One that comes after the command has expired is recorded, too: the site did or refused it.
    """
    if not reports:
        return
    with transaction.atomic():
        leases.require_dispatch(token)
        hashes = sorted({report.answer_hash for report in reports})
        rows = {
            row.content_hash: row
            for row in SiteCommand.objects.select_related("site").defer("body").filter(content_hash__in=hashes)
        }
        for report in reports:
            row = rows.get(report.answer_hash)
            # A hash of another site's command answers nothing.
            if row is None or row.site.site_id != report.site_id or report.answer not in SiteCommand.Answer.values:
                continue
            row.reported_sequence = max(row.reported_sequence, report.answer_sequence)
            if row.answered_at is None:
                row.answered_at, row.answer, row.error = report.received_at, report.answer, report.answer_error
                logger.info(
                    "command.answered site=%s request=%s by=%s answer=%s error=%s",
                    report.site_id, row.request, row.issued_by_name, row.answer, row.error or "-",
                )  # fmt: skip
        fields = ["answered_at", "answer", "error", "reported_sequence"]
        SiteCommand.objects.bulk_update(rows.values(), fields, batch_size=100)
