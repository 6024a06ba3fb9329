"""The loss detector over a record of samples: decisions as rows, the switch never opens.

After an opening the record goes on as seen from behind the open switch: the detector waits for a grid fit to return to.
"""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.detector import reset_detector, watch_millisecond, watch_samples
from sites.edge.control.kernels.dips import SHALLOW_PU
from sites.edge.control.kernels.frequency import estimate_frequency
from sites.edge.control.kernels.records import CAUSE_NONE, PATH_NONE, PATH_WINDOW
from sites.edge.control.kernels.samples import BLIND_MS, mend_sample
from sites.edge.control.kernels.sequence import track_sequence
from sites.edge.control.kernels.synchronism import watch_enter_service
from sites.edge.control.kernels.windows import gather_squares, reset_windows, watch_windows

OPEN_SWITCH: Final = 1
RELOCK: Final = 2
RIDE_THROUGH: Final = 3
RETURN_POSSIBLE: Final = 4
DETECTOR_BLIND: Final = 5
MAX_DECISIONS: Final = 1000
QUIET_MS: Final = 40
"""A disturbance is over when nothing was seen for this long."""
DISTURBED_PU: Final = 0.15
RETURN_MS: Final = 200
INVERSE_SQRT3: Final = 0.5773502691896258


@kernel
def watch_record(k: Record, c: Record, m: Record, v: Any, i: Any, first: int, rows: Any) -> int:
    """Run over ``v`` and ``i`` [phases, n] in per unit; write (sample, action, cause, path) rows, return how many.

    ``first`` is the sample from which on decisions count: before it the detector settles.
    """
    count = 0
    opened = 0
    quiet_ms = QUIET_MS
    blind = 0
    settled = first
    phases = k["phases"]
    for n in range(v.shape[1]):
        m["va"] = v[0, n]
        m["ia"] = i[0, n]
        u_alpha = m["va"]
        u_beta = 0.0
        if phases == 3:
            m["vb"] = v[1, n]
            m["vc"] = v[2, n]
            m["ib"] = i[1, n]
            m["ic"] = i[2, n]
        blind = mend_sample(k, c, m)
        if phases == 3:
            u_alpha = (2.0 * m["va"] - m["vb"] - m["vc"]) * (1.0 / 3.0)
            u_beta = (m["vb"] - m["vc"]) * INVERSE_SQRT3
        else:
            u_alpha = m["va"]
        cause = CAUSE_NONE
        path = PATH_NONE
        action = 0
        if not opened:
            cause = watch_samples(k, c, m, u_alpha, u_beta)
            path = c["path"]
        track_sequence(k, c, u_alpha, u_beta)
        m["ua"] = m["va"]
        m["ub"] = m["vb"]
        m["uc"] = m["vc"]
        gather_squares(k, c, m)
        if n % k["ticks_per_ms"] == k["ticks_per_ms"] - 1:
            c["frequency_hz"] = estimate_frequency(k, c)
            ms = n // k["ticks_per_ms"]
            if not opened:
                jumps = c["relocks"]
                slow = watch_millisecond(k, c, ms)
                if slow != CAUSE_NONE and cause == CAUSE_NONE:
                    cause = slow
                    path = c["path"]
                if cause == CAUSE_NONE:
                    cause = watch_windows(k, c, c["frequency_hz"])
                    path = PATH_WINDOW if cause != CAUSE_NONE else PATH_NONE
                if c["relocks"] > jumps:
                    action = RELOCK
                disturbed = (c["smallest_pu"] < SHALLOW_PU) or c["news_size"] > DISTURBED_PU * DISTURBED_PU
                if disturbed and n >= settled:
                    quiet_ms = 0
                elif quiet_ms < QUIET_MS:
                    quiet_ms += 1
                    if quiet_ms == QUIET_MS and action == 0:
                        action = RIDE_THROUGH
            else:
                watch_enter_service(k, c)
                if c["fit_ticks"] >= RETURN_MS * k["ticks_per_ms"]:
                    action = RETURN_POSSIBLE
        if cause != CAUSE_NONE:
            action = OPEN_SWITCH
        if blind == BLIND_MS * k["ticks_per_ms"]:
            action = DETECTOR_BLIND
        if action == 0 or n < settled:
            continue
        if count < rows.shape[0]:
            rows[count, 0] = n
            rows[count, 1] = action
            rows[count, 2] = cause
            rows[count, 3] = path
            count += 1
        c["path"] = PATH_NONE
        if action == OPEN_SWITCH:
            opened = 1
            c["fit_ticks"] = 0
            quiet_ms = QUIET_MS
        elif action == RETURN_POSSIBLE:
            opened = 0
            reset_detector(c)
            reset_windows(k, c, c["frequency_hz"])
            settled = n + first
    return count
