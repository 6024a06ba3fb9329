"""A user's recording of the grid's frequency: CSV with ``t_s,frequency_hz``, judged before anything runs on it."""

from __future__ import annotations

import csv
import math
import stat
from pathlib import Path
from typing import Final

import numpy as np

from sites.edge.plant.frequency import FrequencyTrace

MIN_ROWS: Final = 3
MAX_BYTES: Final = 100_000_000
LONGEST_STEP_S: Final = 60.0
"""A frequency that was taken more rarely than once a minute tells nothing of what a product had to answer."""
LONGEST_S: Final = 8 * 86_400.0
GAP_FACTOR: Final = 10.0
GAP_S: Final = 2.0
"""A step of more than this and more than ten times the usual one is a gap."""
LOW_HZ: Final = 40.0
HIGH_HZ: Final = 70.0
OFF_NOMINAL_HZ: Final = 4.0
"""No 50 Hz grid stands nearer to 60 Hz than to 50."""


class TraceError(ValueError):
    """A recording that no study can run on; the message names the file, the row and what is accepted."""


def read_trace(path: Path, nominal_hz: float) -> FrequencyTrace:
    """Read a recording of the frequency and judge that it fits a product's nominal frequency.

    The column of the frequency is ``frequency_hz``, or ``f_hz`` where there is no other; lines that begin with ``#``
    are its source. Raises TraceError for a file that cannot be read, a missing column, a value that is no number,
    times that do not rise, a gap, fewer than three rows, and a frequency of another grid.
    """
    try:
        about = path.stat()
        if stat.S_ISREG(about.st_mode) and about.st_size > MAX_BYTES:
            raise TraceError(f"{path}: has {about.st_size} bytes, accepted: up to {MAX_BYTES}")
        if not stat.S_ISREG(about.st_mode) and not path.is_dir():
            # A pipe may never end, a device neither.
            raise TraceError(f"{path}: is a pipe or a device, accepted: a CSV file with t_s,frequency_hz")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TraceError(f"{path}: {reason}, accepted: a CSV file with t_s,frequency_hz") from None
    lines = text.splitlines()
    source = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
    kept = [(number, line) for number, line in enumerate(lines, start=1) if line.strip() and not line.startswith("#")]
    try:
        rows = list(csv.reader(line for _, line in kept))
    except csv.Error as error:
        raise TraceError(f"{path}: {error}, accepted: a CSV file with t_s,frequency_hz") from None
    if not rows:
        raise TraceError(f"{path}: no rows, accepted: a header t_s,frequency_hz and {MIN_ROWS} rows or more")
    header = [name.strip() for name in rows[0]]
    columns = _columns(path, header)
    values = np.array(
        [
            [_number(path, kept[n][0], row, header, column) for column in columns]
            for n, row in enumerate(rows[1:], start=1)
        ]
    ).reshape(-1, 2)
    if len(values) < MIN_ROWS:
        raise TraceError(f"{path}: {len(values)} rows, accepted: {MIN_ROWS} or more")
    t_s, f_hz = values[:, 0], values[:, 1]
    steps_s = np.diff(t_s)
    if not np.all(steps_s > 0.0):
        at = int(np.argmin(steps_s > 0.0)) + 1
        raise TraceError(
            f"{path}, line {kept[at + 1][0]}: t_s is {t_s[at]:g} after {t_s[at - 1]:g}, accepted: times that rise"
        )
    usual_s = float(np.median(steps_s))
    if steps_s.max() > max(GAP_S, GAP_FACTOR * usual_s):
        at = int(steps_s.argmax()) + 1
        raise TraceError(
            f"{path}, line {kept[at + 1][0]}: a gap of {steps_s.max():g} s before t_s {t_s[at]:g}, accepted: "
            f"steps of up to {max(GAP_S, GAP_FACTOR * usual_s):g} s where {usual_s:g} s is usual"
        )
    if usual_s > LONGEST_STEP_S:
        raise TraceError(f"{path}: steps of {usual_s:g} s are usual, accepted: up to {LONGEST_STEP_S:g} s")
    if t_s[-1] - t_s[0] > LONGEST_S:
        raise TraceError(f"{path}: lasts {t_s[-1] - t_s[0]:g} s, accepted: up to {LONGEST_S:g} s")
    wrong = np.flatnonzero((f_hz < LOW_HZ) | (f_hz > HIGH_HZ))
    if len(wrong):
        at = int(wrong[0])
        raise TraceError(f"{path}, line {kept[at + 1][0]}: {f_hz[at]:g} Hz, accepted: {LOW_HZ:g} to {HIGH_HZ:g}")
    middle_hz = float(np.median(f_hz))
    if abs(middle_hz - nominal_hz) > OFF_NOMINAL_HZ:
        raise TraceError(
            f"{path}: stands at {middle_hz:.2f} Hz, accepted: a grid of {nominal_hz:g} Hz, which the product is for"
        )
    return FrequencyTrace(t_s, f_hz, source)


def _columns(path: Path, header: list[str]) -> tuple[int, int]:
    names = [name for name in ("frequency_hz", "f_hz") if name in header]
    if "t_s" not in header or not names:
        raise TraceError(f"{path}: columns {','.join(header)!r:.80}, accepted: t_s,frequency_hz")
    if len(header) != len(set(header)):
        raise TraceError(f"{path}: columns {','.join(header)!r:.80} hold a name twice, accepted: t_s,frequency_hz")
    return header.index("t_s"), header.index(names[0])


def _number(path: Path, line: int, row: list[str], header: list[str], column: int) -> float:
    text = row[column].strip() if column < len(row) else ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TraceError(f"{path}, line {line}: {header[column]} is {text!r:.40}, accepted: a finite number")
    return value
