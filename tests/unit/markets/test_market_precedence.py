"""Who gets the power: the order by hand, and what holds for any events in any order."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.precedence import ORDER, Cap, Claim, Piece, shared, taken_kw, why_before
from sites.core.intervals import Interval

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def period(start: float, end: float) -> Interval:
    return Interval(AT + timedelta(minutes=start), AT + timedelta(minutes=end))


def up(power_kw: float, start: float = 0, end: float = 60) -> Piece:
    return Piece(period(start, end), power_kw, 0.0)


def a_claim(name: str, *pieces: Piece, **changes: object) -> Claim:
    claim = Claim(name, pieces, 100.0, False, 0, AT - timedelta(hours=1), True, 1.0)
    return replace(claim, **changes)  # type: ignore[arg-type]


def sizes(*claims: Claim) -> dict[str, float]:
    return {name: grant.size_kw for name, grant in shared(claims).items()}


class TestOrder:
    def test_an_emergency_goes_before_any_priority(self):
        first, second = a_claim("e", up(80), is_emergency=True), a_claim("p", up(80), priority=1)
        assert sizes(second, first) == {"e": 80.0, "p": 20.0}
        assert why_before(first, second).name == "emergency"

    def test_priority_1_goes_before_2_and_0_is_none(self):
        claims = [a_claim(name, up(60), priority=number) for name, number in (("none", 0), ("two", 2), ("one", 1))]
        assert sizes(*claims) == {"one": 60.0, "two": 40.0, "none": 0.0}

    def test_among_equals_the_first_one_keeps_its_promise(self):
        early, late = a_claim("z", up(80)), a_claim("a", up(80), placed_at=AT)
        assert sizes(late, early) == {"z": 80.0, "a": 20.0}
        assert why_before(early, late).name == "first-come"

    def test_each_line_says_why_and_where_from(self):
        assert all(rule.text and rule.source and rule.certainty in "VMU" for rule in ORDER)


class TestSharing:
    def test_whole_or_none_takes_nothing_from_those_behind_it(self):
        claims = [a_claim("first", up(60), priority=1), a_claim("whole", up(80), priority=2, allows_part=False)]
        assert sizes(*claims, a_claim("last", up(40), priority=3)) == {"first": 60.0, "whole": 0.0, "last": 40.0}

    def test_windows_that_only_touch_and_other_directions_do_not_compete(self):
        claims = [a_claim("a", up(100, 0, 30)), a_claim("b", up(100, 30, 60))]
        assert sizes(*claims, a_claim("c", Piece(period(0, 60), 0.0, 100.0))) == {"a": 100.0, "b": 100.0, "c": 100.0}

    def test_a_symmetric_band_needs_both_ways(self):
        band = Piece(period(0, 60), 50.0, 50.0)
        assert sizes(a_claim("down", Piece(period(0, 60), 0.0, 70.0), priority=1), a_claim("band", band))["band"] == 30

    def test_two_that_follow_each_other_are_not_added_up(self):
        claims = [a_claim("a", up(60, 0, 30), priority=1), a_claim("b", up(60, 30, 60), priority=1)]
        assert sizes(*claims, a_claim("c", up(40)))["c"] == 40.0

    def test_each_step_is_cut_for_itself_where_parts_are_allowed(self):
        rival = a_claim("rival", up(90, 15, 30), priority=1)
        plan = a_claim("plan", up(40, 0, 15), up(30, 15, 30), up(20, 30, 45))
        grant = shared([rival, plan])["plan"]
        assert [piece.size_kw for piece in grant.pieces] == [40.0, 10.0, 20.0]
        assert (grant.before, grant.free_kw) == (("rival",), (100.0, 10.0, 100.0))

    def test_a_limit_caps_even_an_emergency_in_its_time(self):
        cap = Cap(period(10, 20), True, 25.5)
        grant = shared([a_claim("e", up(80), is_emergency=True, caps=(cap,))])["e"]
        assert (grant.size_kw, grant.is_capped) == (25.0, True)
        assert sizes(a_claim("later", up(80, 20, 60), caps=(cap,))) == {"later": 80.0}

    def test_two_of_one_name_are_refused(self):
        with pytest.raises(ValueError, match="two claims are called 'a'"):
            shared([a_claim("a", up(1)), a_claim("a", up(2))])


minutes = st.integers(0, 9)


@st.composite
def some_pieces(draw: st.DrawFn) -> tuple[Piece, ...]:
    edges = sorted(draw(st.lists(minutes, min_size=2, max_size=4, unique=True)))
    return tuple(
        Piece(period(start, end), draw(st.sampled_from([0.0, 7.5, 30.0])), draw(st.sampled_from([0.0, 12.0])))
        for start, end in itertools.pairwise(edges)
    )


@st.composite
def some_claims(draw: st.DrawFn, available_kw: float = 50.0) -> list[Claim]:
    return [
        Claim(
            name=f"claim-{number}", pieces=draw(some_pieces()), available_kw=available_kw,
            is_emergency=draw(st.booleans()), priority=draw(st.integers(-1, 3)),
            placed_at=AT + timedelta(seconds=draw(st.integers(0, 2))), allows_part=draw(st.booleans()),
            min_power_kw=draw(st.sampled_from([1.0, 10.0])),
            caps=tuple(
                Cap(period(0, end), draw(st.booleans()), draw(st.floats(0.0, 60.0)))
                for end in draw(st.lists(st.integers(1, 9), max_size=1))
            ),
        )
        for number in range(draw(st.integers(0, 6)))
    ]  # fmt: skip


@given(some_claims())
def test_no_power_is_given_twice_nor_above_a_limit_nor_more_than_asked(claims):
    grants = shared(claims)
    for minute in range(10):
        at = AT + timedelta(minutes=minute)
        for is_up in (True, False):
            assert taken_kw(grants, at, is_up=is_up) <= 50.0 + 1e-9
    for claim in claims:
        for asked, got in zip(claim.pieces, grants[claim.name].pieces, strict=True):
            assert got.up_kw <= asked.up_kw
            assert got.down_kw <= asked.down_kw
            for cap in claim.caps:
                if cap.window.overlap(got.window):
                    assert (got.up_kw if cap.is_up else got.down_kw) <= cap.power_kw
        if not claim.allows_part:
            assert grants[claim.name].pieces == claim.pieces or grants[claim.name].size_kw == 0.0


@given(some_claims(), st.randoms())
def test_the_order_of_arrival_changes_nothing(claims, random):
    shuffled = list(claims)
    random.shuffle(shuffled)
    assert shared(shuffled) == shared(claims)


@given(some_claims())
def test_a_higher_one_gets_the_same_without_the_lower_ones(claims):
    grants = shared(claims)
    ordered = sorted(claims, key=lambda claim: claim.rank)
    for place, claim in enumerate(ordered):
        alone = shared(ordered[: place + 1])
        assert alone[claim.name] == grants[claim.name]
