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


RUN_MODES = """
import dataclasses, hashlib, numpy as np
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop
fleet = [dataclasses.replace(site, switch_kind="sic", genset_kw=site.pcs_kva) for site in synthetic_fleet(3, 1)]
loop = ClosedLoop([dataclasses.replace(fleet[0], starts_dead=True), *fleet], seed=1)
loop.open_feeder(1, 150)
loop.request_island(2)
loop.set_input(3, "bms_trip", 1)
loop.advance(np.full(300, 49.9))
# A set that has just met the bus, and a site that leaves its lockout.
loop._p["genset_state"][1], loop._p["gen_w"][1], loop._p["gen_e"][1] = 3, 314.0, 1.0
loop._p["gen_cos"][1], loop._p["gen_sin"][1] = loop._p["bus_cos"][1], loop._p["bus_sin"][1]
loop._c["genset_run"][1] = loop._c["genset_close"][1] = 1
loop.set_input(3, "bms_trip", 0)
loop.request_start(3)
loop.advance(np.full(1400, 49.9))
state = loop._c.tobytes() + loop._m.tobytes() + loop._p.tobytes() + loop.registers().tobytes()
print(loop.measured()["mode"].tolist(), loop._p["genset_state"].tolist(), hashlib.sha256(state).hexdigest())
"""


def outcome(source: str = RUN, **environment: str) -> str:
    """What the loop ends in, run in a process of its own."""
    root = str(Path(__file__).parents[5])
    done = subprocess.run(
        [sys.executable, "-c", source],
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


def test_requests_inputs_black_start_and_genset_agree_to_the_bit() -> None:
    compiled = outcome(RUN_MODES)
    assert compiled.startswith("[4, 2, 0, 5] [0, 3, 0, 0]")
    assert outcome(RUN_MODES, NUMBA_DISABLE_JIT="1") == compiled


def test_the_cache_is_keyed_by_the_sources() -> None:
    key = sources_hash()
    assert len(key) == 16
    assert key == sources_hash()
