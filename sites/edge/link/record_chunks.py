"""Cuts the 100 Hz record of one site into 10 s chunks while an assignment is armed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from sites.edge.control.exchange import Float32Array

ROW_US: Final = 10_000
CHUNK_US: Final = 10_000_000
LEAD_US: Final = 2_000_000
"""The record begins this long before the assignment's window."""
MEMORY_US: Final = 12_000_000
"""Rows remembered for an assignment that arrives after its record should have begun."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows without a gap."""

    starts_at_us: int
    rows: Float32Array
    """[n, RECORD_COLUMNS]."""


class RecordCutter:
    """Collects one site's rows and returns chunks."""

    def __init__(self, *, phase_us: int = 0) -> None:
        """``phase_us`` shifts the chunks' ends, so that the sites of one process do not pack in one instant."""
        self._phase_us = phase_us % CHUNK_US
        self._memory: deque[tuple[int, Float32Array]] = deque()
        self._open: list[Float32Array] = []
        self._open_starts_us = 0
        self._open_ends_us = 0
        self._cut_through_us = 0

    def add(self, *, first_us: int, rows: Float32Array, window_us: tuple[int, int] | None) -> list[Chunk]:
        """Add rows [n, columns] and return the chunks that they complete.

        ``window_us`` is the armed assignment's (starts, ends), None when nothing is armed.
        """
        chunks: list[Chunk] = []
        self._remember(first_us, rows)
        if window_us is None:
            return self.flush()
        starts_us, ends_us = window_us[0] - LEAD_US, window_us[1]
        fresh = [(at, part) for at, part in self._memory if at + len(part) * ROW_US > self._cut_through_us]
        for at, part in fresh:
            low_us = max(starts_us, self._cut_through_us, at)
            first = -(-(low_us - at) // ROW_US)
            last = min(len(part), max(0, -(-(ends_us - at) // ROW_US)))
            if first < last:
                chunks += self._append(at + first * ROW_US, part[first:last])
        if first_us + len(rows) * ROW_US >= ends_us:
            chunks += self.flush()
        return chunks

    def flush(self) -> list[Chunk]:
        """Return what is open as a short chunk."""
        if not self._open:
            return []
        chunk = Chunk(self._open_starts_us, np.concatenate(self._open))
        self._open = []
        return [chunk]

    def _remember(self, first_us: int, rows: Float32Array) -> None:
        self._memory.append((first_us, rows))
        while self._memory and self._memory[0][0] < first_us - MEMORY_US:
            self._memory.popleft()

    def _append(self, first_us: int, rows: Float32Array) -> list[Chunk]:
        chunks = []
        while len(rows):
            if self._open and first_us != self._open_ends_us:
                chunks += self.flush()
            if not self._open:
                self._open_starts_us = self._open_ends_us = first_us
            cut_us = (self._open_starts_us - self._phase_us) // CHUNK_US * CHUNK_US + CHUNK_US + self._phase_us
            count = min(len(rows), -(-(cut_us - first_us) // ROW_US))
            self._open.append(rows[:count])
            first_us += count * ROW_US
            self._open_ends_us = self._cut_through_us = first_us
            rows = rows[count:]
            if first_us >= cut_us:
                chunks += self.flush()
        return chunks
