"""What the controller handed over for one site and the disk has not taken yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import numpy as np

from sites.edge.control.exchange import RECORD_RATE_HZ, Boundary, Float32Array, ServiceBegin

MAX_BOUNDARIES: Final = 20_000
"""Ends of intervals that wait for a full disk: two weeks of minutes; a lost one makes the next interval longer."""
ROW_US: Final = round(1e6 / RECORD_RATE_HZ)


class Waiting:
    """One site's ends of intervals, beginnings of service and rows of the record, in order."""

    def __init__(self) -> None:
        self.boundaries: deque[Boundary] = deque(maxlen=MAX_BOUNDARIES)
        self.services: deque[ServiceBegin] = deque()
        self.records: deque[tuple[int, Float32Array]] = deque()
        self._closed = self._begun = 0
        """How many boundaries and beginnings were used by the transaction that runs."""

    def due(self) -> Iterator[tuple[list[ServiceBegin], Boundary]]:
        """Yield each end of an interval with the services that began before it; ``settle`` lets go of them."""
        self._closed = self._begun = 0
        services = list(self.services)
        for boundary in list(self.boundaries):
            began = []
            while self._begun < len(services) and services[self._begun].at_us <= boundary.at_us:
                began.append(services[self._begun])
                self._begun += 1
            self._closed += 1
            yield began, boundary

    def settle(self) -> None:
        """Let go of what the last transaction kept; what a full disk did not take is closed again."""
        for queue, count in ((self.boundaries, self._closed), (self.services, self._begun)):
            for _ in range(count):
                queue.popleft()
        self._closed = self._begun = 0

    def take_records(self) -> list[tuple[int, Float32Array]]:
        """Empty the rows of the record into as few pieces as gaps allow: (instant of the first [us], rows)."""
        pieces: list[tuple[int, list[Float32Array]]] = []
        ends_us = -1
        while self.records:
            first_us, rows = self.records.popleft()
            if not pieces or first_us != ends_us:
                pieces.append((first_us, []))
            pieces[-1][1].append(rows)
            ends_us = first_us + len(rows) * ROW_US
        return [(first_us, np.concatenate(parts)) for first_us, parts in pieces]
