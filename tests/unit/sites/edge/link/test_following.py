"""A site follows its own stream's newest signed value and nothing else."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from sites.core.streams import SetpointSignal, SignalRefusal, StreamGrant
from sites.edge.link.following import Following
from sites.wire.signature import SIGNAL_MAGIC, Signer, public_key_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY, NEXT, FOREIGN = (bytes([n]) * 32 for n in (1, 2, 3))


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


GRANT = StreamGrant("a-1", "site-1", 5, "REG-1", "regd", 40.0, 40.0, 6.0, 0.5, after(0), after(600))


def sealed(sequence: int, *, key: bytes = KEY, magic: bytes = SIGNAL_MAGIC, at: float = 10.0) -> bytes:
    return Signer(key, magic=magic).seal(SetpointSignal("regd", sequence, after(at), after(at + 6), 0.5).to_bytes())


def a_site() -> Following:
    return Following([public_key_of(KEY), public_key_of(NEXT)])


def test_each_refusal_has_its_name() -> None:
    site = a_site()
    at = after(10.1)
    first = site.receive("regd", sealed(7), grant=GRANT, at=at)
    assert isinstance(first, SetpointSignal)
    for envelope, stream, expected in [
        (sealed(7), "regd", SignalRefusal.REPLAYED),
        (sealed(6), "regd", SignalRefusal.REORDERED),
        (sealed(8, key=FOREIGN), "regd", SignalRefusal.UNSIGNED),
        (sealed(8)[:-1], "regd", SignalRefusal.UNSIGNED),
        # Signed by us, but as an assignment.
        (sealed(8, magic=b"VPA1"), "regd", SignalRefusal.UNSIGNED),
        (sealed(8), "other", SignalRefusal.FOREIGN),
        (sealed(8, at=0.0), "regd", SignalRefusal.STALE),
        (sealed(8, at=60.0), "regd", SignalRefusal.AHEAD),
        (Signer(KEY, magic=SIGNAL_MAGIC).seal(b"{}"), "regd", SignalRefusal.MALFORMED),
        (os.urandom(200), "regd", SignalRefusal.UNSIGNED),
    ]:
        assert site.receive(stream, envelope, grant=GRANT, at=at) is expected
    assert site.last == first
    assert site.refused["replayed"] == 1


def test_without_a_grant_everything_is_foreign() -> None:
    assert a_site().receive("regd", sealed(7), grant=None, at=after(10.1)) is SignalRefusal.FOREIGN


def test_the_next_key_is_followed_too() -> None:
    assert isinstance(a_site().receive("regd", sealed(7, key=NEXT), grant=GRANT, at=after(10.1)), SetpointSignal)


def test_a_new_sender_goes_on_above_the_old_one() -> None:
    site = a_site()
    assert isinstance(site.receive("regd", sealed((3 << 32) + 900), grant=GRANT, at=after(10.1)), SetpointSignal)
    # The old sender, which has lost its lease and does not know it yet.
    assert site.receive("regd", sealed((2 << 32) + 5000), grant=GRANT, at=after(10.2)) is SignalRefusal.REORDERED
    assert isinstance(site.receive("regd", sealed((3 << 32) + 901), grant=GRANT, at=after(10.3)), SetpointSignal)
