"""Protection inputs of a site as its I/O card shows them: one file a contact, as Linux offers GPIO lines.

``/sys/class/gpio/gpio17/value`` and the process images of fieldbus couplers are such files: one character, ``0`` or
``1``. A contact that must win over everything is wired normally closed, so that a broken wire trips it; a file that
cannot be read is a broken wire.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FAIL_SAFE: Final = {"emergency_stop": 1, "fire": 1, "bms_trip": 1, "local_reset": 0, "neutral_earth_closed": 0}
"""What a contact counts as while its line cannot be read: tripped; the key not turned; the bond not closed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InputLine:
    """Where one contact is read and how it is wired."""

    path: Path
    is_normally_closed: bool
    """The line shows 1 while nothing is wrong; it is turned around."""


class InputCard:
    """Reads a site's contacts; only what changed is handed on."""

    def __init__(self, lines: Mapping[str, InputLine]) -> None:
        """``lines``: contact of INPUT_NAMES -> its line."""
        self._lines = dict(lines)
        self._last: dict[str, int] = {}
        self._broken: set[str] = set()

    def changes(self) -> list[tuple[str, int]]:
        """Return the contacts that changed since the last call, 1 = tripped, turned or closed; all at first."""
        found = []
        for name, line in self._lines.items():
            value = self._read(name, line)
            if self._last.get(name) != value:
                self._last[name] = value
                found.append((name, value))
                log.info("input.changed input=%s value=%d", name, value)
        return found

    def _read(self, name: str, line: InputLine) -> int:
        try:
            # Opened anew each time: a card that was unplugged leaves a dead descriptor behind.
            descriptor = os.open(line.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                text = os.read(descriptor, 8).strip()
            finally:
                os.close(descriptor)
            raw = {b"0": 0, b"1": 1}[text]
        except (OSError, KeyError) as error:
            if name not in self._broken:
                self._broken.add(name)
                log.error("input.unreadable input=%s path=%s reason=%r", name, line.path, error)
            return FAIL_SAFE[name]
        if name in self._broken:
            self._broken.remove(name)
            log.warning("input.readable_again input=%s", name)
        return 1 - raw if line.is_normally_closed else raw
