"""What sites may hold: the least and the most over everything that may have reached them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vpp.dispatch.standing import STATED_OVER_DELIVERY_SHARE, Asked, Bounds, bounds_of, over_delivery_of, upper_kw

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def asked(sequence: int, power_kw: float, answer: str = "", *, site: int = 1, ours: bool = True) -> Asked:
    """One assignment; ``answer`` is empty, ack or refused."""
    return Asked(site, sequence, power_kw, ours, LATER, answer == "ack", answer == "refused")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([asked(1, 50.0)], Bounds(0.0, 50.0)),
        ([asked(1, 50.0, "ack")], Bounds(50.0, 50.0)),
        ([asked(1, 50.0, "refused")], Bounds(0.0, 0.0)),
        # The newer one may have reached it, or not.
        ([asked(1, 50.0, "ack"), asked(2, 30.0)], Bounds(30.0, 50.0)),
        ([asked(1, 50.0, "ack"), asked(2, 80.0)], Bounds(50.0, 80.0)),
        # Superseded and never answered: still possible until something newer is acknowledged.
        ([asked(1, 50.0, "ack"), asked(2, 90.0), asked(3, 20.0)], Bounds(20.0, 90.0)),
        ([asked(1, 50.0), asked(2, 90.0), asked(3, 20.0, "ack")], Bounds(20.0, 20.0)),
        ([asked(1, 50.0, "ack"), asked(2, 90.0, "refused")], Bounds(50.0, 50.0)),
        # Withdrawn, and the withdrawal is not acknowledged.
        ([asked(1, 50.0, "ack"), asked(2, 0.0)], Bounds(0.0, 50.0)),
        # It serves another dispatch by now.
        ([asked(1, 50.0, "ack"), asked(2, 40.0, "ack", ours=False)], Bounds(0.0, 0.0)),
    ],
)
def test_bounds_of_one_site(rows: list[Asked], expected: Bounds) -> None:
    assert bounds_of(rows, at=NOW) == {1: expected}


def test_what_has_lapsed_is_no_power() -> None:
    assert bounds_of([asked(1, 50.0, "ack")], at=LATER) == {1: Bounds(0.0, 0.0)}


def test_a_silent_site_counts_in_the_upper_bound() -> None:
    bounds = bounds_of([asked(1, 50.0, "ack"), asked(4, 25.0, site=2)], at=NOW)
    assert upper_kw(bounds) == 75.0


def test_the_limit_on_over_delivery_says_where_it_comes_from() -> None:
    ffr, contained = over_delivery_of("nordic-ffr"), over_delivery_of("neso-dc-low")
    assert (ffr.share, ffr.certainty, ffr.is_published) == (0.35, "M", True)
    # NESO's K is 1 up to an error of 3 %, on either side.
    assert (contained.share, contained.certainty, contained.is_published) == (0.03, "U", True)
    raised = over_delivery_of("aemo-r1")
    assert (raised.share, raised.certainty, raised.is_published) == (STATED_OVER_DELIVERY_SHARE, "U", False)
    assert over_delivery_of("no-such-product").share == 0.0
