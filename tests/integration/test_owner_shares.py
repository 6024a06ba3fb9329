"""An asset's money split by what was agreed when it was earned."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from support.metered import STARTS_AT
from support.settled import AT, a_fleet, an_obligation, settle

from markets import queries
from markets.owners import AgreementRefused, OwnerShare, agree_shares
from sites.ledger.audit import books_audit
from sites.registry.models import Membership, Site

pytestmark = pytest.mark.django_db
EARLIER = STARTS_AT - timedelta(days=30)


def owners(site: Site, *names: str) -> list[User]:
    found = [User.objects.create_user(name) for name in names]
    Membership.objects.bulk_create([Membership(user=user, site=site) for user in found])
    return found


def test_an_asset_is_split_to_the_last_millionth_and_computed_again() -> None:
    obligation, shares = an_obligation(), a_fleet([60.0, 40.0])
    site = Site.objects.get(site_id="site-1")
    ann, ben = owners(site, "ann", "ben")
    agree_shares(site=site, shares_ppm={ann.pk: 300_000, ben.pk: 600_000}, starts_at=EARLIER)
    settle(obligation, shares)
    balances = queries.account_balances(dispatch_id="DC-e1")
    # 0.001593 x 0.3 = 0.0004779, x 0.6 = 0.0009558, x 0.1 = 0.0001593: 0.000477, 0.000955 and 0.000159 leave two
    # millionths, which go to the largest remainders, 0.9 and 0.8.
    assert balances[f"asset/site-1/owner/{ann.pk}"] == Decimal("0.000478")
    assert balances[f"asset/site-1/owner/{ben.pk}"] == Decimal("0.000956")
    assert balances["aggregator/fee"] == Decimal("0.000159")
    assert "asset/site-1/availability" not in balances
    assert balances["asset/site-2/availability"] == Decimal("0.001062")
    assert books_audit().verified


def test_another_agreement_holds_from_its_day_on_and_a_new_run_takes_what_held_then() -> None:
    obligation, shares = an_obligation(), a_fleet([100.0])
    site = Site.objects.get(site_id="site-1")
    (ann,) = owners(site, "ann")
    first = settle(obligation, shares)
    # Agreed for a later day: what was earned before is not touched.
    agree_shares(site=site, shares_ppm={ann.pk: 900_000}, starts_at=STARTS_AT + timedelta(days=1))
    assert settle(obligation, shares, run=2, at=AT + timedelta(days=2)) == first
    with pytest.raises(AgreementRefused, match="accepted: after it"):
        agree_shares(site=site, shares_ppm={ann.pk: 500_000}, starts_at=EARLIER)
    agree_shares(site=site, shares_ppm={ann.pk: 500_000}, starts_at=STARTS_AT + timedelta(days=2))
    assert [row.ends_at for row in OwnerShare.objects.order_by("starts_at")] == [STARTS_AT + timedelta(days=2), None]


def test_the_command_names_what_it_cannot_take() -> None:
    a_fleet([100.0])
    site = Site.objects.get()
    owners(site, "ann")
    User.objects.create_user("eve")
    start = EARLIER.isoformat()
    for arguments, said in (
        (("--site", "x", "--from", start, "--owner", "ann=1"), "'x' is not enrolled"),
        (("--site", "site-1", "--from", "2026-01-01", "--owner", "ann=1"), "has no offset"),
        (("--site", "site-1", "--from", start, "--owner", "ann=1.1"), "up to 1"),
        (("--site", "site-1", "--from", start, "--owner", "ann=nan"), "accepted"),
        (("--site", "site-1", "--from", start, "--owner", "bob=1"), "bob is not known"),
        (("--site", "site-1", "--from", start, "--owner", "eve=1"), "do not own site-1"),
    ):
        with pytest.raises(CommandError, match=said):
            call_command("agree_owner_shares", *arguments)
    out = StringIO()
    call_command("agree_owner_shares", "--site", "site-1", "--from", start, "--owner", "ann=0.85", stdout=out)
    assert "1 owners" in out.getvalue()
    assert "fee 0.15" in out.getvalue()
