"""Reads a recording of voltages and currents from a file that a user brings: COMTRADE (.cfg/.dat, .cff) or CSV."""

from __future__ import annotations

import io
import math
import stat
import warnings
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from sites.core.comtrade import MAX_DATA_BYTES, ComtradeError, FloatArray, Recording
from sites.core.comtrade_config import text_of
from sites.core.comtrade_data import read_recording, read_single_file
from sites.core.comtrade_time import time_axis
from sites.edge.studies.comtrade_channels import choose_channels, in_base_unit

CSV_COLUMNS: Final = ("t_s", "va", "vb", "vc", "ia", "ib", "ic")
TIME_NAMES: Final = ("t_s", "t", "time", "time_s", "t[s]", "time[s]")
WHITE: Final = " \r\n\x0b\x0c\x1a\x00"
MAX_COLUMNS: Final = 200
KINDS: Final = ".cfg with its .dat, .cff, or .csv with t_s,va[,vb,vc][,ia[,ib,ic]]"


class RecordingError(ValueError):
    """A recording that cannot be replayed; the message names the file, what was wrong and what is accepted."""

    name = "recording_unusable"


@dataclass(frozen=True, slots=True)
class WaveFile:
    """The voltages and currents of one file, as recorded."""

    title: str
    """Format and origin, for people."""
    t_s: FloatArray
    """The file's own time axis [s]."""
    volts: FloatArray
    """[1 or 3, n], in volts by the file's own scaling."""
    amperes: FloatArray | None
    """[1 or 3, n] or None."""
    names: tuple[str, ...]
    """Of the voltages, then of the currents."""
    ratios: tuple[float, ...]
    """What else the voltages may be scaled by (transformer ratio): first choice 1."""
    nominal_hz: float | None
    """As the file declares it."""
    trigger_s: float | None
    notes: tuple[str, ...]


def read_wave_file(path: Path, channels: Sequence[str] = ()) -> WaveFile:
    """Return what a file holds; raise RecordingError naming it."""
    try:
        if path.is_dir():
            raise RecordingError(f"{path}: is a folder, accepted: a file, {KINDS}")
        kind = path.suffix.lower()
        if kind in {".cfg", ".dat", ".cff"}:
            return _comtrade(path, kind, channels)
        if kind in {".csv", ".txt"}:
            if channels:
                raise RecordingError(f"{path}: --channels is for COMTRADE, accepted: columns {', '.join(CSV_COLUMNS)}")
            return _csv(path)
    except ComtradeError as error:
        raise RecordingError(f"{path}: {error}") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}), accepted: {KINDS}") from None
    raise RecordingError(f"{path}: is of kind {kind or 'none'}, accepted: {KINDS}")


def _bytes_of(path: Path) -> bytes:
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        # A pipe may never end, a device neither.
        raise RecordingError(f"{path}: is a pipe or a device, accepted: a file, {KINDS}")
    size = about.st_size
    if size > MAX_DATA_BYTES:
        raise RecordingError(f"{path}: has {size} bytes, accepted: up to {MAX_DATA_BYTES}")
    return path.read_bytes()


def _twin(path: Path, suffix: str) -> Path:
    """Return the other half of a pair, whatever the case of its name."""
    others = [other for other in sorted(path.parent.iterdir()) if other.suffix.lower() == suffix]
    found = [other for other in others if other.stem == path.stem]
    found += [other for other in others if other.stem.lower() == path.stem.lower()]
    if found:
        return found[0]
    raise RecordingError(f"{path}: has no {suffix} beside it, accepted: {path.stem}.cfg and {path.stem}.dat")


def _comtrade(path: Path, kind: str, channels: Sequence[str]) -> WaveFile:
    if kind == ".cff":
        recording = read_single_file(_bytes_of(path))
    else:
        configuration = path if kind == ".cfg" else _twin(path, ".cfg")
        data = path if kind == ".dat" else _twin(path, ".dat")
        recording = read_recording(_bytes_of(configuration), _bytes_of(data))
    t_s, time_notes = time_axis(recording)
    chosen = choose_channels(recording, channels)
    volts = np.array([in_base_unit(recording, index) for index in chosen.volts])
    if chosen.are_line_to_line:
        volts = (volts - np.roll(volts, 1, axis=0)) / 3.0
    amperes = np.array([in_base_unit(recording, index) for index in chosen.amperes]) if chosen.amperes else None
    analog = recording.configuration.analog
    return WaveFile(
        title=_title(recording),
        t_s=t_s,
        volts=volts,
        amperes=amperes,
        names=tuple(analog[index].name for index in (*chosen.volts, *chosen.amperes)),
        ratios=_ratios(recording, chosen.volts[0]),
        nominal_hz=recording.configuration.nominal_hz,
        trigger_s=recording.configuration.trigger_s,
        notes=(*recording.notes, *time_notes, *chosen.notes),
    )


def _title(recording: Recording) -> str:
    configuration = recording.configuration
    station = f" of {configuration.station}" if configuration.station else ""
    return f"COMTRADE {configuration.revision} {configuration.encoding}{station}"


def _ratios(recording: Recording, index: int) -> tuple[float, ...]:
    channel = recording.configuration.analog[index]
    if channel.ratio == 1.0:
        return (1.0,)
    return (1.0, channel.ratio if channel.is_secondary else 1.0 / channel.ratio)


def _csv(path: Path) -> WaveFile:
    data = _bytes_of(path)
    if not data.strip():
        raise RecordingError(f"{path}: is empty, accepted: {KINDS}")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    stream = io.BytesIO(data)
    del data
    number, first, start = _first_line(stream)
    if not first:
        raise RecordingError(f"{path}: holds comments only, accepted: {KINDS}")
    notes: list[str] = []
    separator = next((mark for mark in ";\t" if mark in first), ",")
    cells = [cell.strip().strip('"').lower() for cell in first.split(separator)]
    if len(cells) > MAX_COLUMNS:
        raise RecordingError(f"{path}: line {number} has {len(cells)} columns, accepted: up to {MAX_COLUMNS}")
    if _is_number(cells[0].replace(",", ".")):
        places = _places_by_count(path, len(cells))
        notes.append(f"no header; columns taken as {', '.join(places)}")
        stream.seek(start)
        number -= 1
    else:
        places = _places_by_name(path, number, cells, notes)
    table = _table(path, stream, number, separator, len(cells))
    if not len(table):
        raise RecordingError(f"{path}: has a header and no samples, accepted: a line for each sample")
    found = {name: table[:, place] for name, place in places.items()}
    v_names = ("va", "vb", "vc") if "vb" in found else ("va",)
    i_names = tuple(name.replace("v", "i") for name in v_names) if "ia" in found else ()
    return WaveFile(
        title="CSV",
        t_s=found["t_s"],
        volts=np.array([found[name] for name in v_names]),
        amperes=np.array([found[name] for name in i_names]) if i_names else None,
        names=v_names + i_names,
        ratios=(1.0,),
        nominal_hz=None,
        trigger_s=None,
        notes=tuple(notes),
    )


def _printable(text: str) -> str:
    """Return the beginning of a file's text without what a terminal would obey."""
    return "".join(mark if mark.isprintable() else "?" for mark in text[:120])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _places_by_count(path: Path, count: int) -> dict[str, int]:
    names = {2: CSV_COLUMNS[:2], 3: ("t_s", "va", "ia"), 4: CSV_COLUMNS[:4], 7: CSV_COLUMNS}.get(count)
    if names is None:
        raise RecordingError(f"{path}: line 1 has {count} columns and no header, accepted: {', '.join(CSV_COLUMNS)}")
    return {name: place for place, name in enumerate(names)}


def _places_by_name(path: Path, line: int, cells: Sequence[str], notes: list[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, cell in enumerate(cells):
        name = "t_s" if cell.replace(" ", "") in TIME_NAMES else cell
        if name not in CSV_COLUMNS:
            notes.append(f"column {cell[:40]!r} is not one of {', '.join(CSV_COLUMNS)}; not used")
        elif name in places:
            raise RecordingError(f"{path}: line {line} names column {name!r} twice, accepted: each once")
        else:
            places[name] = place
    has = set(places)
    phases = {"vb", "vc"} & has
    currents = {"ib", "ic"} & has
    accepted = "t_s,va for one phase or t_s,va,vb,vc for three, then ia or ia,ib,ic"
    if not {"t_s", "va"} <= has or len(phases) == 1:
        raise RecordingError(f"{path}: line {line} names {_printable(', '.join(cells))}, accepted: {accepted}")
    if len(currents) == 1 or (currents and "ia" not in has) or ("ia" in has and bool(phases) != bool(currents)):
        raise RecordingError(
            f"{path}: line {line} names currents {sorted(currents | has & {'ia'})}, accepted: {accepted}"
        )
    return places


def _first_line(stream: io.BytesIO) -> tuple[int, str, int]:
    """Return number, text and place of the first line that is no comment; the stream stands behind it."""
    number, start = 0, 0
    for line in iter(stream.readline, b""):
        number += 1
        text = text_of(line).strip()
        if text and not text.startswith("#"):
            return number, text, start
        start = stream.tell()
    return number, "", start


def _table(path: Path, stream: io.BytesIO, before: int, separator: str, width: int) -> FloatArray:
    """Return the rows from where the stream stands, behind ``before`` lines."""
    start = stream.tell()
    if separator == ",":
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # of no rows
                table = np.loadtxt(stream, delimiter=",", ndmin=2, comments="#", encoding="latin-1")
            if table.shape[1] == width:
                table[~np.isfinite(table)] = np.nan
                return np.asarray(table, dtype=np.float64)
        except ValueError:
            pass  # The reader below is slower and names the line.
    stream.seek(start)
    numbers = array("d")
    cut: RecordingError | None = None
    for number, raw in enumerate(stream, before + 1):
        line = raw.decode("latin-1").strip(WHITE)
        if not line or line.startswith("#"):
            continue
        if cut is not None:
            raise cut
        cells = line.split(separator)
        if len(cells) != width:
            # The last line may be short: the writer was stopped within it.
            cut = RecordingError(f"{path}: line {number} has {len(cells)} columns, accepted: {width} as in the first")
            continue
        numbers.extend(_cell(path, number, cell, separator) for cell in cells)
    if cut is not None and not numbers:
        raise cut
    return np.frombuffer(numbers, dtype=np.float64).reshape(-1, width) if numbers else np.empty((0, width))


def _cell(path: Path, line: int, cell: str, separator: str) -> float:
    content = cell.strip().strip('"')
    if not content or content.lower() in {"nan", "null", "none", "na", "-"}:
        return math.nan
    try:
        value = float(content if separator == "," else content.replace(",", "."))
    except ValueError:
        raise RecordingError(
            f"{path}: line {line} holds {content[:30]!r}, accepted: numbers; nothing where one is missing"
        ) from None
    return value if math.isfinite(value) else math.nan
