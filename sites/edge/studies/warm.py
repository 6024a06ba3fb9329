"""Fill the cache of compiled kernels: run once by the installation, ``python -m sites.edge.studies.warm``."""

from __future__ import annotations

import numpy as np

from sites.edge.control.kernels.compiled import drop_stale_caches
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop


def warm_kernels() -> None:
    """Compile every kernel for the types that the closed loop calls it with, or load it from the cache.

    Removes the caches of earlier states of the sources.
    """
    drop_stale_caches()
    site = synthetic_fleet(1, 1)[0]
    ClosedLoop([site], seed=1).advance(np.full(100, site.nominal_hz))


if __name__ == "__main__":
    warm_kernels()
