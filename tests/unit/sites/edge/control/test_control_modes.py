"""The mode machine's table, and what an unexpected event does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sites.edge.control.islanding import (
    EVENT_NAMES,
    MODE_NAMES,
    TRANSITIONS,
    Controller,
    alarm_text,
    transition_table,
)
from sites.edge.control.kernels import modes
from sites.edge.control.kernels.modes import change_mode
from sites.edge.control.settings import ControlSettings


@pytest.mark.parametrize(("mode", "event"), list(itertools.product(MODE_NAMES, EVENT_NAMES)))
def test_every_pair_of_mode_and_event_leads_where_the_table_says_or_to_lockout(mode: str, event: str) -> None:
    controller = Controller(ControlSettings())
    state = controller.state[0]
    state["mode"] = MODE_NAMES.index(mode)
    change_mode(controller.parameters[0], state, transition_table(), EVENT_NAMES.index(event))
    expected = mode if event == "nothing" else TRANSITIONS.get((mode, event), "lockout")
    assert controller.mode == expected
    back_from_work = (mode, event) == ("maintenance", "maintenance_ended")
    if expected == "lockout" and mode != "lockout":
        assert alarm_text(state["alarm"]) == ("" if back_from_work else f"{mode}: {event}")
        sources = ("converter_on", "pv_connected", "genset_run", "genset_close")
        assert [int(state[name]) for name in sources] == [0, 0, 0, 0]
        # The load stays on a grid that is there when only the battery is at fault, and when work ends.
        kept = back_from_work or (mode, event) == ("grid_tied", "bms_trip")
        assert state["switch_command"] == int(kept)


def test_a_lockout_keeps_its_first_alarm_until_a_start_is_requested() -> None:
    controller = Controller(ControlSettings())
    state, table = controller.state[0], transition_table()
    change_mode(controller.parameters[0], state, table, modes.BUS_UP)
    change_mode(controller.parameters[0], state, table, modes.GRID_LOST)
    assert (controller.mode, alarm_text(state["alarm"])) == ("lockout", "grid_tied: bus_up")
    change_mode(controller.parameters[0], state, table, modes.START_REQUESTED)
    assert (controller.mode, alarm_text(state["alarm"])) == ("black_start", "")


def test_every_mode_but_the_starting_ones_is_reached_by_the_table() -> None:
    assert set(TRANSITIONS.values()) == set(MODE_NAMES)
    assert np.all(transition_table() >= modes.UNEXPECTED)
