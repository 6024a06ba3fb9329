"""The kernels' source runs without the compiler and gives the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sites.edge.control.kernels.compiled import sources_hash

RUN = """
import hashlib, numpy as np
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop
fleet = synthetic_fleet(9, 1)
loop = ClosedLoop([*fleet[:3], fleet[8]], seed=1)
loop.open_feeder(0, 150)
loop.open_feeder(3, 150)
loop.advance(np.full(400, 49.9))
state = loop._c.tobytes() + loop._m.tobytes() + loop.dc._d.tobytes() + loop.registers().tobytes()
print(loop.measured()["mode"].tolist(), hashlib.sha256(state).hexdigest())
"""


def outcome(**environment: str) -> str:
    """What the loop ends in, run in a process of its own."""
    root = str(Path(__file__).parents[5])
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={**os.environ, **environment, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    return done.stdout


def test_interpreted_and_compiled_kernels_agree_to_the_bit() -> None:
    compiled = outcome()
    assert compiled.startswith("[2, 0, 0, 2]")
    assert outcome(NUMBA_DISABLE_JIT="1") == compiled


def test_the_cache_is_keyed_by_the_sources() -> None:
    key = sources_hash()
    assert len(key) == 16
    assert key == sources_hash()
