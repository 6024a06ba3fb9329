"""Script lines and the grid that they move."""

from __future__ import annotations

import numpy as np
import pytest

from sites.edge.studies.grid_play import GridPlay, Play
from sites.edge.studies.script import MoveFeeder, PlayTrace, ScriptError, Stop, parse_line


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("play gb from -20 to 34 at 100.5\n", PlayTrace("gb", -20.0, 34.0, 100.5)),
        ("open-feeder s1 at 7", MoveFeeder("s1", True, 7.0)),
        ("close-feeder  s1 at 8", MoveFeeder("s1", False, 8.0)),
        (" stop ", Stop()),
    ],
)
def test_a_line_is_read(line: str, command: object) -> None:
    assert parse_line(line, site_ids={"s1"}, traces={"gb"}) == command


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("play us from 0 to 1 at 2", "trace is 'us', accepted: gb"),
        ("play gb from 5 to 1 at 2", "play ends at 1 s, accepted: after its start 5 s"),
        ("play gb from x to 1 at 2", "from_s is 'x', accepted: a number"),
        ("play gb from 0 to inf at 2", "to_s is 'inf', accepted: a number"),
        ("open-feeder s9 at 7", "site is 's9', accepted"),
        ("dance", "line is 'dance', accepted: 'play"),
    ],
)
def test_a_faulty_line_says_what_is_accepted(line: str, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        parse_line(line, site_ids={"s1"}, traces={"gb"})


class TestGridPlay:
    def test_stands_at_nominal_without_a_trace(self) -> None:
        assert np.all(GridPlay(50.0).frequency_hz(0, 1000, 100) == 50.0)

    def test_plays_the_trace_at_its_instant_and_returns_to_nominal(self) -> None:
        grid = GridPlay(50.0)
        t_s, f_hz = np.array([-1.0, 0.0, 2.0]), np.array([49.9, 49.9, 48.9])
        grid.start(Play(t_s, f_hz, -1.0, 2.0, 5_000_000))
        out = np.concatenate([grid.frequency_hz(first, 100, 10_000) for first in range(0, 20_000_000, 1_000_000)])
        at_s = np.arange(len(out)) / 100.0
        assert out[(at_s >= 2.0) & (at_s < 5.0)] == pytest.approx(49.9)
        assert out[at_s == 7.0] == pytest.approx(49.4)
        assert np.abs(np.diff(out[at_s < 5.0])).max() <= 0.1 * 0.01 + 1e-9
        assert out[-1] == pytest.approx(50.0)

    def test_batches_of_any_size_give_the_same_frequency(self) -> None:
        t_s, f_hz = np.array([0.0, 1.0]), np.array([49.8, 49.5])
        outs = []
        for batch in (7, 100):
            grid = GridPlay(50.0)
            grid.start(Play(t_s, f_hz, 0.0, 1.0, 1_000_000))
            outs.append(np.concatenate([grid.frequency_hz(i * 10_000, batch, 10_000) for i in range(0, 700, batch)]))
        assert np.allclose(outs[0], outs[1], atol=1e-9)
