"""Many sites' voltages through the vectorized trip path, on all cores: which of them ever lack their wave."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.edge.control.kernels.fleet_trip import FIELDS, WIDTH, watch_tiles
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state

FloatArray = npt.NDArray[np.float64]

LACK_MEMORY_S: Final = 0.5e-3
LACK_SHARE: Final = 0.4


class FleetTrip:
    """State of the voltage paths of a fleet whose sites share their rate and thresholds."""

    def __init__(self, sites: Sequence[ControlSettings], *, threads: int | None = None) -> None:
        """Build the tiles; raise ValueError when there is no site or the rates differ."""
        if not sites or len({site.rate_hz for site in sites}) != 1:
            raise ValueError("sites are none or of different rates, accepted: one or more of one rate")
        self.sites = len(sites)
        self._threads = threads or os.cpu_count() or 1
        count = -(-len(sites) // WIDTH)
        fields = np.zeros((count * WIDTH, len(FIELDS)))
        kinds: dict[tuple[int, float], FloatArray] = {}
        for place, site in enumerate(sites):
            key = (site.phases, site.nominal_hz)
            if key not in kinds:
                kinds[key] = _start_of(site)
            fields[place] = kinds[key]
        # Places without a site copy the first one's: they stay finite and are never read.
        fields[len(sites) :] = fields[0]
        self.tiles: FloatArray = np.ascontiguousarray(
            fields.reshape(count, WIDTH, len(FIELDS)).transpose(0, 2, 1).reshape(count, -1)
        )
        k = control_parameters(sites[0])[0]
        memory = 1.0 - math.exp(-float(k["dt_s"]) / LACK_MEMORY_S)
        self._numbers = (float(k["dt_s"]), float(k["pll_kp"]), float(k["pll_ki"]), memory, LACK_SHARE)

    def arranged(self, volts: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return voltages [samples, 3, sites] in the order of the tiles [tiles, samples, 3 * WIDTH]."""
        values = np.asarray(volts, dtype=np.float32)
        padded = np.zeros((*values.shape[:2], len(self.tiles) * WIDTH), np.float32)
        padded[:, :, : self.sites] = values
        shaped = padded.reshape(len(values), 3, len(self.tiles), WIDTH)
        return np.ascontiguousarray(shaped.transpose(2, 0, 1, 3).reshape(len(self.tiles), len(values), -1))

    def watch(self, arranged: npt.NDArray[np.float32]) -> None:
        """Take samples, ``arranged`` as the method of that name returns them; every core takes its share of tiles."""
        edges = np.linspace(0, len(self.tiles), self._threads + 1).round().astype(int)
        parts = [(int(a), int(b)) for a, b in itertools.pairwise(edges) if a < b]
        if len(parts) == 1:
            watch_tiles(self.tiles, arranged, *parts[0], *self._numbers)
            return
        with ThreadPoolExecutor(len(parts)) as pool:
            for done in [pool.submit(watch_tiles, self.tiles, arranged, *part, *self._numbers) for part in parts]:
                done.result()

    def field(self, name: str) -> FloatArray:
        """Return one of ``FIELDS`` for every site [sites]."""
        return self.tiles.reshape(len(self.tiles), len(FIELDS), WIDTH)[:, FIELDS.index(name)].reshape(-1)[: self.sites]


def _start_of(site: ControlSettings) -> FloatArray:
    c = initial_state(control_parameters(site))[0]
    found = {
        **{f"lack_{name}": c["lack"][place] for place, name in enumerate("abc")},
        **{f"weight_{name}": c["weight"][place] for place, name in enumerate("abc")},
        "nominal_rad_s": 2.0 * np.pi * site.nominal_hz,
        "three_phases": float(site.phases == 3),
        "lost_ticks": 0.0,
        "lost_longest": 0.0,
    }
    return np.array([found[name] if name in found else float(c[name]) for name in FIELDS])
