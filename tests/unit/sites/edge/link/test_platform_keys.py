"""A site's ring of keys: changed by its authority alone, never empty; what a withdrawn key signed goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.edge import an_assignment
from support.site_bench import NOW, SEED, SITE, Bench

from sites.core.assignments import Assignment
from sites.core.key_ring import KeyAnnouncement
from sites.edge.link.platform_keys import PlatformKeys
from sites.edge.link.site_link import SiteLink
from sites.wire.commands import device_command
from sites.wire.messages import Message
from sites.wire.signature import KEYS_MAGIC, MAGIC, Signer, key_id_of, public_key_of, seal

AT = datetime.fromtimestamp(NOW / 1000.0, UTC)
AUTHORITY, NEW_SEED, THIEF = b"\7" * 32, b"\5" * 32, b"\6" * 32
OLD_KEY, NEW_KEY = public_key_of(SEED), public_key_of(NEW_SEED)
OLD_ID, NEW_ID = key_id_of(OLD_KEY).hex(), key_id_of(NEW_KEY).hex()


def an_announcement(generation: int, *keys: bytes, days: float = 7.0) -> KeyAnnouncement:
    return KeyAnnouncement(generation, keys, (), AT, AT + timedelta(days=days))


def sealed(announcement: KeyAnnouncement, seed: bytes = AUTHORITY, magic: bytes = KEYS_MAGIC) -> bytes:
    return Signer(seed, magic=magic).seal(announcement.to_bytes())


class KeyBench(Bench):
    """A site whose configuration names the old key, and an authority."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / f"{SITE}.keys"
        self.restart()
        self.told(self.come_online())

    def restart(self) -> None:
        self.link = SiteLink(
            self.link.profile, index=0, host_id="vpp", platform_keys=(OLD_KEY,),
            key_authority=public_key_of(AUTHORITY), keys_path=self.path, interval_s=60,
            outbox=self.outbox, port=self.port,
        )  # fmt: skip
        self.link.restore(now_ms=NOW)
        self.measure()

    def announce(self, envelope: bytes, at_ms: int = NOW) -> dict[str, object]:
        return self.report(self.hear(device_command(SITE, "control", at_ms, {"keys": envelope}), at_ms))

    def hold(self, share: Assignment, seed: bytes) -> dict[str, object]:
        """Ask for an assignment, let the controller confirm it, and return the report."""
        messages: list[Message] = self.desire(share, seed)
        return self.report(messages or self.link.orders.confirm(share.content_hash, now_ms=NOW))


@pytest.fixture
def bench(tmp_path: Path) -> KeyBench:
    return KeyBench(tmp_path)


def a_share(sequence: int = 1) -> Assignment:
    share = an_assignment(SITE, sequence=1, power_kw=2.0, starts_at=AT, ends_at=AT + timedelta(hours=1))
    return replace(share, sequence=sequence)


class TestChanging:
    def test_births_tell_which_keys_are_taken(self, bench: KeyBench) -> None:
        assert bench.link.orders.reported()["keys/ids"] == OLD_ID
        assert bench.link.orders.reported()["keys/generation"] == 0

    def test_both_keys_then_the_new_one_alone(self, bench: KeyBench) -> None:
        both = bench.announce(sealed(an_announcement(1, NEW_KEY, OLD_KEY)))
        assert (both["keys/ids"], both["keys/generation"]) == (f"{NEW_ID},{OLD_ID}", 1)
        assert both["keys/hash"] == an_announcement(1, NEW_KEY, OLD_KEY).content_hash
        assert bench.hold(a_share(1), SEED)["reported/sequence"] == 1
        assert bench.hold(a_share(2), NEW_SEED)["reported/sequence"] == 2
        assert bench.announce(sealed(an_announcement(2, NEW_KEY)))["keys/ids"] == NEW_ID
        # What stands under the new key stays; the old one is refused by name.
        assert bench.link.orders.holding.held == a_share(2)
        assert bench.report(bench.desire(a_share(3), SEED))["reported/refusal"] == "key_withdrawn"
        assert bench.report(bench.desire(a_share(3), THIEF))["reported/refusal"] == "unsigned"

    def test_it_stands_after_a_restart_whatever_the_configuration_says(self, bench: KeyBench) -> None:
        bench.announce(sealed(an_announcement(4, NEW_KEY)))
        bench.restart()
        assert bench.link.orders.reported()["keys/ids"] == NEW_ID
        bench.told(bench.come_online())
        assert bench.report(bench.desire(a_share(), SEED))["reported/refusal"] == "key_withdrawn"

    def test_what_a_withdrawn_key_signed_is_let_go_and_taken_again_under_the_new_one(self, bench: KeyBench) -> None:
        # The thief's last word: a sequence that nothing could follow.
        bench.hold(a_share(2**53 - 1), SEED)
        bench.port.take_requests()
        bench.announce(sealed(an_announcement(1, NEW_KEY)))
        assert list(bench.port.take_requests()) == [(0, None)]
        assert bench.report(bench.link.orders.confirm("", now_ms=NOW))["reported/hash"] == ""
        assert bench.hold(a_share(2), NEW_SEED)["reported/sequence"] == 2

    def test_a_repeat_under_the_new_key_outlives_the_old_one(self, bench: KeyBench) -> None:
        bench.announce(sealed(an_announcement(1, NEW_KEY, OLD_KEY)))
        bench.hold(a_share(), SEED)
        assert bench.hold(a_share(), NEW_SEED)["reported/sequence"] == 1
        bench.port.take_requests()
        bench.announce(sealed(an_announcement(2, NEW_KEY)))
        assert list(bench.port.take_requests()) == []
        bench.restart()
        assert bench.link.orders.holding.held == a_share()


class TestRefusing:
    def refusal(self, bench: KeyBench, envelope: bytes, at_ms: int = NOW) -> object:
        before = bench.link.orders.keys.ring.ids
        told = bench.announce(envelope, at_ms)
        assert bench.link.orders.keys.ring.ids == before
        return told["keys/refusal"]

    def test_no_signing_key_changes_the_ring_not_even_one_that_is_taken(self, bench: KeyBench) -> None:
        for seed in (SEED, THIEF):
            assert self.refusal(bench, sealed(an_announcement(1, public_key_of(THIEF)), seed)) == "unsigned"
        # Nor does the authority's signature count for anything but an announcement, nor under another magic.
        assert self.refusal(bench, sealed(an_announcement(1, NEW_KEY), magic=MAGIC)) == "unsigned"
        assert bench.report(bench.desire(a_share(), AUTHORITY))["reported/refusal"] == "unsigned"

    def test_replayed_repeated_and_expired_ones(self, bench: KeyBench) -> None:
        first = sealed(an_announcement(1, OLD_KEY, NEW_KEY))
        bench.announce(first)
        bench.announce(sealed(an_announcement(2, NEW_KEY)))
        assert self.refusal(bench, first) == "stale"
        assert self.refusal(bench, sealed(an_announcement(2, OLD_KEY))) == "repeated"
        assert self.refusal(bench, sealed(an_announcement(3, OLD_KEY, days=1e-6)), NOW + 1_000) == "expired"
        assert self.refusal(bench, Signer(AUTHORITY, magic=KEYS_MAGIC).seal(b"{}")) == "malformed"
        assert self.refusal(bench, b"short") == "unsigned"
        # The held one again is none: the platform has not heard the report.
        assert self.refusal(bench, sealed(an_announcement(2, NEW_KEY))) == ""

    def test_a_disk_that_does_not_take_it(self, bench: KeyBench) -> None:
        bench.path.mkdir()
        assert self.refusal(bench, sealed(an_announcement(1, NEW_KEY))) == "not_kept"
        bench.path.rmdir()
        assert bench.announce(sealed(an_announcement(1, NEW_KEY)))["keys/refusal"] == ""

    def test_a_site_without_an_authority(self, tmp_path: Path) -> None:
        keys = PlatformKeys(SITE, [OLD_KEY], path=tmp_path / "keys")
        assert not keys.receive(sealed(an_announcement(1, NEW_KEY)), at=AT)
        assert keys.reported()["keys/refusal"] == "no_authority"
        assert list(keys.ring) == [OLD_KEY]

    @pytest.mark.parametrize("damage", [b"", b"junk", seal(b"{}", THIEF)])
    def test_a_file_that_the_authority_did_not_write_leaves_the_configured_keys(
        self, bench: KeyBench, damage: bytes
    ) -> None:
        bench.path.write_bytes(damage)
        bench.restart()
        assert bench.link.orders.reported()["keys/ids"] == OLD_ID
