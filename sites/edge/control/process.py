"""vpp-edge control: the millisecond process of one site."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sites.edge.control.exchange import MODE_NAMES, Boundary, Exchange, Image
from sites.edge.control.loop import ControlLoop, Inputs, LoopSettings
from sites.edge.control.realtime import single_instance
from sites.edge.control.watchdog import LoopStuck
from sites.edge.drivers.base import PacedDriver

TICK_S: Final = 0.001
STUCK_STATUS: Final = 4

log = logging.getLogger(__name__)


def run_control(
    *,
    make_driver: Callable[[], PacedDriver],
    exchange: Exchange,
    lock_path: Path,
    interval_s: int,
    before: Image | None = None,
    metered: Boundary | None = None,
    inputs: Inputs | None = None,
) -> int:
    """Run one site's controller until SIGTERM or SIGINT; return the process's exit status.

    ``before``: the last image of the process that ran before this one; a lockout or maintenance that it shows goes on.
    ``metered``: the last registers that it put by; what they count since its last boundary becomes an interval.

    A loop whose samples stop advancing ends the process with status 4, for systemd to start it again: the
    switch's state is read anew then. Raises AlreadyRunning before the driver is touched when another process
    controls the site.
    """
    with single_instance(lock_path):
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        if metered is not None:
            exchange.publish_boundary(metered)
        driver = make_driver()
        # Read back from the switch itself: what was true before the restart need not be true now.
        closed = bool(driver.switch_closed()[0])
        loop = ControlLoop(driver, exchange, LoopSettings(TICK_S, interval_s), inputs=inputs)
        log.info("control.started switch_closed=%s", closed)
        if before is not None:
            driver.resume(0, before.measured[0])
            log.info("control.resumed after=%s", MODE_NAMES[int(before.measured["mode"][0])])
        try:
            loop.run_paced(driver, stop)
        except LoopStuck as error:
            # The thread cannot be ended from here; the process can, and the supervisor starts it anew.
            log.critical("control.stuck %s", error)
            return STUCK_STATUS
        log.info(
            "control.stopped samples=%d ticks_late=%d tick_worst_ms=%.2f",
            driver.sample, loop.samples_late, loop.tick_worst_s * 1e3,
        )  # fmt: skip
        return 0
