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
    fleet = synthetic_fleet(20, 1)
    # One of each kind of step: AC sites and DC sites have their own.
    sites = [fleet[0], next(site for site in fleet if site.is_dc)]
    ClosedLoop(sites, seed=1).advance(np.full(100, sites[0].nominal_hz))


if __name__ == "__main__":
    warm_kernels()
