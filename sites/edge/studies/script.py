"""The plant-side script of a simulation: one line, one thing that happens to the grid or a feeder."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

PLAY: Final = re.compile(r"play (?P<trace>\S+) from (?P<from_s>\S+) to (?P<to_s>\S+) at (?P<at_s>\S+)")
FEEDER: Final = re.compile(r"(?P<what>open|close)-feeder (?P<site_id>\S+) at (?P<at_s>\S+)")


class ScriptError(ValueError):
    """A line that says nothing known; the message names what is accepted."""

    name = "script_line_invalid"


@dataclass(frozen=True, slots=True)
class PlayTrace:
    """Play a recorded frequency."""

    trace: str
    from_s: float
    to_s: float
    at_s: float
    """Unix time at which ``from_s`` plays [s]."""


@dataclass(frozen=True, slots=True)
class MoveFeeder:
    """Open or close the feeder of one site."""

    site_id: str
    opens: bool
    at_s: float


@dataclass(frozen=True, slots=True)
class Stop:
    """End the simulation in order."""


def parse_line(line: str, *, site_ids: Collection[str], traces: Collection[str]) -> PlayTrace | MoveFeeder | Stop:
    """Read one script line.

    Raises ScriptError naming the line's fault and what is accepted.
    """
    text = " ".join(line.split())
    if text == "stop":
        return Stop()
    if match := PLAY.fullmatch(text):
        trace = match["trace"]
        if trace not in traces:
            raise ScriptError(f"trace is {trace!r}, accepted: {', '.join(sorted(traces))}")
        play = PlayTrace(trace, _number(match, "from_s"), _number(match, "to_s"), _number(match, "at_s"))
        if play.to_s <= play.from_s:
            raise ScriptError(f"play ends at {play.to_s:g} s, accepted: after its start {play.from_s:g} s")
        return play
    if match := FEEDER.fullmatch(text):
        if match["site_id"] not in site_ids:
            raise ScriptError(f"site is {match['site_id']!r}, accepted: a site of this simulation")
        return MoveFeeder(match["site_id"], match["what"] == "open", _number(match, "at_s"))
    raise ScriptError(
        f"line is {text[:80]!r}, accepted: 'play TRACE from S to S at UNIX', 'open-feeder SITE at UNIX', "
        "'close-feeder SITE at UNIX', 'stop'"
    )


def _number(match: re.Match[str], name: str) -> float:
    try:
        value = float(match[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ScriptError(f"{name} is {match[name]!r}, accepted: a number of seconds")
    return value
