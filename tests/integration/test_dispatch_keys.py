"""Announcing keys on a real database: numbered, append-only, and no site is left with keys that nobody signs with."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from support.dispatched import NOW, a_fleet, after, an_obligation

from sites.core.key_ring import announcement_from_bytes
from sites.wire.signature import KEYS_MAGIC, key_id_of, open_envelope, public_key_of
from vpp.dispatch import keys, operations
from vpp.dispatch.keys import AnnouncementRefused
from vpp.dispatch.models import KeyAnnouncement, SiteKeys
from vpp.dispatch.reports import SiteReport

pytestmark = pytest.mark.django_db

AUTHORITY, OLD, NEW = b"\1" * 32, b"\2" * 32, b"\3" * 32


def id_of(seed: bytes) -> str:
    return key_id_of(public_key_of(seed)).hex()


def announce(
    *seeds: bytes, at: datetime = NOW, is_forced: bool = False, authority: bytes = AUTHORITY
) -> KeyAnnouncement:
    return keys.announce_keys(
        authority=authority, seeds=seeds, lives=timedelta(days=7), by="olga", at=at, is_forced=is_forced
    )


def says(site_id: str, *seeds: bytes, holds: KeyAnnouncement | None = None, refusal: str = "") -> None:
    """Let a site report the keys that it takes, and what it holds or refused."""
    report = SiteReport(
        site_id=site_id, received_at=NOW, kind="keys", key_ids=",".join(map(id_of, seeds)),
        held_hash=holds.content_hash if holds and not refusal else "",
        held_sequence=holds.generation if holds and not refusal else 0,
        refused_hash=holds.content_hash if holds and refusal else "", refusal=refusal,
    )  # fmt: skip
    keys.record_keys(reports=[report])


class TestAnnouncing:
    def test_what_is_signed_is_what_the_row_says(self) -> None:
        row = announce(NEW, OLD)
        body = open_envelope(bytes(row.envelope), [public_key_of(AUTHORITY)], magic=KEYS_MAGIC)
        announcement = announcement_from_bytes(body)
        assert announcement.keys == (public_key_of(NEW), public_key_of(OLD))
        assert (announcement.generation, announcement.expires_at) == (row.generation, NOW + timedelta(days=7))
        assert (announcement.generation, announcement.content_hash) == (1, row.content_hash)
        assert row.announced_by == "olga"

    def test_a_rotation_from_one_key_to_the_next(self) -> None:
        sites = [site.site_id for site in a_fleet(50.0, 50.0)]
        for site in sites:
            says(site, OLD)
        both = announce(NEW, OLD)
        assert [(row.site_id, row.kind) for row in keys.announcement_rows(at=NOW)] == [(s, "keys") for s in sites]
        says(sites[0], NEW, OLD, holds=both)
        assert [row.site_id for row in keys.announcement_rows(at=NOW)] == sites[1:]
        # The second has only the old key, and never took an announcement.
        with pytest.raises(AnnouncementRefused, match=f"without {id_of(OLD)} these sites .*: site-0002;"):
            announce(NEW)
        says(sites[1], NEW, OLD, holds=both)
        last = announce(NEW)
        assert (last.generation, last.withdrawn) == (2, id_of(OLD))
        assert keys.announcement_rows(at=last.expires_at) == []

    def test_a_stolen_key_goes_at_once_where_sites_take_announcements(self) -> None:
        (site,) = a_fleet(50.0)
        says(site.site_id, OLD, holds=announce(OLD))
        # It does not take the new key yet, but what the authority says it takes.
        assert announce(NEW).withdrawn == id_of(OLD)

    def test_unknown_sites_are_left_behind_only_when_that_is_wanted(self) -> None:
        a_fleet(50.0)
        announce(OLD)
        with pytest.raises(AnnouncementRefused, match="site-0001"):
            announce(NEW)
        assert announce(NEW, is_forced=True).generation == 2

    def test_the_generation_is_above_what_sites_hold_after_a_backup(self) -> None:
        (site,) = a_fleet(50.0)
        lost = announce(OLD)
        lost.generation = 41
        says(site.site_id, OLD, holds=lost)
        assert announce(OLD, at=after(1.0)).generation == 42

    def test_the_authority_signs_nothing_else_and_stays_the_same(self) -> None:
        with pytest.raises(AnnouncementRefused, match="one that signs nothing else"):
            announce(AUTHORITY, NEW)
        announce(NEW)
        with pytest.raises(AnnouncementRefused, match="sites would refuse another"):
            announce(NEW, authority=b"\7" * 32)

    def test_rows_are_neither_changed_nor_deleted(self) -> None:
        row = announce(NEW)
        for change in (row.delete, row.save):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                change()


class TestStanding:
    def test_who_takes_which_and_who_refused(self) -> None:
        sites = [site.site_id for site in a_fleet(50.0, 50.0, 50.0)]
        both = announce(NEW, OLD)
        says(sites[0], NEW, OLD, holds=both)
        says(sites[1], OLD, holds=both, refusal="no_authority")
        found = keys.key_standing()
        assert found.sites_by_key == {id_of(NEW): 1, id_of(OLD): 2}
        assert (found.behind, found.silent) == ([sites[1]], [sites[2]])
        assert found.refusals == {sites[1]: "no_authority"}
        # One that refused it is not asked again, and one that never spoke of keys is not asked at all.
        assert keys.announcement_rows(at=NOW) == []

    def test_what_is_known_already_is_not_written_again(self) -> None:
        (site,) = a_fleet(50.0)
        says(site.site_id, OLD)
        SiteKeys.objects.update(reported_at=after(-60.0))
        says(site.site_id, OLD)
        assert SiteKeys.objects.get().reported_at == after(-60.0)
        says(site.site_id, NEW)
        assert SiteKeys.objects.get().key_ids == id_of(NEW)

    def test_a_signal_for_all_is_signed_with_what_all_take(self) -> None:
        sites = a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(98.0), at=NOW)
        # One never told its keys: what it was given at its installation.
        says(sites[0].site_id, NEW, OLD)
        assert keys.seed_for_all([NEW, OLD], dispatch=dispatch) == OLD
        says(sites[1].site_id, OLD)
        assert keys.seed_for_all([NEW, OLD], dispatch=dispatch) == OLD
        says(sites[1].site_id, OLD, NEW)
        assert keys.seed_for_all([NEW, OLD], dispatch=dispatch) == NEW


class TestCommand:
    def test_a_key_is_made_once_and_for_its_owner_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "authority.key"
        call_command("signing_keys", "new", str(path))
        seed = bytes.fromhex(path.read_text())
        assert public_key_of(seed).hex() in capsys.readouterr().out
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(CommandError, match="accepted: a new file"):
            call_command("signing_keys", "new", str(path))
        path.chmod(0o640)
        with pytest.raises(CommandError, match="mode 640, accepted: readable by its owner alone"):
            call_command("signing_keys", "announce", "--authority", str(path))

    def test_it_announces_ours_and_tells_who_is_behind(
        self, tmp_path: Path, settings: object, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "authority.key"
        call_command("signing_keys", "new", str(path))
        settings.SIGNING_KEYS = (NEW, OLD)  # type: ignore[attr-defined]
        (site,) = a_fleet(50.0)
        says(site.site_id, OLD)
        call_command("signing_keys", "announce", "--authority", str(path), "--by", "olga")
        call_command("signing_keys", "status")
        told = capsys.readouterr().out
        assert f"generation 1: {id_of(NEW)}, {id_of(OLD)}; withdrawn: none" in told
        assert f"{id_of(NEW)} (ours, number 1): taken by 0 sites" in told
        assert f"{id_of(OLD)} (ours, number 2): taken by 1 sites" in told
        assert "by olga" in told
        assert "behind: 1 sites: site-0001" in told
        for days in ("0", "91"):
            with pytest.raises(CommandError, match="up to 90"):
                call_command("signing_keys", "announce", "--authority", str(path), "--days", days)
