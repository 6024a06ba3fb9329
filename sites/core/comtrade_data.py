"""Reads the samples of a COMTRADE recording: .dat in four encodings, and the single file .cff."""

from __future__ import annotations

import io
import re
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.comtrade import (
    MAX_DATA_BYTES,
    MAX_VALUES,
    ComtradeError,
    Configuration,
    FloatArray,
    Recording,
)
from sites.core.comtrade_config import read_configuration

MISSING_ASCII_1991: Final = 99999.0
NO_STAMP: Final = 0xFFFFFFFF
ANALOG_TYPES: Final = {"BINARY": "<i2", "BINARY32": "<i4", "FLOAT32": "<f4"}
CFF_PART: Final = re.compile(rb"^[ \t]*---[ \t]*file type:[ \t]*([A-Za-z0-9]+)([^\r\n]*)\r?\n?", re.MULTILINE)
CFF_BYTES: Final = re.compile(rb":[ \t]*(\d{1,12})")


def read_recording(configuration: bytes, data: bytes) -> Recording:
    """Return a recording from the bytes of its .cfg and .dat; raise ComtradeError."""
    return read_samples(read_configuration(configuration), data)


def read_single_file(data: bytes) -> Recording:
    """Return a recording from the bytes of a .cff (C37.111-2013); raise ComtradeError."""
    if len(data) > MAX_DATA_BYTES:
        raise ComtradeError("cff", None, f"has {len(data)} bytes, accepted: up to {MAX_DATA_BYTES}")
    marks = list(CFF_PART.finditer(data))
    if not marks:
        raise ComtradeError("cff", 1, "has no part, accepted: '--- file type: CFG ---' and its fellows")
    parts: dict[str, bytes] = {}
    lines: dict[str, int] = {}
    encoding = ""
    end = 0
    for position, mark in enumerate(marks):
        if mark.start() < end:
            continue  # Looks like a mark, but lies inside binary data.
        name = mark[1].decode("ascii").upper()
        end = marks[position + 1].start() if position + 1 < len(marks) else len(data)
        if name == "DAT":
            words = mark[2].decode("latin-1").upper().replace("-", " ").replace(":", " ").split()
            encoding = words[0] if words else ""
            length = CFF_BYTES.search(mark[2])
            end = min(len(data), mark.end() + int(length[1])) if length else len(data)
        parts.setdefault(name, data[mark.end() : end])
        lines.setdefault(name, data[: mark.end()].count(b"\n") + 1)
    for name in ("CFG", "DAT"):
        if name not in parts:
            raise ComtradeError(
                "cff", None, f"has no part {name}, accepted: parts CFG and DAT ({', '.join(parts)} found)"
            )
    configuration = read_configuration(parts["CFG"], part="cff", first_line=lines["CFG"])
    if encoding and configuration.encoding and encoding != configuration.encoding:
        raise ComtradeError(
            "cff",
            lines["DAT"] - 1,
            f"data are {encoding[:20]}, accepted: {configuration.encoding}, as its CFG part says",
        )
    return read_samples(configuration, parts["DAT"])


def read_samples(configuration: Configuration, data: bytes) -> Recording:
    """Return a recording from its configuration and the bytes of its .dat; raise ComtradeError."""
    if len(data) > MAX_DATA_BYTES:
        raise ComtradeError("dat", None, f"has {len(data)} bytes, accepted: up to {MAX_DATA_BYTES}")
    if not data.strip(b"\x1a\x00\r\n \t"):
        raise ComtradeError("dat", None, f"is empty ({len(data)} bytes), accepted: samples as the cfg announces them")
    notes = list(configuration.notes)
    encoding = configuration.encoding or ("ASCII" if _is_text(data) else "BINARY")
    if encoding == "ASCII":
        numbers, stamps, raw, states = _read_text(configuration, data, notes)
    else:
        if _is_text(data) and _is_text_row(configuration, data):
            raise ComtradeError("dat", 1, f"is text where the cfg says {encoding}, accepted: {encoding} rows")
        numbers, stamps, raw, states = _read_binary(configuration, data, encoding, notes)
    _check_length(configuration, len(numbers), notes)
    return Recording(configuration, numbers, stamps, raw, states, tuple(notes))


def _is_text(data: bytes) -> bool:
    head = data[:400]
    return b"," in head and all(32 <= byte < 127 or byte in b"\t\r\n\x1a" for byte in head)


def _is_text_row(configuration: Configuration, data: bytes) -> bool:
    first = data.split(b"\n", 1)[0]
    return first.count(b",") + 1 == 2 + len(configuration.analog) + len(configuration.status)


_Samples = tuple[npt.NDArray[np.int64], FloatArray, FloatArray, npt.NDArray[np.bool_]]


def _read_text(configuration: Configuration, data: bytes, notes: list[str]) -> _Samples:
    analog, status = len(configuration.analog), len(configuration.status)
    wanted = 2 + analog + status
    if not _is_text(data):
        raise ComtradeError("dat", 1, f"is not text where the cfg says ASCII, accepted: {wanted} numbers a line")
    data = data.rstrip(b"\x1a\x00\r\n \t").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    _check_size(data.count(b"\n") + 1, wanted)
    table = _whole_table(data, wanted)
    if table is None:
        table = _table_by_line(data, wanted, analog, notes)
    numbers = _whole(table[:, 0])
    raw = np.ascontiguousarray(table[:, 2 : 2 + analog].T)
    if configuration.revision == 1991:
        raw[raw == MISSING_ASCII_1991] = np.nan
    return numbers, table[:, 1].copy(), raw, np.ascontiguousarray(table[:, 2 + analog :].T > 0.5)


def _whole_table(data: bytes, wanted: int) -> FloatArray | None:
    """Read lines that all hold what they should; None sends the file to the slower reader, which names lines."""
    try:
        table = np.loadtxt(io.BytesIO(data), delimiter=",", ndmin=2, comments=None)
    except ValueError:
        return None
    if table.shape[1] != wanted or not np.all(np.isfinite(table)):
        return None
    return np.asarray(table, dtype=np.float64)


def _table_by_line(data: bytes, wanted: int, analog: int, notes: list[str]) -> FloatArray:
    lines = data.split(b"\n")
    rows: list[list[float]] = []
    short = 0
    for position, line in enumerate(lines):
        if not line.strip():
            continue
        fields = line.split(b",")
        if len(fields) > wanted and any(field.strip() for field in fields[wanted:]):
            raise ComtradeError("dat", position + 1, f"has {len(fields)} numbers, accepted: {wanted} by the cfg")
        if len(fields) < 2 + analog:
            if position == len(lines) - 1 and rows:
                notes.append(f"dat line {position + 1}: cut short; left out")
                continue
            raise ComtradeError("dat", position + 1, f"has {len(fields)} numbers, accepted: {wanted} by the cfg")
        short += len(fields) < wanted
        try:
            row = [_text_number(field) for field in fields[:wanted]]
        except ValueError:
            raise ComtradeError(
                "dat", position + 1, f"holds {line[:60].decode('latin-1')!r}, accepted: {wanted} numbers"
            ) from None
        rows.append(row + [0.0] * (wanted - len(row)))
    if short:
        notes.append(f"dat: {short} lines lack digital channels; taken as 0")
    return np.asarray(rows, dtype=np.float64).reshape(-1, wanted)


def _text_number(field: bytes) -> float:
    text = field.strip()
    if not text or text.lower() in {b"null", b"nan"}:
        return float("nan")
    value = float(text)
    return value if np.isfinite(value) else float("nan")


def _whole(values: FloatArray) -> npt.NDArray[np.int64]:
    """Return sample numbers; where one is missing its place stands for it."""
    places = np.arange(1, len(values) + 1)
    usable = np.isfinite(values) & (np.abs(values) < 2.0**53)
    return np.where(usable, np.where(usable, values, 0.0), places).astype(np.int64)


def _read_binary(configuration: Configuration, data: bytes, encoding: str, notes: list[str]) -> _Samples:
    analog, listed = len(configuration.analog), len(configuration.status)
    counted = configuration.declared
    # Where list and count differ, the rows themselves tell which is right.
    sizes = dict.fromkeys(
        (wide, -(-status // 16))
        for wide in (analog, counted[0])
        for status in (listed, counted[1])
        if wide >= analog
    )  # fmt: skip
    layouts = [_layout(encoding, *size) for size in sizes]
    kept = next((layout for layout in layouts if _counts_up(layout, data)), None)
    if kept is None:
        kept = layouts[0]
        wanted = f"rows of {kept.itemsize} bytes ({analog} analog, {listed} digital channels, {encoding})"
        if _is_text(data):
            raise ComtradeError("dat", 1, f"is text where the cfg says {encoding}, accepted: {wanted}")
        if len(data) < kept.itemsize:
            raise ComtradeError("dat", None, f"has {len(data)} bytes, accepted: {wanted}")
        numbers = np.frombuffer(data, kept, len(data) // kept.itemsize)["n"]
        if len(numbers) > 2 and not _mostly_rises(numbers):
            first = numbers[:3].tolist()
            raise ComtradeError("dat", None, f"sample numbers do not count up ({first}), accepted: {wanted}")
    count = len(data) // kept.itemsize
    _check_size(count, analog)
    left = len(data) - count * kept.itemsize
    if left and data[count * kept.itemsize :].strip(b"\x1a\x00\r\n"):
        notes.append(f"dat: {left} bytes behind the last whole row; left out")
    rows = np.frombuffer(data, kept, count)
    stamps = rows["t"].astype(np.float64)
    stamps[rows["t"] == NO_STAMP] = np.nan
    raw = np.ascontiguousarray(rows["a"][:, :analog].astype(np.float64).T)
    if encoding == "BINARY":
        raw[raw == -32768.0] = np.nan
    elif encoding == "BINARY32":
        raw[raw == -2147483648.0] = np.nan
    else:
        # The smallest float marks a missing value; whatever is not finite cannot be a value either.
        raw[~np.isfinite(raw) | (np.abs(raw) > 3e38)] = np.nan
    bits = (rows["d"][:, :, None] >> np.arange(16, dtype=np.uint16)) & 1
    states = np.ascontiguousarray(bits.reshape(count, -1)[:, :listed].T.astype(np.bool_))
    if len(states) < listed:
        states = np.concatenate((states, np.zeros((listed - len(states), count), np.bool_)))
    return rows["n"].astype(np.int64), stamps, raw, states


def _layout(encoding: str, analog: int, words: int) -> np.dtype[np.void]:
    return np.dtype([("n", "<u4"), ("t", "<u4"), ("a", ANALOG_TYPES[encoding], (analog,)), ("d", "<u2", (words,))])


def _counts_up(layout: np.dtype[np.void], data: bytes) -> bool:
    rows = np.frombuffer(data, layout, len(data) // layout.itemsize)
    numbers = rows["n"].astype(np.int64)
    return len(numbers) > 0 and bool(np.all(np.diff(numbers[:100]) == 1))


def _mostly_rises(numbers: npt.NDArray[np.uint32]) -> bool:
    return float(np.mean(np.diff(numbers.astype(np.int64)) > 0)) > 0.5 or bool(np.all(numbers == numbers[0]))


def _check_size(rows: int, columns: int) -> None:
    if rows * max(1, columns) > MAX_VALUES:
        raise ComtradeError("dat", None, f"holds {rows} rows of {columns} values, accepted: up to {MAX_VALUES} values")


def _check_length(configuration: Configuration, count: int, notes: list[str]) -> None:
    if not configuration.sections:
        return
    announced = configuration.sections[-1].last_sample
    if announced != count:
        notes.append(f"dat: {count} samples where the cfg announces {announced}; those that are there were taken")
