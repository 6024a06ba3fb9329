"""How an asset's money is split among its owners and the aggregator: agreements with dates, booked with each run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q

from markets.core.settlement import ContractedShare
from sites.registry.models import Site

WHOLE_PPM: Final = 1_000_000
AGGREGATOR_ACCOUNT: Final = "aggregator/fee"


class AgreementRefused(ValueError):
    """An agreement that cannot hold; the message says what is accepted."""


class OwnerShare(models.Model):
    """What one owner gets of an asset's money while an agreement holds; the rest is the aggregator's fee."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="owner_shares")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="owner_shares")
    share_ppm = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(WHOLE_PPM)])
    """Millionths of what the asset is paid, or pays back."""
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    """None: until it is followed by another."""

    class Meta:
        app_label = "markets"
        ordering = ["site", "starts_at", "pk"]
        indexes = [models.Index(fields=["site", "starts_at"], name="markets_owner_share_from")]

    def __str__(self) -> str:
        return f"{self.site} {self.owner_id} {self.share_ppm} ppm"

    @property
    def account(self) -> str:
        """The owner's account for this asset; it carries the person's key, not the name, into a book that keeps it."""
        return owner_account(self.site.site_id, self.owner_id)


def owner_account(site_id: str, owner_pk: int) -> str:
    """Return the account of one owner's part of an asset's money."""
    return f"asset/{site_id}/owner/{owner_pk}"


@transaction.atomic
def agree_shares(*, site: Site, shares_ppm: Mapping[int, int], starts_at: datetime) -> list[OwnerShare]:
    """Put an agreement in force from an instant on, by owner's key; the one before it ends there.

    Raises AgreementRefused for shares of more than the whole, for an owner who does not own the site, and for an
    instant that is not after the start of every agreement there is: what was in force stays so.
    """
    Site.objects.select_for_update().get(pk=site.pk)
    if any(share < 1 for share in shares_ppm.values()) or not 0 < sum(shares_ppm.values()) <= WHOLE_PPM:
        raise AgreementRefused(f"shares are {dict(shares_ppm)} ppm, accepted: 1 or more each, together {WHOLE_PPM}")
    strangers = set(shares_ppm) - set(site.memberships.values_list("user_id", flat=True))
    if strangers:
        raise AgreementRefused(f"{len(strangers)} of the parties do not own {site.site_id}, accepted: its owners")
    held = OwnerShare.objects.filter(site=site)
    later = held.filter(starts_at__gte=starts_at).first()
    if later is not None:
        raise AgreementRefused(
            f"an agreement holds from {later.starts_at.isoformat()}, {starts_at.isoformat()} asked, accepted: after it"
        )
    held.filter(ends_at=None).update(ends_at=starts_at)
    rows = [
        OwnerShare(site=site, owner_id=owner, share_ppm=share, starts_at=starts_at)
        for owner, share in sorted(shares_ppm.items())
    ]
    return OwnerShare.objects.bulk_create(rows)


def with_parties(shares: Sequence[ContractedShare], at: datetime) -> list[ContractedShare]:
    """Return shares with the accounts among whom each asset's money is split by what was agreed at an instant."""
    rows = OwnerShare.objects.filter(Q(ends_at=None) | Q(ends_at__gt=at), starts_at__lte=at)
    agreed: dict[str, list[tuple[str, int]]] = defaultdict(list)
    wanted = {share.site_id for share in shares}
    for row in rows.select_related("site"):
        if row.site.site_id in wanted:
            agreed[row.site.site_id].append((row.account, row.share_ppm))
    return [
        replace(share, parties=_whole(agreed[share.site_id])) if share.site_id in agreed else share for share in shares
    ]


def _whole(parties: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    fee_ppm = WHOLE_PPM - sum(share for _, share in parties)
    fee = [(AGGREGATOR_ACCOUNT, fee_ppm)] if fee_ppm else []
    return tuple(sorted([*parties, *fee]))
