"""Kill -9 of any process of the chain, from controller to database, at random instants: nothing metered is lost."""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.chain import VICTIMS, Chain, Round, a_chain, told
from support.chain_truth import STORED, Compared, Unmetered, assert_nothing_lost

WITHIN_S = 180.0
"""Until everything is as before. A lease takes 5 s to run out; a busy machine starts a process in half a minute."""
LONGEST_QUIET_S = 4.0

pytestmark = pytest.mark.postgres


def deals(chance: random.Random, rounds: int) -> list[tuple[str, ...]]:
    """Return whom each round kills: every process as often as any other, in every fourth round two at once."""
    deck: list[str] = []
    dealt: list[tuple[str, ...]] = []
    while len(dealt) < rounds:
        if not deck:
            deck = chance.sample(VICTIMS, len(VICTIMS))
        first = deck.pop()
        others = [victim for victim in VICTIMS if victim != first]
        dealt.append((first, chance.choice(others)) if len(dealt) % 4 == 3 else (first,))
    return dealt


def compared(chain: Chain) -> Compared:
    """Compare platform and sites: nothing may be lost."""
    stored = chain.stored()
    chain.watch.assert_consistent()
    return assert_nothing_lost(chain.truths, stored, chain.rows(STORED), chain.kills_ms)


def assert_audited(chain: Chain, unmetered: list[Unmetered]) -> None:
    """The platform's own audit finds what nobody metered, and nothing else, while every asset was there."""
    own = [stream for truth in chain.truths.values() for stream in truth.intervals().values()]
    last = {key: number for key, number in chain.stored().items() if key[1] not in {"record", "waveform"}}
    ends = [chain.truths[site_id].intervals()[asset][number]["ends_at"] for (site_id, asset), number in last.items()]
    period = (max(stream[1]["starts_at"] for stream in own), min(ends))
    said = chain.platform.manage(
        "audit_gaps", "--energy", "--from", _iso(period[0]), "--to", _iso(period[1]), accepts=(0, 1)
    )
    expected = [
        f"{hole.site_id}/{hole.asset}: no interval from {_iso(hole.starts_ms)} to {_iso(hole.ends_ms)}"
        for hole in unmetered
        if hole.ends_ms <= period[1]
    ]
    assert sorted(said.strip().splitlines()) == sorted(expected or ["no gaps"])


def played(tmp_path: Path, dealt: list[tuple[str, ...]], chance: random.Random) -> list[Round]:
    """Play the rounds; a failure names the round."""
    rounds: list[Round] = []
    with a_chain(tmp_path) as chain:
        for number, victims in enumerate(dealt):
            time.sleep(chance.uniform(0.0, LONGEST_QUIET_S))  # the instant is what is random
            try:
                rounds.append(chain.play(victims, chance, within_s=WITHIN_S))
            except AssertionError as error:
                error.add_note(f"round {number}: {victims}")
                raise
            print(f"round {number}: {rounds[-1]}", flush=True)
            if number % 10 == 9:
                print(f"{compared(chain).intervals} intervals agree", flush=True)
        found = compared(chain)
        assert_audited(chain, found.unmetered)
        refused = chain.rows("SELECT error, count FROM metering_refusalcount")
        assert [error for error, _ in refused if error not in {"alias_unknown", "birth_missing"}] == []
    print(f"{len(rounds)} rounds, {found.intervals} intervals, lost 0\n{told(rounds)}", flush=True)
    lost_ms = {hole.site_id: hole.lost_ms for hole in sorted(found.unmetered, key=lambda hole: hole.lost_ms)}
    print(f"metered by a controller before its kill and not put by, at most ms: {lost_ms}", flush=True)
    return rounds


def test_each_process_is_killed_once(tmp_path: Path) -> None:
    chance = random.Random(4)
    order = chance.sample(VICTIMS, len(VICTIMS))
    # Two at once, for time's sake; each alone is for the long run.
    played(tmp_path, [tuple(order[first : first + 2]) for first in range(0, len(order), 2)], chance)


@pytest.mark.long
def test_many_rounds(tmp_path: Path) -> None:
    seed = int(os.environ.get("VPP_TEST_SEED", "20261122"))
    rounds = int(os.environ.get("VPP_TEST_ROUNDS", "60"))
    chance = random.Random(seed)
    try:
        played(tmp_path, deals(chance, rounds), chance)
    except AssertionError as error:
        error.add_note(f"VPP_TEST_SEED={seed}")
        raise


def _iso(ms: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat()
