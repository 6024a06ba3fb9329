"""A closed loop in step with the clock: one compiled call that sleeps, samples and meters until it is stopped."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.edge.control.exchange import RECORD_COLUMNS
from sites.edge.control.kernels.compiled import kernel
from sites.edge.control.pacing import Pace, begin_tick, end_tick
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.dc_step import advance_dc_fleet
from sites.edge.studies.fleet_step import advance_fleet

Float32Array = npt.NDArray[np.float32]
StructuredArray = npt.NDArray[np.void]

KEPT_ROWS: Final = 6_000
"""A minute of 100 Hz rows waits for whoever drains them."""
KEPT_BOUNDARIES: Final = 64


@kernel
def pace_fleet(
    pace: Any, clock: Any, wakes: Any, steps: Any,
    members: Any, gs: Any, ps: Any, phases: Any, events: Any, ks: Any, cs: Any, ms: Any, ws: Any, table: Any,
    rings: Any, grid_hz: Any, row_ticks: int, post_ticks: int, rows: Any, words: Any, snapshots: Any,
) -> None:  # fmt: skip
    """Advance all sites by ``len(grid_hz)`` samples each tick, as long as ``pace`` does not say stop.

    ``words`` is the meters' memory as numbers: at a metering boundary it is copied whole into ``snapshots``.
    """
    q = pace[0]
    tick_samples = grid_hz.shape[0]
    while q["stop"] == 0:
        begin_tick(q, clock, wakes)
        slot = q["rows"] % rows.shape[0]
        advance_fleet(
            members, gs, ps, phases, events, ks, cs, ms, ws, table,
            rings, grid_hz, q["sample"], q["offset"], row_ticks, post_ticks, rows[slot : slot + 1],
        )  # fmt: skip
        finish_tick(q, clock, steps, tick_samples, row_ticks, words, snapshots)


@kernel
def pace_mixed_fleet(
    pace: Any, clock: Any, wakes: Any, steps: Any, ac: Any, dc: Any, starts_s: float,
    grid_hz: Any, row_ticks: int, post_ticks: int, rows: Any, words: Any, snapshots: Any,
) -> None:  # fmt: skip
    """As ``pace_fleet``, where DC sites stand among the others; ``ac`` and ``dc`` are both steps' arrays."""
    q = pace[0]
    tick_samples = grid_hz.shape[0]
    members, gs, ps, phases, events, ks, cs, ms, ws, table, rings = ac
    dc_members, dgs, ds, dks, dcs, dms, dws, dc_table = dc
    while q["stop"] == 0:
        begin_tick(q, clock, wakes)
        slot = q["rows"] % rows.shape[0]
        out = rows[slot : slot + 1]
        advance_fleet(
            members, gs, ps, phases, events, ks, cs, ms, ws, table,
            rings, grid_hz, q["sample"], q["offset"], row_ticks, post_ticks, out,
        )  # fmt: skip
        advance_dc_fleet(
            dc_members, gs, ps, phases, events, ks, cs, ms, ws, dgs, ds, dks, dcs, dms, dws, dc_table,
            rings, grid_hz, q["sample"], q["offset"], row_ticks, post_ticks, starts_s, out,
        )  # fmt: skip
        finish_tick(q, clock, steps, tick_samples, row_ticks, words, snapshots)


@kernel
def finish_tick(q: Any, clock: Any, steps: Any, tick_samples: int, row_ticks: int, words: Any, snapshots: Any) -> None:
    """Count what a tick ran, and keep the registers where a metering interval ends with it."""
    q["sample"] += tick_samples
    q["offset"] += tick_samples
    if q["offset"] % row_ticks == 0:
        q["rows"] += 1
    if q["offset"] == 10 * row_ticks:
        q["offset"] = 0
    if q["sample"] == q["next_boundary"]:
        kept = snapshots[q["boundaries"] % snapshots.shape[0]]
        for i in range(words.shape[0]):
            for j in range(words.shape[1]):
                kept[i, j] = words[i, j]
        q["next_boundary"] += q["interval_samples"]
        q["boundaries"] += 1
    end_tick(q, clock, steps)
    # After the clock's call, which the compiler does not move stores across: a reader sees whole rows.
    q["rows_public"] = q["rows"]
    q["boundaries_public"] = q["boundaries"]


class PacedLoop:
    """Runs a closed loop at nominal frequency by the clock; others read it from beside."""

    def __init__(self, loop: ClosedLoop, pace: Pace, *, tick_samples: int, grid_hz: float) -> None:
        """Allocate everything. Raises ValueError when a tick does not divide the record's row of 10 ms."""
        if tick_samples < 1 or loop.row_samples % tick_samples or loop.offset % tick_samples:
            raise ValueError(f"tick of {tick_samples} samples, accepted: a divisor of {loop.row_samples}")
        self._loop = loop
        self._pace = pace
        self._q = pace.record[0]
        self._q["sample"] = loop.sample
        self._q["offset"] = loop.offset
        self._grid_hz = np.full(tick_samples, grid_hz)
        sites = len(loop.sites)
        self._rows = np.zeros((KEPT_ROWS, sites, len(RECORD_COLUMNS)), np.float32)
        self._first_row_sample = loop.sample - loop.offset % loop.row_samples
        self._words = loop.meter_words()
        self._snapshots = np.zeros((KEPT_BOUNDARIES, *self._words.shape))
        self._rows_seen = 0
        self._first_boundary = -1
        self._boundaries_seen = 0
        self.lost_rows = 0
        """Rows overwritten before anyone drained them."""

    def meter_from(self, next_boundary: int, interval_samples: int) -> None:
        """Keep the meters' registers at ``next_boundary`` and each interval after it [samples]."""
        self._first_boundary = next_boundary
        self._q["interval_samples"] = interval_samples
        self._q["next_boundary"] = next_boundary

    def run(self) -> None:
        """Run until the pace says stop: one call, without the interpreter's lock."""
        loop = self._loop
        clockwork = (self._pace.record, self._pace.clock, self._pace.wake_ns, self._pace.step_ns)
        kept = (self._rows, self._words, self._snapshots)
        timing = (self._grid_hz, loop.row_samples, loop.post_samples)
        if len(loop.dc.members):
            dc = (loop.dc.step_arrays(), loop.dc.starts_s)
            pace_mixed_fleet(*(*clockwork, loop.step_arrays(), *dc, *timing, *kept))
        else:
            pace_fleet(*(*clockwork, *loop.step_arrays(), *timing, *kept))

    def catch_up(self) -> None:
        """Tell the closed loop how far it was run, and let it take completed recordings off its rings."""
        self._loop.note_advanced(int(self._q["sample"]))

    def drain_rows(self) -> tuple[int, Float32Array]:
        """Return (first sample, rows) of the 100 Hz record since the last call."""
        public = int(self._q["rows_public"])
        # The slot that is written next may be half written already.
        oldest = max(self._rows_seen, public - KEPT_ROWS + 1)
        self.lost_rows += oldest - self._rows_seen
        rows = self._rows[np.arange(oldest, public) % KEPT_ROWS]
        self._rows_seen = public
        return self._first_row_sample + oldest * self._loop.row_samples, rows

    def drain_boundaries(self) -> list[tuple[int, StructuredArray]]:
        """Return (sample, registers) of the metering boundaries since the last call, oldest first."""
        public = int(self._q["boundaries_public"])
        every = int(self._q["interval_samples"])
        found = []
        for number in range(max(self._boundaries_seen, public - KEPT_BOUNDARIES + 1), public):
            registers = self._loop.registers(self._snapshots[number % KEPT_BOUNDARIES])
            found.append((self._first_boundary + number * every, registers))
        self._boundaries_seen = public
        return found
