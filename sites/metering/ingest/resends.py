"""Asks sites for rows that are missing below rows that came: what they do not send again by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sites.metering.numbered import StreamKey, StreamState

AGAIN_S: Final = 300.0
MAX_ASKED: Final = 10_000
"""Numbers asked for in one request."""
MAX_LOOKED_AT: Final = 100
"""Streams looked up at a time."""


class Resends:
    """The holes that one ingest worker knows of. Times are of a clock that does not step [s]."""

    def __init__(self, *, wait_s: float, again_s: float = AGAIN_S) -> None:
        """``wait_s``: how long a hole may last before it is asked for; a site repeats by itself after seconds."""
        self._wait_s, self._again_s = wait_s, again_s
        self._due: dict[StreamKey, tuple[int, float]] = {}
        """Stream with rows beyond a hole -> (its mark, when to ask)."""

    def note(self, states: Mapping[StreamKey, StreamState], *, at_s: float) -> None:
        """Take over where streams stand after a batch."""
        for key, state in states.items():
            if not state.has_above:
                self._due.pop(key, None)
                continue
            held = self._due.get(key)
            if held is None or held[0] != state.stored_through:
                # It moves, so the site is sending: wait for it again.
                self._due[key] = (state.stored_through, at_s + self._wait_s)

    def due(self, *, at_s: float) -> list[StreamKey]:
        """Return the streams whose holes must be looked up and asked for now; each again after a while."""
        found = [key for key, (_, due_s) in self._due.items() if due_s <= at_s][:MAX_LOOKED_AT]
        for key in found:
            self._due[key] = (self._due[key][0], at_s + self._again_s)
        return found
