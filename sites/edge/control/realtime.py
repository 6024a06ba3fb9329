"""Real-time privileges of the control process: each is asked for, and the log says what was refused."""

from __future__ import annotations

import ctypes
import fcntl
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FIFO_PRIORITY: Final = 50
MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
PR_SET_TIMERSLACK: Final = 29

log = logging.getLogger(__name__)


class AlreadyRunning(Exception):
    """A second controller for the same site: two would fight over one switch."""

    name = "already_running"


@contextmanager
def single_instance(lock_path: Path) -> Iterator[None]:
    """Hold a lock for as long as the process lives; the kernel frees it even after SIGKILL.

    Raises AlreadyRunning naming the holder's process id.
    """
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunning(f"{lock_path} is held by process {holder}, accepted: one per site") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def ask_for_real_time() -> dict[str, str]:
    """Ask for SCHED_FIFO, locked memory, short timer slack and a quiet collector; return what was given.

    Called on the loop's own thread, after everything was allocated: priority and slack are the calling thread's,
    memory and collector the process's. Signals are left to the other threads. Each value is ``granted`` or the
    reason why not. The loop runs without them, with more late ticks.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    given = {
        "sched_fifo": _scheduled_fifo(),
        "mlockall": _call(libc.mlockall, MCL_CURRENT | MCL_FUTURE),
        # The default slack of 50 us would let the kernel wake a 1 kHz loop that much later.
        "timer_slack": _call(libc.prctl, PR_SET_TIMERSLACK, 1, 0, 0, 0),
    }
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    gc.collect()
    gc.freeze()
    gc.disable()
    given["collector"] = "granted"
    for what, answer in given.items():
        if answer != "granted":
            log.warning("control.not_real_time privilege=%s reason=%s", what, answer)
    return given


def _scheduled_fifo() -> str:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except OSError as error:
        return error.strerror or str(error)
    return "granted"


def _call(function: Callable[..., int], *arguments: int) -> str:
    if function(*(ctypes.c_ulong(argument) for argument in arguments)) == 0:
        return "granted"
    return os.strerror(ctypes.get_errno())
