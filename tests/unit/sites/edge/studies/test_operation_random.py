"""Whatever happens in whatever order: what must never be, and that the site comes back once all is well again."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.operation import CABINET, RATE_HZ, TELECOM, a_site

from sites.edge.control.islanding import MODE_NAMES
from sites.edge.control.kernels.modes import LATCH_EMERGENCY, LATCH_FIRE
from sites.edge.control.recorder import unroll
from sites.edge.studies.closed_loop import ClosedLoop

ALL: Final = (0, 1, 2)
CYCLE: Final = RATE_HZ // 50
PIECE: Final = 50
"""Samples between two looks: 5 ms."""
NOISE_PU: Final = 0.05
WINDOW: Final = (20.0, 0.10)
"""IEEE 1547 up to 500 kVA: angle [deg], voltage [pu]."""

happenings = st.one_of(
    st.tuples(st.just("open_feeder"), st.just(0.0)),
    st.tuples(st.just("close_feeder"), st.just(0.0)),
    st.tuples(st.just("jump_phase"), st.floats(-3.14, 3.14)),
    st.tuples(st.just("sag"), st.floats(0.0, 1.2)),
    st.tuples(st.just("bus_fault"), st.floats(0.01, 0.5)),
    st.tuples(st.just("stick_pole"), st.sampled_from([0.0, 1.0])),
    st.tuples(st.just("open_pole"), st.just(0.0)),
    st.tuples(st.sampled_from(["emergency_stop", "fire", "bms_trip", "local_reset"]), st.sampled_from([0.0, 1.0])),
    st.tuples(st.just("neutral_earth_closed"), st.sampled_from([-1.0, 0.0, 1.0])),
    st.tuples(
        st.sampled_from(["island", "reconnect", "start", "start_from_afar", "maintenance", "service"]), st.just(0.0)
    ),
    st.tuples(st.just("charge"), st.floats(0.03, 0.95)),
)
stories = st.lists(
    st.tuples(happenings, st.floats(0.005, 1.2), st.sampled_from([49.6, 50.0, 50.3])), min_size=2, max_size=14
)


def happen(loop: ClosedLoop, what: str, figure: float) -> bool:
    """Let one thing happen now; tell whether it moves the voltages on either side of the switch."""
    now = loop.sample
    requests = {
        "island": lambda: loop.request_island(0),
        "reconnect": lambda: loop.request_reconnect(0),
        "start": lambda: loop.request_start(0),
        "start_from_afar": lambda: loop.request_start(0, local=False),
        "maintenance": lambda: loop.request_maintenance(0),
        "service": lambda: loop.request_maintenance(0, False),
    }
    if what in requests:
        requests[what]()
        return False
    if what == "neutral_earth_closed":
        loop.set_input(0, what, None if figure < 0.0 else int(figure))
        return False
    if what in ("emergency_stop", "fire", "bms_trip", "local_reset"):
        loop.set_input(0, what, int(figure))
        return False
    if what == "charge":
        loop._p["soc_ratio"][0] = figure
        return False
    if what in ("open_feeder", "close_feeder"):
        getattr(loop, what)(0, now)
    elif what == "jump_phase":
        loop.jump_phase(0, figure, now)
    elif what == "sag":
        loop.sag(0, now, residual_pu=(figure,) * 3, until_sample=now + 3_000)
    elif what == "bus_fault":
        ends = now + 2_000
        loop.fault(0, now, phases=ALL, to_earth=True, resistance_pu=figure, where="bus", cleared_at_sample=ends)
    elif what == "stick_pole":
        loop.stick_pole(0, now, (int(figure),))
    else:
        loop.open_pole(0, now, ALL)
    return True


class Watch:
    """Advances a loop and holds what must always hold against it."""

    def __init__(self, loop: ClosedLoop) -> None:
        self._loop = loop
        self._open = bool(loop._m["poles_closed"][0] == 0)
        self.moved_at = 0
        """Last sample at which something outside moved the voltages."""

    def run(self, seconds: float, grid_hz: float) -> None:
        loop = self._loop
        piece = np.full(PIECE, grid_hz)
        for _ in range(max(1, round(seconds * RATE_HZ / PIECE))):
            loop.advance(piece)
            self._hold()

    def _hold(self) -> None:
        c, m, phases = self._loop._c[0], self._loop._m[0], self._loop._phases[0]
        assert MODE_NAMES[int(c["mode"])] == self._loop.mode(0)
        assert np.isfinite([c["power_pu"], c["voltage_pu"], c["omega_e"], c["omega_u"], c["level_e"]]).all()
        if c["latched"] & (LATCH_EMERGENCY | LATCH_FIRE) or m["emergency_stop"] or m["fire"]:
            assert c["converter_on"] == 0
            assert c["pv_connected"] == 0
            assert c["genset_close"] == 0
            assert c["switch_command"] == 0
            assert np.all(phases["i_genset"] == 0.0)
            assert self._loop.mode(0) == "lockout"
        if self._loop.mode(0) in ("lockout", "maintenance"):
            assert c["converter_on"] == c["pv_connected"] == c["genset_run"] == 0
        closed = bool(m["poles_closed"] > 0)
        if self._open and closed:
            self._judge_closing()
        self._open = not closed

    def _judge_closing(self) -> None:
        """Both sides of the poles when they touched, from the sampled waves."""
        loop = self._loop
        w = loop._w[0]
        rows = unroll(loop._rings[0], int(w["ring_at"]), int(w["samples"]))
        touch = len(rows) - int(np.argmax(rows[::-1, 14] > 0.5))
        since = loop.sample - (len(rows) - touch) - self.moved_at
        if since < 20 or touch == 0:
            return  # Two milliseconds: nothing that closes a switch sees that far ahead. Or the ring was just read out.
        angle_deg, level_pu = WINDOW
        if since < 2 * CYCLE or touch < CYCLE:
            count = loop.sites[0].phases
            apart = rows[touch - 1, :count] - rows[touch - 1, 3 : 3 + count]
            limit = np.hypot(2 * np.sin(np.radians(angle_deg) / 2), level_pu) + NOISE_PU
            assert np.abs(apart).max() < limit, apart
            return
        turn = np.exp(-2j * np.pi * np.arange(CYCLE) / CYCLE)
        bus, grid = 2.0 / CYCLE * (rows[touch - CYCLE : touch, [0, 3]].astype(float).T @ turn)
        assert abs(np.degrees(np.angle(bus / grid))) <= angle_deg
        assert abs(abs(bus) - abs(grid)) <= level_pu


@pytest.mark.parametrize("base", [CABINET, TELECOM], ids=["three phases", "one phase"])
@pytest.mark.parametrize("kind", ["sic", "contactor"])
@settings(max_examples=12, deadline=None)
@given(story=stories, starts_dead=st.booleans(), momentary=st.booleans())
def test_no_sequence_closes_out_of_step_feeds_a_stopped_site_or_ends_where_nothing_leads_out(
    base, kind: str, story, starts_dead: bool, momentary: bool
) -> None:
    site = a_site(
        base, switch_kind=kind, enter_service_delay_s=0.3, momentary_s=2.0 * momentary, starts_dead=starts_dead,
        genset_kw=base.pcs_kva, noise_pu=0.003,
    )  # fmt: skip
    loop = ClosedLoop([site], seed=1)
    watch = Watch(loop)
    watch.run(0.3, 50.0)
    for (what, figure), seconds, grid_hz in story:
        if happen(loop, what, figure):
            watch.moved_at = loop.sample
            if what in ("sag", "bus_fault"):
                watch.moved_at += 3_000
        watch.run(seconds, grid_hz)
    # All is well again: no input stands, the feeder is there, the poles are free, the battery is charged.
    for name in ("emergency_stop", "fire", "bms_trip", "local_reset"):
        loop.set_input(0, name, 0)
    loop.set_input(0, "neutral_earth_closed", None)
    loop.close_feeder(0, loop.sample)
    loop._phases["switch_stuck"][0] = 0
    loop._p["soc_ratio"][0] = 0.7
    watch.moved_at = loop.sample + 3_000
    watch.run(1.0, 50.0)
    loop.request_maintenance(0, False)
    watch.run(0.1, 50.0)
    loop.request_start(0)
    watch.run(0.1, 50.0)
    loop.request_reconnect(0)
    watch.run(24.0, 50.0)
    assert loop.mode(0) == "grid_tied", (loop.alarm(0), loop.mode_changes(0))
    assert loop.measured()["voltage_pu"][0] == pytest.approx(1.0, abs=0.08)
