"""Whether this process can do its work now: named checks and beats, read by its health endpoint."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Fault = Callable[[], str]
"""Asked at each request; returns why the thing is gone, or an empty text."""


class Health:
    """The checks of one process. They may be asked from another thread than the one that works."""

    def __init__(self, process: str, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """``now_s`` is a clock that never goes back [s]."""
        self.process = process
        self._now_s = now_s
        self._lock = threading.Lock()
        self._checks: dict[str, Fault] = {}

    def watch(self, name: str, fault: Fault) -> None:
        """Ask ``fault`` whenever somebody wants to know; it must answer at once and raise nothing."""
        with self._lock:
            self._checks[name] = fault

    def expect_beat(self, name: str, *, within_s: float) -> Callable[[], None]:
        """Return what the work calls in each round; without it for ``within_s`` seconds the check fails.

        So a loop that stands still is told although another thread answers for it.
        """
        beaten_s = self._now_s()

        def beat() -> None:
            nonlocal beaten_s
            beaten_s = self._now_s()

        def fault() -> str:
            age_s = self._now_s() - beaten_s
            return f"no sign of life for {age_s:.0f} s, accepted: {within_s:g} s" if age_s > within_s else ""

        self.watch(name, fault)
        return beat

    def faults(self) -> dict[str, str]:
        """Return what is gone, by name, with its reason; empty while all is well.

        A check that raises counts as a fault: health that cannot be told is not good health.
        """
        with self._lock:
            checks = list(self._checks.items())
        found: dict[str, str] = {}
        for name, check in checks:
            try:
                reason = check()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                reason = f"the check failed: {type(error).__name__}"
            if reason:
                found[name] = reason
        return found
