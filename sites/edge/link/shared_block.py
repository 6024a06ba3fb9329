"""Memory shared by the control and the uplink process: a mapped file that outlives either of them.

``multiprocessing.shared_memory`` deletes the segment when any attached process ends on Python 3.11,
so the block is a plain file under the runtime directory. Every value stands in a guarded slot (``slots.py``):
a cell has two, a ring many. Each has exactly one writer:

=============  ===================  ==========================================================
part           written by           holds
=============  ===================  ==========================================================
image          control              the last measurements, late ticks and held hashes
boundaries     control              registers at the ends of metering intervals
registers      control              the registers of a moment ago, for the control process after this one
services       control              dispatches that the site begins to serve, with the registers then
records        control              100 Hz rows in batches
request        uplink               the assignment that the controller shall hold
asks           uplink               requests from afar, for the controller to answer
local asks     ``vpp-edge request`` requests of people at the site; a lock file keeps it to one writer
answers        control              what the controller said to either
stream         uplink               the stream grant that it shall hold beside that
setpoint       uplink               the newest value of that stream
=============  ===================  ==========================================================

Waveforms are too large and too rare for the block: they go as files (``waveform_spool.py``).
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

import numpy as np

from sites.core.assignments import Assignment, assignment_from_bytes
from sites.core.bodies import MAX_BODY_BYTES, BodyError
from sites.core.requests import SiteRequest
from sites.core.streams import StreamGrant, grant_from_bytes
from sites.edge.control.exchange import (
    MEASURED_DTYPE,
    RECORD_COLUMNS,
    REGISTER_DTYPE,
    SERVICES,
    Answer,
    Ask,
    Boundary,
    CapturedWaveform,
    Counts,
    Image,
    PortUpdate,
    RecordRows,
    ServiceBegin,
    Setpoint,
)
from sites.edge.link.slots import Slots, newest_sequence
from sites.edge.link.waveform_spool import take_waveforms, waveform_path, write_waveform

MAGIC: Final = b"VPPBLOK5"
IMAGE_HEAD: Final = struct.Struct("<q7q64s64s")
COUNT_FIELDS: Final = tuple(field.name for field in fields(Counts))
ASK_HEAD: Final = struct.Struct("<qq")
ANSWER_HEAD: Final = struct.Struct("<q?")
MAX_NAME_BYTES: Final = 64
ASK_SLOTS: Final = 16
SETPOINT: Final = struct.Struct("<ddq")
BOUNDARY_HEAD: Final = struct.Struct("<qq")
SERVICE_HEAD: Final = struct.Struct("<qqddB")
RECORD_HEAD: Final = struct.Struct("<q")
MAX_RECORD_ROWS: Final = 100
BOUNDARY_SLOTS: Final = 1024
SERVICE_SLOTS: Final = 64
MAX_ID_BYTES: Final = 400
"""Of a dispatch id: 100 characters."""
RECORD_SLOTS: Final = 1024


class SharedBlockError(Exception):
    """A file that is not a shared block of this version."""

    name = "shared_block_invalid"


class SharedBlock:
    """One site's mapped file with its parts."""

    def __init__(self, path: Path) -> None:
        """Open the block, making it when it is not there; raise SharedBlockError when it is another file."""
        sizes = {
            "image": (2, IMAGE_HEAD.size + MEASURED_DTYPE.itemsize),
            "request": (2, MAX_BODY_BYTES + 1),
            "asks": (ASK_SLOTS, ASK_HEAD.size + MAX_NAME_BYTES),
            "local_asks": (ASK_SLOTS, ASK_HEAD.size + MAX_NAME_BYTES),
            "answers": (ASK_SLOTS, ANSWER_HEAD.size + MAX_NAME_BYTES),
            "stream": (2, MAX_BODY_BYTES + 1),
            "setpoint": (2, SETPOINT.size),
            "boundaries": (BOUNDARY_SLOTS, BOUNDARY_HEAD.size + REGISTER_DTYPE.itemsize),
            "registers": (2, BOUNDARY_HEAD.size + REGISTER_DTYPE.itemsize),
            "services": (SERVICE_SLOTS, SERVICE_HEAD.size + MAX_ID_BYTES),
            "records": (RECORD_SLOTS, RECORD_HEAD.size + MAX_RECORD_ROWS * len(RECORD_COLUMNS) * 4),
        }
        total = 64 + sum(Slots.size(*size) for size in sizes.values())
        if not path.exists():
            # Whole or not at all: the other process may be looking for it right now.
            fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
            with fresh.open("wb") as file:
                file.write(MAGIC)
                file.truncate(total)
            fresh.chmod(0o600)
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if size != total or file.read(len(MAGIC)) != MAGIC:
                raise SharedBlockError(
                    f"{path} has {size} bytes, accepted: a block of {total} bytes with {MAGIC!r}; one of another "
                    "version may be deleted while neither process runs"
                )
            self.memory = mmap.mmap(file.fileno(), total)
        self.path = path
        offset = 64
        parts = {}
        for name, (count, capacity) in sizes.items():
            parts[name] = Slots(self.memory, offset, count, capacity)
            offset += Slots.size(count, capacity)
        self.image = parts["image"]
        self.request = parts["request"]
        self.asks = parts["asks"]
        self.local_asks = parts["local_asks"]
        self.answers = parts["answers"]
        self.stream = parts["stream"]
        self.setpoint = parts["setpoint"]
        self.boundaries = parts["boundaries"]
        self.registers = parts["registers"]
        self.services = parts["services"]
        self.records = parts["records"]

    def close(self) -> None:
        """Unmap; the file stays for the other process."""
        self.memory.close()


class ControlSide:
    """The control process's end of the block (an Exchange for one site)."""

    def __init__(self, block: SharedBlock, spool_dir: Path) -> None:
        self._block = block
        self._spool_dir = spool_dir
        # 0, not the newest: a restarted controller arms again what the uplink last asked for.
        self._request_seen = 0
        # The newest: what somebody asked of a controller that is gone is not done by the next one.
        self._asks_seen = {is_local: newest_sequence(ring) for is_local, ring in self._ask_rings()}
        self._stream_seen = 0
        # A value from before this process started is as old as the pause; the next one comes in seconds.
        newest = block.setpoint.newest()
        self._setpoint_seen = newest[0] if newest else 0
        self.refused_count = 0
        """Requests that could not be read."""

    def take_requests(self) -> Sequence[tuple[int, Assignment | None]]:
        """See Exchange."""
        newest = self._block.request.newest()
        if newest is None or newest[0] == self._request_seen:
            return ()
        self._request_seen, data = newest
        try:
            return ((0, assignment_from_bytes(data[1:]) if data[:1] == b"A" else None),)
        except BodyError:
            self.refused_count += 1
            return ()

    def last_image(self) -> Image | None:
        """Return what the process before this one showed last; None before the first."""
        newest = self._block.image.newest()
        return None if newest is None else read_image(newest[1])

    def last_registers(self) -> Boundary | None:
        """Return the registers that the process before this one put by last; None before the first."""
        newest = self._block.registers.newest()
        return None if newest is None else _read_boundary(newest[1])

    def take_asks(self) -> Sequence[Ask]:
        """See Exchange."""
        asks = []
        for is_local, ring in self._ask_rings():
            for sequence, data in ring.after(self._asks_seen[is_local]):
                self._asks_seen[is_local] = sequence
                number, until_us = ASK_HEAD.unpack_from(data)
                try:
                    request = SiteRequest(data[ASK_HEAD.size :].decode())
                except ValueError:
                    self.refused_count += 1
                    continue
                asks.append(Ask(0, number, request, until_us, is_local))
        return asks

    def _ask_rings(self) -> tuple[tuple[bool, Slots], ...]:
        return ((False, self._block.asks), (True, self._block.local_asks))

    def publish_answer(self, answer: Answer) -> None:
        """See Exchange."""
        self._block.answers.write(ANSWER_HEAD.pack(answer.number, answer.is_local) + answer.refusal.encode())

    def take_stream_requests(self) -> Sequence[tuple[int, StreamGrant | None]]:
        """See Exchange."""
        newest = self._block.stream.newest()
        if newest is None or newest[0] == self._stream_seen:
            return ()
        self._stream_seen, data = newest
        try:
            return ((0, grant_from_bytes(data[1:]) if data[:1] == b"A" else None),)
        except BodyError:
            self.refused_count += 1
            return ()

    def take_setpoints(self) -> Sequence[tuple[int, Setpoint]]:
        """See Exchange."""
        newest = self._block.setpoint.newest()
        if newest is None or newest[0] == self._setpoint_seen:
            return ()
        self._setpoint_seen, data = newest
        return ((0, Setpoint(*SETPOINT.unpack(data))),)

    def publish_image(self, image: Image) -> None:
        """See Exchange."""
        counts = (getattr(image.counts, name) for name in COUNT_FIELDS)
        head = IMAGE_HEAD.pack(image.at_us, *counts, image.held[0].encode(), (image.streams or ("",))[0].encode())
        self._block.image.write(head + image.measured[0].tobytes())

    def publish_boundary(self, boundary: Boundary) -> None:
        """See Exchange."""
        self._block.boundaries.write(_pack_boundary(boundary))

    def publish_registers(self, boundary: Boundary) -> None:
        """See Exchange."""
        self._block.registers.write(_pack_boundary(boundary))

    def publish_service(self, begin: ServiceBegin) -> None:
        """See Exchange."""
        place = SERVICES.index(begin.service)
        head = SERVICE_HEAD.pack(begin.epoch_us, begin.at_us, begin.into_j, begin.from_j, place)
        self._block.services.write(head + begin.dispatch_id.encode())

    def publish_records(self, records: RecordRows) -> None:
        """See Exchange."""
        for first in range(0, len(records.rows), MAX_RECORD_ROWS):
            rows = records.rows[first : first + MAX_RECORD_ROWS, 0]
            self._block.records.write(
                RECORD_HEAD.pack(records.first_us + first * 10_000) + rows.astype("<f4").tobytes()
            )

    def publish_waveform(self, waveform: CapturedWaveform) -> None:
        """See Exchange."""
        write_waveform(self._spool_dir, waveform)


class UplinkSide:
    """The uplink process's end of the block (a ControllerPort for one site)."""

    def __init__(self, block: SharedBlock, spool_dir: Path) -> None:
        self._block = block
        self._spool_dir = spool_dir
        self._boundary_seen = 0
        self._service_seen = 0
        # Rows from before this process started belong to records that were already cut.
        newest = block.records.newest()
        self._record_seen = newest[0] if newest else 0
        self._image_seen = 0
        self._answer_seen = newest_sequence(block.answers)

    def request(self, index: int, assignment: Assignment | None) -> None:
        """See ControllerPort."""
        if index != 0:
            raise IndexError(f"site index is {index}, accepted: 0")
        self._block.request.write(b"-" if assignment is None else b"A" + assignment.to_bytes())

    def ask(self, ask: Ask) -> None:
        """See ControllerPort."""
        if ask.index != 0:
            raise IndexError(f"site index is {ask.index}, accepted: 0")
        self._block.asks.write(pack_ask(ask))

    def request_stream(self, index: int, grant: StreamGrant | None) -> None:
        """See ControllerPort."""
        if index != 0:
            raise IndexError(f"site index is {index}, accepted: 0")
        self._block.stream.write(b"-" if grant is None else b"A" + grant.to_bytes())

    def setpoint(self, index: int, setpoint: Setpoint) -> None:
        """See ControllerPort."""
        self._block.setpoint.write(SETPOINT.pack(setpoint.power_kw, setpoint.ramp_kw_per_s, setpoint.until_ns))

    def poll(self) -> PortUpdate:
        """See ControllerPort."""
        update = PortUpdate(waveforms=take_waveforms(self._spool_dir))
        newest = self._block.image.newest()
        if newest is not None and newest[0] != self._image_seen:
            self._image_seen = newest[0]
            update.image = read_image(newest[1])
        for sequence, data in self._block.answers.after(self._answer_seen):
            self._answer_seen = sequence
            answer = read_answer(data)
            if not answer.is_local:
                update.answers.append(answer)
        for sequence, data in self._block.boundaries.after(self._boundary_seen):
            self._boundary_seen = sequence
            update.boundaries.append(_read_boundary(data))
        for sequence, data in self._block.services.after(self._service_seen):
            self._service_seen = sequence
            *begun, place = SERVICE_HEAD.unpack_from(data)
            epoch_us, at_us, into_j, from_j = begun
            name = data[SERVICE_HEAD.size :].decode()
            update.services.append(ServiceBegin(0, epoch_us, at_us, name, into_j, from_j, SERVICES[place]))
        for sequence, data in self._block.records.after(self._record_seen):
            self._record_seen = sequence
            (first_us,) = RECORD_HEAD.unpack_from(data)
            rows = np.frombuffer(data, "<f4", offset=RECORD_HEAD.size).reshape(-1, 1, len(RECORD_COLUMNS))
            update.records.append(RecordRows(first_us, rows))
        return update

    def settle_waveform(self, waveform: CapturedWaveform) -> None:
        """See ControllerPort."""
        waveform_path(self._spool_dir, waveform).unlink(missing_ok=True)


def read_image(data: bytes) -> Image:
    """Return the image that a slot holds."""
    at_us, *counts, held, stream = IMAGE_HEAD.unpack_from(data)
    measured = np.frombuffer(data, MEASURED_DTYPE, 1, IMAGE_HEAD.size)
    return Image(at_us, measured, Counts(*counts), (_hash(held),), (_hash(stream),))


def _pack_boundary(boundary: Boundary) -> bytes:
    return BOUNDARY_HEAD.pack(boundary.epoch_us, boundary.at_us) + boundary.registers[0].tobytes()


def _read_boundary(data: bytes) -> Boundary:
    epoch_us, at_us = BOUNDARY_HEAD.unpack_from(data)
    return Boundary(epoch_us, at_us, np.frombuffer(data, REGISTER_DTYPE, 1, BOUNDARY_HEAD.size))


def pack_ask(ask: Ask) -> bytes:
    """Return an ask as a slot holds it."""
    return ASK_HEAD.pack(ask.number, ask.until_us) + ask.request.value.encode()


def read_answer(data: bytes) -> Answer:
    """Return the answer that a slot holds."""
    number, is_local = ANSWER_HEAD.unpack_from(data)
    return Answer(0, number, is_local, data[ANSWER_HEAD.size :].decode())


def _hash(text: bytes) -> str:
    return text.rstrip(b"\0").decode()
