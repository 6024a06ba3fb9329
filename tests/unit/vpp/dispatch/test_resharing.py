"""Shares that move: whatever subset of a round is in force, the sum stays between the promise and the limit."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp.dispatch.resharing import Fleet, Terms, reshared
from vpp.dispatch.standing import Asked, bounds_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENDS = NOW + timedelta(hours=1)


def a_fleet(asked: list[float], sustainable: list[float], **changes: list[float] | list[bool]) -> Fleet:
    """Sites that all hold what they are asked, unless told otherwise."""
    count = len(asked)
    given_: dict[str, list[float] | list[bool]] = {
        "asked_kw": asked, "low_kw": asked, "high_kw": asked, "sustainable_kw": sustainable,
        "is_answering": [True] * count, "is_silent": [False] * count, "is_settled": [True] * count,
        "is_due": [False] * count,
    } | changes  # fmt: skip
    return Fleet(**{name: np.array(values) for name, values in given_.items()})  # type: ignore[arg-type]


TERMS = Terms(promised_kw=100.0, target_kw=102.0, limit_kw=110.0)


class TestReshared:
    def test_nothing_changes_while_nothing_is_missing_and_nobody_is_due(self) -> None:
        fleet = a_fleet([51.0, 51.0], [80.0, 60.0])
        assert reshared(fleet, TERMS).tolist() == [51.0, 51.0]

    def test_the_share_of_a_site_that_is_not_firm_any_more_goes_to_those_with_room(self) -> None:
        # It is silent, and may hold its 34: only 8 of them fit under the limit.
        fleet = a_fleet([34.0, 34.0, 34.0], [0.0, 90.0, 90.0], low_kw=[0.0, 34.0, 34.0])
        assert reshared(fleet, TERMS).tolist() == [34.0, 42.0, 34.0]

    def test_a_share_given_away_goes_to_few_sites(self) -> None:
        count = 1000
        held = [0.0] * 30 + [0.102] * 970
        answering = [False] * 30 + [True] * 970
        fleet = a_fleet([0.102] * count, [0.3] * count, low_kw=held, high_kw=held, is_answering=answering)
        changed = np.flatnonzero(reshared(fleet, TERMS) != fleet.asked_kw)
        assert 15 <= len(changed) <= 40

    def test_a_small_difference_is_not_worth_a_message(self) -> None:
        fleet = a_fleet([51.0, 51.0], [100.0, 104.0], is_due=[True, True])
        assert reshared(fleet, TERMS).tolist() == [51.0, 51.0]

    def test_a_site_with_an_open_answer_is_left_alone(self) -> None:
        fleet = a_fleet([51.0, 51.0], [10.0, 104.0], is_due=[True, True], is_settled=[False, True])
        assert reshared(fleet, TERMS)[0] == 51.0

    def test_a_decrease_waits_for_the_increase_that_makes_room_for_it(self) -> None:
        fleet = a_fleet([51.0, 51.0], [10.0, 104.0], is_due=[True, True])
        first = reshared(fleet, TERMS)
        # Firm power may fall to the promise, no further: 2 kW.
        np.testing.assert_allclose(first, [49.0, 53.0])


@dataclass
class Site:
    """A site as the wire leaves it: messages wait, get lost, overtake each other; answers too."""

    key: int
    sustainable_kw: float
    sequence: int = 0
    held: tuple[int, float] = (0, 0.0)
    on_the_way: list[tuple[int, float]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    """[sequence, power, acknowledged]."""

    def ask(self, power_kw: float) -> None:
        self.sequence += 1
        self.rows.append([self.sequence, power_kw, 0.0])
        self.on_the_way.append((self.sequence, power_kw))

    def asked_kw(self) -> float:
        return self.rows[-1][1] if self.rows else 0.0

    def deliver(self, rng: random.Random) -> None:
        message = self.on_the_way.pop(rng.randrange(len(self.on_the_way)))
        if message[0] > self.held[0]:
            self.held = message
        self.answers.append(self.held[0])

    def hear(self, rng: random.Random) -> None:
        sequence = self.answers.pop(rng.randrange(len(self.answers)))
        for row in self.rows:
            if row[0] == sequence:
                row[2] = 1.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 12), loss=st.sampled_from([0.0, 0.2, 0.6]))
def test_the_sum_holds_at_every_instant_whatever_the_wire_does(seed: int, count: int, loss: float) -> None:
    rng = random.Random(seed)
    sites = [Site(key, rng.uniform(5.0, 50.0)) for key in range(count)]
    total_kw = sum(site.sustainable_kw for site in sites)
    promised_kw = rng.uniform(0.2, 0.7) * total_kw
    terms = Terms(promised_kw, promised_kw / 0.98, promised_kw * 1.1)
    for site in sites:
        site.ask(terms.target_kw * site.sustainable_kw / total_kw)
        site.deliver(rng)
        site.hear(rng)
    for _ in range(120):
        action = rng.random()
        if action < 0.15:
            site = rng.choice(sites)
            # The sun, the load, the battery: never so that the fleet as a whole cannot serve.
            site.sustainable_kw *= rng.uniform(0.7, 1.4)
        elif action < 0.45:
            _review(sites, terms, rng)
        else:
            site = rng.choice(sites)
            if site.on_the_way and rng.random() < loss:
                site.on_the_way.pop(rng.randrange(len(site.on_the_way)))
                # What is not answered is sent again.
                site.on_the_way.append((site.sequence, site.asked_kw()))
            elif site.on_the_way:
                if rng.random() < 0.2:
                    site.on_the_way.append(rng.choice(site.on_the_way))
                site.deliver(rng)
            elif site.answers:
                site.hear(rng)
        held_kw = sum(site.held[1] for site in sites)
        assert held_kw <= terms.limit_kw + 1e-6
        assert held_kw >= promised_kw - 1e-6


def _review(sites: list[Site], terms: Terms, rng: random.Random) -> None:
    asked = [Asked(s.key, int(row[0]), row[1], True, ENDS, row[2] == 1.0, False) for s in sites for row in s.rows]
    bounds = bounds_of(asked, at=NOW)
    fleet = Fleet(
        asked_kw=np.array([site.asked_kw() for site in sites]),
        low_kw=np.array([bounds[site.key].low_kw for site in sites]),
        high_kw=np.array([bounds[site.key].high_kw for site in sites]),
        sustainable_kw=np.array([site.sustainable_kw for site in sites]),
        is_answering=np.ones(len(sites), np.bool_),
        is_silent=np.zeros(len(sites), np.bool_),
        is_settled=np.array([site.rows[-1][2] == 1.0 for site in sites]),
        is_due=np.array([rng.random() < 0.5 for _ in sites]),
    )
    wanted_kw = reshared(fleet, terms)
    assert (wanted_kw >= 0.0).all()
    for site, power_kw in zip(sites, wanted_kw, strict=True):
        if abs(power_kw - site.asked_kw()) > 1e-3:
            site.ask(float(power_kw))
