"""What a site knows of its own clock: whether a source disciplines it, and whether it was moved.

Sites meter by a clock that does not step (``control.loop``), so a moved wall clock changes no energy. It
changes what the instants are worth, and that is told with each interval.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sites.core.readings import TimeQuality

STEP_S: Final = 0.5
"""The wall clock moved against the monotonic one by more than this: a step, where a source only slews."""
APART_S: Final = 5.0
"""The controller's clock and the wall clock of the same machine are further apart: it started before a step."""
_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5
_TIMEX_BYTES: Final = 512
"""More than any platform's ``struct timex`` has."""
_STATUS_WORDS: Final = {8: 10, 4: 5}
"""Size of a long -> place of ``status`` in the struct, in ints."""


def is_synchronized() -> bool | None:
    """Tell whether the kernel's clock is disciplined, by ``ntp_adjtime`` without changing it; None: not known."""
    try:
        libc = ctypes.CDLL(None)
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
        state = libc.ntp_adjtime(buffer)
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    words = (ctypes.c_int * (_TIMEX_BYTES // 4)).from_buffer(buffer)
    return state != _TIME_ERROR and not words[_STATUS_WORDS[ctypes.sizeof(ctypes.c_long)]] & _STA_UNSYNC


@dataclass(slots=True)
class ClockWatch:
    """Follows one process's wall clock."""

    wall_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic
    synchronized: Callable[[], bool | None] = is_synchronized
    steps: int = 0
    """Steps seen so far."""
    _offset_s: float | None = None
    _stepped_epoch_us: int | None = field(default=None)
    """Start of the controller that ran when the clock last stepped: its instants stay off until it ends."""

    def look(self, *, epoch_us: int) -> float:
        """Compare the clocks; return how far the wall clock stepped since the last look [s], 0 for none.

        ``epoch_us`` is when the controller that runs now started.
        """
        offset_s = self.wall_s() - self.monotonic_s()
        before_s, self._offset_s = self._offset_s, offset_s
        if before_s is None or abs(offset_s - before_s) <= STEP_S:
            return 0.0
        self.steps += 1
        self._stepped_epoch_us = epoch_us
        return offset_s - before_s

    def quality(self, *, epoch_us: int, controller_us: int) -> TimeQuality:
        """Return what the instants are worth that a controller gives, whose clock shows ``controller_us`` now."""
        apart_s = self.wall_s() - controller_us / 1e6
        if epoch_us == self._stepped_epoch_us or abs(apart_s) > APART_S:
            return TimeQuality.STEPPED
        synchronized = self.synchronized()
        if synchronized is None:
            return TimeQuality.UNKNOWN
        return TimeQuality.SYNCHRONIZED if synchronized else TimeQuality.UNSYNCHRONIZED
