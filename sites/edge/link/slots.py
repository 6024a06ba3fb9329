"""Guarded slots in memory that two processes share: cells and rings that give whole values only.

Layout, little-endian: ``Slot = sequence u64, length u32, crc32 u32, data``. Every value is guarded by its sequence and
a CRC over it: a reader that meets a half-written slot takes the other one (cells) or waits for it (rings), whether the
writer is slow or was killed there. A cell has two slots written in turn; a ring has many, slot = sequence mod count.
"""

from __future__ import annotations

import logging
import mmap
import struct
import zlib
from typing import Final

from sites.core import observe

SLOT_HEAD: Final = struct.Struct("<QII")

log = logging.getLogger(__name__)


class Slots:
    """A run of guarded slots inside a mapped file: a cell when there are two, a ring when more."""

    def __init__(self, memory: mmap.mmap, offset: int, count: int, capacity: int) -> None:
        self._memory = memory
        self._offset = offset
        self._count = count
        self._capacity = capacity
        self.lost_count = 0
        """Values overwritten before they were read."""
        self._sequence = 0
        self.refresh()

    @staticmethod
    def size(count: int, capacity: int) -> int:
        """Return the bytes that so many slots take."""
        return count * (SLOT_HEAD.size + capacity)

    def refresh(self) -> None:
        """Take up behind the newest whole value, where several processes write in turn under a lock of their own."""
        self._sequence = max(sequence for sequence, _ in map(self._read_slot, range(self._count)))

    def write(self, data: bytes) -> None:
        """Append one value; the slot written is never the newest one, so a reader always has a whole one."""
        if len(data) > self._capacity:
            raise ValueError(f"value has {len(data)} bytes, accepted: up to {self._capacity}")
        sequence = self._sequence + 1
        at = self._at(sequence % self._count)
        # Data first: until the head fits, its CRC does not.
        self._memory[at + SLOT_HEAD.size : at + SLOT_HEAD.size + len(data)] = data
        self._memory[at : at + SLOT_HEAD.size] = SLOT_HEAD.pack(sequence, len(data), _crc(sequence, data))
        self._sequence = sequence

    def newest(self) -> tuple[int, bytes] | None:
        """Return (sequence, value) of the newest whole value, or None before the first."""
        found = max((self._read_slot(slot) for slot in range(self._count)), key=lambda pair: pair[0])
        return found if found[0] else None

    def after(self, sequence: int) -> list[tuple[int, bytes]]:
        """Return whole values newer than a sequence, in order, up to the first one not yet whole."""
        values: list[tuple[int, bytes]] = []
        while True:
            wanted = sequence + 1
            found, data = self._read_slot(wanted % self._count)
            if found == wanted:
                values.append((found, data))
                sequence = found
                continue
            if found > wanted:
                # Overrun: go on with the oldest value that is still there.
                oldest = min((s for s, _ in map(self._read_slot, range(self._count)) if s > sequence), default=wanted)
                self.lost_count += max(0, oldest - wanted)
                log.warning("%s lost=%d in_all=%d", observe.BLOCK_OVERRUN, max(0, oldest - wanted), self.lost_count)
                if oldest == wanted:
                    return values
                sequence = oldest - 1
                continue
            return values

    def _at(self, slot: int) -> int:
        return self._offset + slot * (SLOT_HEAD.size + self._capacity)

    def _read_slot(self, slot: int) -> tuple[int, bytes]:
        at = self._at(slot)
        sequence, length, crc = SLOT_HEAD.unpack(self._memory[at : at + SLOT_HEAD.size])
        if not sequence or length > self._capacity:
            return 0, b""
        data = self._memory[at + SLOT_HEAD.size : at + SLOT_HEAD.size + length]
        return (sequence, data) if _crc(sequence, data) == crc else (0, b"")


def newest_sequence(slots: Slots) -> int:
    """Return the sequence of the newest whole value, 0 before the first."""
    newest = slots.newest()
    return newest[0] if newest is not None else 0


def _crc(sequence: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(sequence.to_bytes(8, "little")))
