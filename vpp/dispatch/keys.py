"""Replacing the keys that sign what goes to sites: announced to all, and who takes which."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Max

from sites.core import observe
from sites.core.key_ring import MAX_WITHDRAWN
from sites.core.key_ring import KeyAnnouncement as Announcement
from sites.registry.models import Site
from sites.wire.signature import KEYS_MAGIC, Signer, key_id_of, public_key_of
from vpp.dispatch import leases
from vpp.dispatch.exchange import DesiredRow
from vpp.dispatch.models import Dispatch, KeyAnnouncement, SiteKeys
from vpp.dispatch.reports import KEYS, SiteReport

logger = logging.getLogger(__name__)

MAX_IN: Final = 5_000
"""Values in one list of a query."""
NAMED: Final = 10
"""So many sites are named in a refusal."""


class AnnouncementRefused(RuntimeError):
    """Keys that must not be announced so; the message says why and what is accepted."""

    name = "announcement_refused"


@dataclass(slots=True)
class KeyStanding:
    """Which sites take which keys."""

    announcement: KeyAnnouncement | None
    """The newest one."""
    sites_by_key: Counter[str] = field(default_factory=Counter)
    """Number of sites that take each key, by its id."""
    behind: list[str] = field(default_factory=list)
    """Sites that do not hold the newest announcement."""
    silent: list[str] = field(default_factory=list)
    """Sites that never said which keys they take."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Site -> why it refused the newest announcement."""


def announce_keys(
    *, authority: bytes, seeds: Sequence[bytes], lives: timedelta, by: str, at: datetime, is_forced: bool = False
) -> KeyAnnouncement:
    """Announce the public halves of our keys, in place of all others; the dispatcher sends it to every site.

    ``authority`` is the seed of the key authority. Refused is an announcement that would leave a site behind with keys
    that nobody signs with any more, unless it is forced: AnnouncementRefused names the sites.
    """
    keys = tuple(map(public_key_of, seeds))
    authority_key = public_key_of(authority)
    if authority_key in keys:
        raise AnnouncementRefused(
            "the authority's key is one of VPP_SIGNING_KEY, accepted: one that signs nothing else"
        )
    with transaction.atomic():
        last = KeyAnnouncement.objects.first()
        if last is not None and last.authority != authority_key.hex() and not is_forced:
            raise AnnouncementRefused(
                f"the authority is {key_id_of(authority_key).hex()}, accepted: the one that signed generation "
                f"{last.generation}, {key_id_of(bytes.fromhex(last.authority)).hex()}; sites would refuse another"
            )
        ids = {key_id_of(key).hex() for key in keys}
        gone = [key_id for key_id in _known_ids() if key_id not in ids]
        if gone and not is_forced and (left := _left_behind(ids)):
            more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
            raise AnnouncementRefused(
                f"without {', '.join(gone)} these sites may take none of our keys: {', '.join(left[:NAMED])}{more}; "
                "accepted: announce the old and the new key first, until every site says that it takes the new one"
            )
        held = SiteKeys.objects.aggregate(highest=Max("generation"))["highest"] or 0
        announcement = Announcement(
            # Sites may hold a higher one than we know of, when the database comes from a backup.
            generation=max(held, 0 if last is None else last.generation) + 1,
            keys=keys,
            withdrawn=tuple(map(bytes.fromhex, gone[:MAX_WITHDRAWN])),
            issued_at=at,
            expires_at=at + lives,
        )
        row = KeyAnnouncement.objects.create(
            generation=announcement.generation,
            keys=",".join(key.hex() for key in keys),
            withdrawn=",".join(gone[:MAX_WITHDRAWN]),
            authority=authority_key.hex(),
            announced_by=by,
            announced_at=at,
            expires_at=announcement.expires_at,
            envelope=Signer(authority, magic=KEYS_MAGIC).seal(announcement.to_bytes()),
            content_hash=announcement.content_hash,
        )
    logger.info(
        "%s generation=%d keys=%s withdrawn=%s by=%s",
        observe.KEYS_ANNOUNCED, row.generation, ",".join(sorted(ids)), row.withdrawn or "-", by,
    )  # fmt: skip
    return row


def announcement_rows(*, at: datetime) -> list[DesiredRow]:
    """Return the newest announcement for each site that has not said that it holds or refuses it.

    A site that never said which keys it takes does not know announcements, and gets none.
    """
    newest = KeyAnnouncement.objects.first()
    if newest is None or newest.expires_at <= at:
        return []
    lacking = SiteKeys.objects.exclude(held_hash=newest.content_hash).exclude(refused_hash=newest.content_hash)
    envelope = bytes(newest.envelope)
    return [
        DesiredRow(
            assignment_pk=newest.pk,
            site_id=site_id,
            sequence=newest.generation,
            body=envelope,
            content_hash=newest.content_hash,
            ends_at=newest.expires_at,
            acknowledged=False,
            refused=False,
            kind=KEYS,
        )
        for site_id in lacking.order_by("site_id").values_list("site__site_id", flat=True)
    ]


def known_key_ids() -> dict[str, str]:
    """Return which keys each site said last that it takes."""
    return dict(SiteKeys.objects.values_list("site__site_id", "key_ids"))


def record_keys(*, reports: Sequence[SiteReport], token: int | None = None) -> None:
    """Record what sites said of their keys, the last word of each; what repeats what is known is not written."""
    if not reports:
        return
    with transaction.atomic():
        leases.require_dispatch(token)
        said = list({report.site_id: report for report in reports}.values())
        for start in range(0, len(said), MAX_IN):
            _record(said[start : start + MAX_IN])


def key_standing() -> KeyStanding:
    """Return who takes which keys, and who is behind the newest announcement."""
    standing = KeyStanding(KeyAnnouncement.objects.first())
    newest = "" if standing.announcement is None else standing.announcement.content_hash
    rows = {row.site_id: row for row in SiteKeys.objects.all()}
    for pk, site_id in Site.objects.order_by("site_id").values_list("pk", "site_id"):
        row = rows.get(pk)
        if row is None:
            standing.silent.append(site_id)
            continue
        standing.sites_by_key.update(row.key_ids.split(","))
        if newest and row.held_hash != newest:
            standing.behind.append(site_id)
            if row.refused_hash == newest:
                standing.refusals[site_id] = row.refusal
    return standing


def seed_for_all(seeds: Sequence[bytes], *, dispatch: Dispatch) -> bytes:
    """Return the first of our keys that every site of a dispatch takes, for what is one for all.

    Where there is none, or a site never told its keys: the last one, which was there before the others.
    """
    asked = Site.objects.filter(assignments__dispatch=dispatch).distinct()
    told = [(key_ids or "").split(",") for key_ids in asked.values_list("keys__key_ids", flat=True)]
    for seed in seeds:
        key_id = key_id_of(public_key_of(seed)).hex()
        if all(key_id in key_ids for key_ids in told):
            return seed
    return seeds[-1]


def _record(reports: Sequence[SiteReport]) -> None:
    said = {report.site_id: report for report in reports}
    sites = dict(Site.objects.filter(site_id__in=said).values_list("site_id", "pk"))
    known = SiteKeys.objects.in_bulk(sites.values())
    rows = []
    for site_id, site in sites.items():
        row = _row(site, said[site_id])
        if site not in known or _words(known[site]) != _words(row):
            rows.append(row)
            if row.refusal:
                logger.warning("%s site=%s refusal=%s", observe.KEYS_REFUSED, site_id, row.refusal)
    SiteKeys.objects.bulk_create(
        rows,
        batch_size=500,
        update_conflicts=True,
        unique_fields=["site"],
        update_fields=["key_ids", "generation", "held_hash", "refused_hash", "refusal", "reported_at"],
    )


def _left_behind(ids: set[str]) -> list[str]:
    """Return the sites that take none of these keys now and never took an announcement: they may not take this one."""
    known = {row.site_id: row for row in SiteKeys.objects.all()}
    left = []
    for pk, site_id in Site.objects.order_by("site_id").values_list("pk", "site_id"):
        row = known.get(pk)
        if row is None or (row.generation == 0 and ids.isdisjoint(row.key_ids.split(","))):
            left.append(site_id)
    return left


def _known_ids() -> list[str]:
    """Return the ids of all keys that sites take or were told to take, newest announcement first."""
    ids: dict[str, None] = {}
    for keys, withdrawn in KeyAnnouncement.objects.values_list("keys", "withdrawn"):
        ids |= dict.fromkeys(key_id_of(bytes.fromhex(key)).hex() for key in keys.split(","))
        ids |= dict.fromkeys(_parts(withdrawn))
    for key_ids in SiteKeys.objects.order_by().values_list("key_ids", flat=True).distinct():
        ids |= dict.fromkeys(_parts(key_ids))
    return list(ids)


def _parts(text: str) -> Iterable[str]:
    return filter(None, text.split(","))


def _row(site: int, report: SiteReport) -> SiteKeys:
    return SiteKeys(
        site_id=site,
        key_ids=report.key_ids,
        generation=report.held_sequence,
        held_hash=report.held_hash,
        refused_hash=report.refused_hash,
        refusal=report.refusal,
        reported_at=report.received_at,
    )


def _words(row: SiteKeys) -> tuple[str, int, str, str, str]:
    return row.key_ids, row.generation, row.held_hash, row.refused_hash, row.refusal
