"""vpp-edge control: the millisecond process of one site."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sites.edge.control.exchange import Exchange
from sites.edge.control.loop import ControlLoop, LoopSettings
from sites.edge.control.realtime import ask_for_real_time, single_instance
from sites.edge.drivers.base import Driver

TICK_S: Final = 0.001

log = logging.getLogger(__name__)


def run_control(*, make_driver: Callable[[], Driver], exchange: Exchange, lock_path: Path, interval_s: int) -> int:
    """Run one site's controller until SIGTERM or SIGINT; return the process's exit status.

    Raises AlreadyRunning before the driver is touched when another process controls the site.
    """
    with single_instance(lock_path):
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        driver = make_driver()
        # Read back from the switch itself: what was true before the restart need not be true now.
        closed = bool(driver.switch_closed()[0])
        privileges = ask_for_real_time()
        log.info(
            "control.started switch_closed=%s %s",
            closed,
            " ".join(f"{what}={how!r}" for what, how in privileges.items()),
        )
        loop = ControlLoop(driver, exchange, LoopSettings(TICK_S, interval_s))
        loop.run(stop)
        log.info(
            "control.stopped samples=%d ticks_late=%d tick_worst_ms=%.2f",
            driver.sample, loop.samples_late, loop.tick_worst_s * 1e3,
        )  # fmt: skip
        return 0
