"""The loss detector on records of samples: what it decides, sample by sample, without a plant behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.edge.control.islanding import CAUSE_NAMES, PATH_NAMES
from sites.edge.control.kernels import records
from sites.edge.control.kernels.watch import MAX_DECISIONS, watch_record
from sites.edge.control.settings import ControlSettings, control_parameters, initial_state

FloatArray = npt.NDArray[np.float64]
StructuredArray = npt.NDArray[np.void]

ACTION_NAMES: Final = ("", "open_switch", "relock", "ride_through", "return_possible", "detector_blind")


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that the detector decided."""

    sample: int
    """Index of the sample with which it was decided."""
    action: str
    """``open_switch``, ``relock`` (the grid's phase has jumped and is followed), ``ride_through`` (a disturbance is
    over and the switch has stayed closed), ``return_possible`` (after an opening the grid is back),
    ``detector_blind`` (samples that are none)."""
    cause: str
    path: str


def watch(
    va: FloatArray,
    vb: FloatArray | None,
    vc: FloatArray | None,
    ia: FloatArray | None,
    ib: FloatArray | None,
    ic: FloatArray | None,
    *,
    settings: ControlSettings,
    settle_s: float = 0.035,
) -> list[Decision]:
    """Run the detector over a record of load-side voltages and, where given, currents through the switch.

    Per unit on the peak of the nominal phase voltage and on any fixed current, samples at ``settings.rate_hz``. ``vb``
    and ``vc`` are None for one phase. What is no number is bridged with the last cycle and, when it lasts, told.
    Decisions within ``settle_s`` of the beginning are not given: until then the detector does not know the grid.

    Raises ValueError when lengths differ or the phases do not fit the settings.
    """
    voltages = [array for array in (va, vb, vc) if array is not None]
    currents = [array for array in (ia, ib, ic) if array is not None]
    if len(voltages) != settings.phases:
        raise ValueError(f"{len(voltages)} voltages for {settings.phases} phases, accepted: one for each phase")
    if currents and len(currents) != settings.phases:
        raise ValueError(
            f"{len(currents)} currents for {settings.phases} phases, accepted: none, or one for each phase"
        )
    if len({len(array) for array in voltages + currents}) != 1:
        raise ValueError("voltages and currents differ in length, accepted: arrays of one length")
    v = np.ascontiguousarray(np.stack(voltages), dtype=np.float64)
    i = np.ascontiguousarray(np.stack(currents), dtype=np.float64) if currents else np.zeros_like(v)
    k = control_parameters(replace(settings, current_known=bool(currents), converter="grid_following"))
    c = initial_state(k)
    c["seen"] = 0
    lock_to(k, c, v)
    m = np.zeros(1, records.SAMPLES)
    rows = np.zeros((MAX_DECISIONS, 4), np.int64)
    count = watch_record(k[0], c[0], m[0], v, i, round(settle_s * settings.rate_hz), rows)
    return [
        Decision(int(sample), ACTION_NAMES[action], CAUSE_NAMES[int(cause)], PATH_NAMES[path])
        for sample, action, cause, path in rows[:count]
    ]


def lock_to(k: StructuredArray, c: StructuredArray, v: FloatArray) -> None:
    """Set the PLL of a fresh state to the phase with which a record begins, from a fit over its first half cycle."""
    rate_hz, omega = float(k["rate_hz"][0]), float(k["nominal_rad_s"][0])
    n = min(v.shape[1], round(np.pi / omega * rate_hz))
    head = np.nan_to_num(v[:, :n])
    angle = omega * np.arange(n) / rate_hz
    turns = np.exp(-2j * np.pi / 3 * np.arange(len(v)))[:, None]
    vector = 2.0 * np.mean(head * np.exp(-1j * angle) / turns) if n else 0.0
    if abs(vector) < 0.3:
        return
    unit = vector / abs(vector)
    level = float(np.clip(abs(vector), 0.85, 1.15))
    cosine, sine = float(unit.real), float(unit.imag)
    for name, value in {
        "cos_u": cosine, "sin_u": sine, "level_u": level, "reference": level, "x_alpha": level * cosine,
        "q_alpha": level * sine, "x_beta": level * sine, "q_beta": -level * cosine,
    }.items():  # fmt: skip
        c[name] = value
