"""The mode machine as one transition table, and the typed face of the control kernels.

Whatever a mode does not expect leads to lockout: converter blocked, switch open, alarm latched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.curves import ResponseCurve
from sites.core.requests import RequestRefusal, SiteRequest
from sites.edge.control.exchange import MODE_NAMES as MODE_NAMES
from sites.edge.control.kernels import droop, modes
from sites.edge.control.kernels.controller import control_step
from sites.edge.control.names import CAUSE_NAMES as CAUSE_NAMES
from sites.edge.control.names import EVENT_NAMES as EVENT_NAMES
from sites.edge.control.names import PATH_NAMES as PATH_NAMES
from sites.edge.control.names import alarm_text as alarm_text
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state

StructuredArray = npt.NDArray[np.void]

REQUEST_BITS: Final = {
    SiteRequest.ISLAND: modes.REQUEST_ISLAND,
    SiteRequest.RECONNECT: modes.REQUEST_RECONNECT,
    SiteRequest.BLACK_START: modes.REQUEST_START_REMOTE,
    SiteRequest.MAINTENANCE_ON: modes.REQUEST_MAINTENANCE,
    SiteRequest.MAINTENANCE_OFF: modes.REQUEST_SERVICE,
    SiteRequest.GENSET_ON: modes.REQUEST_GENSET,
    SiteRequest.GENSET_OFF: modes.REQUEST_GENSET_OFF,
    SiteRequest.ACKNOWLEDGE: modes.REQUEST_ACKNOWLEDGE,
    SiteRequest.CLEAR_LOCKOUT: modes.REQUEST_START_LOCAL,
}
ANSWERS: Final = {
    modes.GRANTED: "",
    modes.REFUSED_MODE: RequestRefusal.NOT_IN_MODE.value,
    modes.REFUSED_LATCHED: RequestRefusal.LATCHED.value,
    modes.REFUSED_FITTED: RequestRefusal.NOT_FITTED.value,
}
"""Code of the kernels -> name of the refusal, empty when the request was taken up."""
_ALONE: Final = ("islanded", "resynchronizing")
_RUNNING: Final = ("grid_tied", "islanding", "islanded", "resynchronizing", "black_start")
_INPUTS: Final = ("emergency_stop", "fire", "bms_trip")

TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    # T1 planned and T2 unplanned island of IEEE 2030.7; poles that part by themselves; a bond that stays closed.
    ("grid_tied", "grid_lost"): "islanding",
    ("grid_tied", "island_planned"): "islanding",
    ("grid_tied", "switch_opened"): "islanding",
    ("grid_tied", "bond_closed"): "islanding",
    ("islanding", "switch_opened"): "islanded",
    ("islanding", "switch_stuck"): "lockout",
    # T3 reconnection.
    ("islanded", "grid_fit"): "resynchronizing",
    ("resynchronizing", "switch_closed"): "grid_tied",
    ("resynchronizing", "grid_unfit"): "islanded",
    ("resynchronizing", "switch_stuck"): "islanded",
    ("islanded", "switch_stuck"): "lockout",
    # Protection of the island.
    **{(mode, event): "lockout" for mode in _ALONE for event in ("bus_fault", "overloaded", "bond_open", "energy_out")},
    # T4 black start.
    ("lockout", "start_requested"): "black_start",
    ("lockout", "grid_returned"): "black_start",
    ("black_start", "bus_up"): "islanded",
    **{("black_start", event): "lockout" for event in ("bus_fault", "bus_live", "switch_stuck", "bond_open")},
    # A blocked site whose load lives on the grid joins it; work at the site.
    ("lockout", "service_entered"): "grid_tied",
    ("grid_tied", "maintenance_began"): "maintenance",
    ("lockout", "maintenance_began"): "maintenance",
    ("maintenance", "maintenance_ended"): "lockout",
    # What wins over everything. At work the battery's management may trip: nothing gives power anyway.
    **{(mode, event): "lockout" for mode in _RUNNING for event in _INPUTS},
    ("maintenance", "emergency_stop"): "lockout",
    ("maintenance", "fire"): "lockout",
    ("maintenance", "bms_trip"): "maintenance",
}
"""(mode, event) -> next mode. A pair that does not stand here is unexpected and means lockout."""


def transition_table(transitions: Mapping[tuple[str, str], str] = TRANSITIONS) -> npt.NDArray[np.int64]:
    """Return a table as the kernels read it, [mode, event] -> mode or ``modes.UNEXPECTED``."""
    table = np.full((len(MODE_NAMES), modes.EVENT_COUNT), modes.UNEXPECTED, dtype=np.int64)
    table[:, modes.NOTHING] = range(len(MODE_NAMES))
    for (mode, event), following in transitions.items():
        table[MODE_NAMES.index(mode), EVENT_NAMES.index(event)] = MODE_NAMES.index(following)
    # A site that is locked out stays so whatever else happens.
    table[modes.LOCKOUT][table[modes.LOCKOUT] == modes.UNEXPECTED] = modes.LOCKOUT
    return table


SHARE_RAMP_MS: Final = 2_000.0
"""A share that changes inside its window does so over this time."""


def arm_curve(
    c: StructuredArray, curve: ResponseCurve, *, power_pu: float, baseline_pu: float, starts: int, ends: int
) -> None:
    """Write an assignment's curve, power and window (samples) into one controller's state.

    The same curve armed again inside its window moves to its new share over ``SHARE_RAMP_MS``: a fleet whose
    shares move keeps its sum while some sites have theirs and others not yet.

    The same trigger armed again, with another power or window, goes on where it is: a support that runs is
    not cut short by a re-arming.
    """
    state = c[0]
    latches = curve.trigger is not None
    same = state["armed"] and state["armed_latches"] and latches and state["armed_sign"] == curve.sign
    goes_on = bool(same and state["curve_hz"][0] == curve.points[0][0])
    goes_over = bool(state["armed"] and state["armed_sign"] == curve.sign and state["armed_starts"] == starts)
    state["armed"] = 0
    state["points"] = len(curve.points)
    for j, (deviation_hz, share) in enumerate(curve.points):
        state["curve_hz"][j] = deviation_hz
        state["curve_share"][j] = share
    state["armed_sign"] = float(curve.sign)
    if not goes_over:
        state["armed_pu"] = power_pu
    state["armed_goal_pu"] = power_pu
    state["armed_step_pu"] = abs(power_pu - state["armed_pu"]) / SHARE_RAMP_MS
    state["baseline_pu"] = baseline_pu
    state["armed_starts"] = starts
    state["armed_ends"] = ends
    if not goes_on:
        state["trigger_stage"] = droop.READY
        state["trigger_share"] = 0.0
    state["armed_latches"] = int(latches)
    if curve.trigger is not None:
        ramp_ms = curve.trigger.ramp_s * 1000.0
        state["trigger_ramp_per_ms"] = 1.0 / max(ramp_ms, 1.0)
        state["trigger_sustain_ms"] = round(curve.trigger.sustain_s * 1000.0)
        state["trigger_release_per_ms"] = curve.trigger.release_per_s / 1000.0
        state["trigger_rest_ms"] = round(curve.trigger.rest_s * 1000.0)
    state["recovery_share"] = 0.0
    if curve.recovery is not None:
        state["recovery_share"] = curve.recovery.share
        state["recovery_after_ms"] = round(curve.recovery.after_s * 1000.0)
        state["recovery_ramp_per_ms"] = curve.recovery.ramp_per_min / 60_000.0
    state["armed"] = 1


def follow_setpoint(c: StructuredArray, *, power_pu: float, ramp_per_s: float, until: int) -> None:
    """Let one controller follow a stream's power [pu, into the bus] up to a sample, changing by ``ramp_per_s`` [pu/s].

    Beside a curve: both add up under the site's limits. After that sample it ramps to nothing.
    """
    state = c[0]
    # The compiled loop may run between these writes: without a valid sample nothing is followed.
    state["stream_until"] = 0
    state["stream_goal_pu"] = power_pu
    state["stream_ramp_per_ms"] = ramp_per_s / 1000.0
    state["stream_until"] = until


class Controller:
    """One site's controller alone: samples in, outputs out. What the compiled closed loop runs, by hand."""

    def __init__(self, settings: ControlSettings, *, starts_dead: bool = False) -> None:
        self.parameters = control_parameters(settings)
        self.state = initial_state(self.parameters, starts_dead=starts_dead)
        self._table = transition_table()
        self._sample = 0

    @property
    def mode(self) -> str:
        """Name of the present mode."""
        return MODE_NAMES[int(self.state["mode"][0])]

    @property
    def frequency_hz(self) -> float:
        """The PLL's estimate of the utility side's frequency [Hz]."""
        return float(self.state["omega_u"][0]) / (2.0 * math.pi)

    def step(self, samples: StructuredArray) -> None:
        """Take samples in order, an array of ``records.SAMPLES`` of any length."""
        for m in samples:
            control_step(self.parameters[0], self.state[0], m, self._table, self._sample)
            self._sample += 1
