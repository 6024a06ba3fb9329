"""Many sites' waves through the vectorized loss detector, on all cores: which of them leave the grid, and when."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from sites.edge.control.detection import Decision
from sites.edge.control.islanding import CAUSE_NAMES, PATH_NAMES
from sites.edge.control.kernels import records
from sites.edge.control.kernels.fleet_trip import (
    CHANNELS,
    CYCLE,
    EXTRAS,
    FLEET_STATE,
    HISTORY,
    NUMBERS,
    WIDTH,
    watch_tiles,
)
from sites.edge.control.kernels.upstream import ONSET_PU
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state

FloatArray = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]


class FleetTrip:
    """State of the loss detectors of a fleet whose sites share their rate."""

    def __init__(
        self, sites: Sequence[ControlSettings], *, threads: int | None = None, settle_s: float = 0.035
    ) -> None:
        """Build the tiles; raise ValueError when there is no site, or what the sites of a fleet share differs.

        Decisions within ``settle_s`` of the beginning are not given: until then a detector does not know the grid.
        """
        if not sites or len({site.rate_hz for site in sites}) != 1:
            raise ValueError("sites are none or of different rates, accepted: one or more of one rate")
        self.sites = len(sites)
        self._threads = threads or os.cpu_count() or 1
        self._settled = round(settle_s * sites[0].rate_hz)
        self._start = 0
        self._kinds: list[ControlSettings] = list(dict.fromkeys(sites))
        places = {site: place for place, site in enumerate(self._kinds)}
        count = -(-len(sites) // WIDTH)
        # Places without a site are like the last one's: they stay finite and are never read.
        kinds = [places[site] for site in sites] + [places[sites[-1]]] * (count * WIDTH - len(sites))
        self._of_kind = np.array(kinds, np.int64)
        self._parameters = np.concatenate([control_parameters(site) for site in self._kinds])
        starts = np.concatenate([initial_state(self._parameters[n : n + 1]) for n in range(len(self._kinds))])
        self._states = starts[self._of_kind].view(FLEET_STATE)
        self._decided = np.full((count * WIDTH, 3), -1, np.int64)
        self._samples = np.zeros((self._threads, 1), records.SAMPLES)
        self._history = np.zeros((count, HISTORY, CHANNELS * WIDTH), np.float32)
        numbers = np.zeros((count * WIDTH, NUMBERS + len(EXTRAS)))
        numbers[:, :NUMBERS] = self._states["numbers"]
        k = self._parameters[self._of_kind]
        ticks = numbers[:, CYCLE // WIDTH]
        numbers[:, NUMBERS + EXTRAS.index("three")] = k["phases"] == 3
        numbers[:, NUMBERS + EXTRAS.index("whole")] = np.floor(ticks)
        numbers[:, NUMBERS + EXTRAS.index("part")] = ticks - np.floor(ticks)
        numbers[:, NUMBERS + EXTRAS.index("onset")] = np.where(k["up_fitted"] != 0, ONSET_PU, np.inf)
        for name in ("nominal_rad_s", "sag_share", "dead_area", "current_known", "news_share"):
            numbers[:, NUMBERS + EXTRAS.index(name)] = k[name]
        shaped = numbers.reshape(count, WIDTH, -1).transpose(0, 2, 1)
        self.tiles: FloatArray = np.ascontiguousarray(shaped.reshape(count, -1))

    def arranged(self, volts: npt.ArrayLike, amps: npt.ArrayLike | None = None) -> Samples:
        """Return voltages and currents [samples, 3, sites] in the order of the tiles.

        One phase has zeros for the other two. Before the samples stands room for the cycle before them.
        """
        values = np.asarray(volts, dtype=np.float32)
        padded = np.zeros((len(values), CHANNELS, len(self.tiles) * WIDTH), np.float32)
        padded[:, :3, : self.sites] = values
        if amps is not None:
            padded[:, 3:, : self.sites] = np.asarray(amps, dtype=np.float32)
        shaped = padded.reshape(len(values), CHANNELS, len(self.tiles), WIDTH).transpose(2, 0, 1, 3)
        found = np.zeros((len(self.tiles), HISTORY + len(values), CHANNELS * WIDTH), np.float32)
        found[:, HISTORY:] = shaped.reshape(len(self.tiles), len(values), -1)
        return found

    def watch(self, arranged: Samples) -> None:
        """Take samples, ``arranged`` as the method of that name returns them; every core takes its share of tiles.

        What is no sample (no number, beyond any sensor) is written over with what stands for it.
        """
        arranged[:, :HISTORY] = self._history
        edges = np.linspace(0, len(self.tiles), self._threads + 1).round().astype(int)
        spans = [(int(a), int(b)) for a, b in itertools.pairwise(edges) if a < b]
        if len(spans) == 1:
            self._watch_span(arranged, 0, spans[0])
        else:
            with ThreadPoolExecutor(len(spans)) as pool:
                for done in [pool.submit(self._watch_span, arranged, *job) for job in enumerate(spans)]:
                    done.result()
        self._history[:] = arranged[:, -HISTORY:]
        self._start += arranged.shape[1] - HISTORY

    def _watch_span(self, arranged: Samples, thread: int, span: tuple[int, int]) -> None:
        watch_tiles(
            self.tiles, arranged, self._of_kind, self._parameters, self._states, self._samples[thread],
            self._decided, np.array(span), self._start, self._settled,
        )  # fmt: skip

    def decided(self) -> list[tuple[int, int, int] | None]:
        """Return for each site its first decision to leave, as (sample, cause, path) of records.py, or None."""
        return [(int(row[0]), int(row[1]), int(row[2])) if row[0] >= 0 else None for row in self._decided[: self.sites]]

    def decisions(self) -> dict[int, Decision]:
        """Return the first decision to leave of each site that made one, by the site's place."""
        return {
            place: Decision(first[0], "open_switch", CAUSE_NAMES[first[1]], PATH_NAMES[first[2]])
            for place, first in enumerate(self.decided())
            if first is not None
        }

    def numbers(self, place: int) -> FloatArray:
        """Return the numbers of a site's state that change with every sample, in the order of its record."""
        tile, lane = divmod(place, WIDTH)
        found: FloatArray = self.tiles[tile].reshape(-1, WIDTH)[:NUMBERS, lane].copy()
        return found
