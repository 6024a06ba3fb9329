"""The probe's arithmetic on powers and frequencies made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sites.edge.control.kernels.anti_islanding import CODE_MS, SLOT_MS, code_sign, probe_power, watch_probe
from sites.edge.control.kernels.records import CAUSE_ISLAND
from sites.edge.control.settings import DRIVE_PU, PROBE_PU, ControlSettings, control_parameters, initial_state


class Net:
    """A converter whose power follows to a share, and whose frequency runs with what it misses."""

    def __init__(self, share: float, feeder: str = "", ramp_hz_per_s: float = 0.0) -> None:
        self.k = control_parameters(ControlSettings(feeder=feeder))
        self.c = initial_state(self.k)
        self.c["mode_ticks"] = 10**6
        self._share, self._ramp = share, 2.0 * np.pi * ramp_hz_per_s
        self.held: list[float] = []

    def run(self, ms: int, wanted: float = 0.3) -> int | None:
        """Pass milliseconds; return in which one it decided."""
        k, c = self.k[0], self.c[0]
        for at in range(ms):
            if watch_probe(k, c, at) == CAUSE_ISLAND:
                return at
            held = float(probe_power(k, c, at, wanted, -1.0, 1.0))
            self.held.append(held)
            c["power_pu"] = wanted + self._share * (held - wanted)
            c["omega_u"] += (k["island_rad_s2"] * (1.0 - self._share) * (held - wanted) + self._ramp) * 0.001
        return None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.2, 1.6])
def test_two_pairs_without_doubt_or_three_and_two_of_the_drive_decide(share: float) -> None:
    decided = Net(share).run(10_000)
    pair = 2 * SLOT_MS
    if share == 0.0 or share == 0.3:
        assert decided == (2 + 2) * pair
    elif share == 0.8:
        # Motors with inertia: the power follows almost, the frequency gives it away.
        assert decided == (3 + 2) * pair
    else:
        assert decided is None


@pytest.mark.parametrize("ramp_hz_per_s", [3.0, -3.0])
def test_a_ramp_of_the_grid_is_no_answer_to_the_probe(ramp_hz_per_s: float) -> None:
    assert Net(1.0, ramp_hz_per_s=ramp_hz_per_s).run(3_000) is None


def test_the_probe_asks_for_no_power_on_the_mean_and_stays_small() -> None:
    net = Net(1.0)
    assert net.run(CODE_MS) is None
    extra = np.array(net.held) - 0.3
    assert np.abs(extra).max() <= PROBE_PU + 1e-12
    per_pair = extra.reshape(-1, 2 * SLOT_MS).mean(axis=1)
    # Where two pairs meet without a turn only the turn inside takes its ramp: 30 ms of 200.
    assert np.abs(per_pair).max() <= 0.151 * PROBE_PU
    assert abs(extra.mean()) < 0.02 * PROBE_PU


def test_the_drive_stays_inside_the_rating() -> None:
    net = Net(0.0)
    decided = net.run(5_000, wanted=1.0)
    assert decided is not None
    assert max(net.held) <= 1.0 + 1e-12
    assert min(net.held[-2 * SLOT_MS :]) < 1.0 - DRIVE_PU


def test_sites_of_one_feeder_share_their_signs_and_others_do_not() -> None:
    def signs(feeder: str) -> list[float]:
        k = control_parameters(ControlSettings(feeder=feeder))[0]
        return [float(code_sign(k, pair)) for pair in range(63)]

    assert signs("north 7") == signs("north 7")
    assert signs("north 7") != signs("north 8")
    assert all(20 <= sum(sign > 0.0 for sign in signs(name)) <= 43 for name in ("", "north 7", "north 8"))


def test_without_the_method_nothing_is_added() -> None:
    k = control_parameters(ControlSettings(anti_islanding=False))
    c = initial_state(k)
    assert all(probe_power(k[0], c[0], ms, 0.3, -1.0, 1.0) == 0.3 for ms in range(1000))
    assert all(watch_probe(k[0], c[0], ms) == 0 for ms in range(1000))
