"""A stuck loop is noticed: by its own process within a second, and that process by systemd."""

from __future__ import annotations

import os
import socket
from typing import Final

STUCK_AFTER_S: Final = 1.0
STUCK_ROUNDS: Final = 50
"""Looks without progress before a loop is stuck: a virtual machine that stood still altogether saw no looks."""


class LoopStuck(Exception):
    """The samples of a loop no longer advance."""

    name = "loop_stuck"


class ProgressWatch:
    """Looks at a count that must rise."""

    def __init__(self) -> None:
        self._count = -1
        self._since_s = 0.0
        self._rounds = 0

    def check(self, count: int, now_s: float) -> None:
        """Look once; raise LoopStuck when nothing has moved for a second and for fifty looks."""
        if count != self._count or not self._rounds:
            self._count, self._since_s, self._rounds = count, now_s, 1
            return
        self._rounds += 1
        waited_s = now_s - self._since_s
        if waited_s > STUCK_AFTER_S and self._rounds > STUCK_ROUNDS:
            raise LoopStuck(f"{count} ticks for {waited_s:.1f} s, accepted: more at each look")


def notify_supervisor(message: str) -> bool:
    """Tell systemd (sd_notify's datagram) and return whether someone listens; silence without a supervisor."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    # An abstract socket is written with @ and addressed with a zero byte.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return False
    return True
