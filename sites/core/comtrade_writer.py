"""Writes COMTRADE recordings: .cfg and .dat in every encoding, and the single file .cff."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np

from sites.core.comtrade import ENCODINGS, REVISIONS, AnalogChannel, Configuration, FloatArray, Recording

WIDEST: Final = {"ASCII": 99_998, "BINARY": 32_767, "BINARY32": 2_147_483_647}
"""Largest whole number that each encoding can hold, the mark of a missing value apart."""


def recording_of(configuration: Configuration, values: FloatArray, states: FloatArray | None = None) -> Recording:
    """Return a recording of scaled values [channels, samples] at the configuration's one rate.

    Factors a and b are chosen so that each channel fills its encoding's range; NaN stays missing. Raises
    ValueError when shapes, revision or encoding do not fit.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    count = values.shape[1]
    flags = np.zeros((0, count)) if states is None else np.atleast_2d(np.asarray(states))
    if configuration.encoding not in ENCODINGS or configuration.revision not in REVISIONS:
        raise ValueError(
            f"encoding {configuration.encoding!r}, revision {configuration.revision}, accepted: "
            f"{', '.join(ENCODINGS)}; {', '.join(map(str, REVISIONS))}"
        )
    if configuration.encoding in {"BINARY32", "FLOAT32"} and configuration.revision < 2013:
        raise ValueError(f"{configuration.encoding} in revision {configuration.revision}, accepted: 2013")
    if values.shape[0] != len(configuration.analog) or flags.shape != (len(configuration.status), count):
        raise ValueError(
            f"{values.shape[0]} analog and {flags.shape} digital rows, accepted: {len(configuration.analog)} and "
            f"{len(configuration.status)} of {count} samples"
        )
    if len(configuration.sections) != 1 or configuration.sections[0].rate_hz <= 0.0:
        raise ValueError(f"sections are {configuration.sections}, accepted: one with a rate")
    channels, rows = [], []
    for channel, row in zip(configuration.analog, values, strict=True):
        scaled, raw = _fit(channel, row, configuration.encoding)
        channels.append(scaled)
        rows.append(raw)
    rate_hz = configuration.sections[0].rate_hz
    return Recording(
        configuration=replace(
            configuration,
            analog=tuple(channels),
            sections=(replace(configuration.sections[0], last_sample=count),),
        ),
        numbers=np.arange(1, count + 1),
        stamps=np.round(np.arange(count) / rate_hz / configuration.stamp_s / configuration.time_multiplier),
        raw=np.array(rows).reshape(len(rows), count),
        states=flags > 0.5,
    )


def write_recording(recording: Recording) -> tuple[bytes, bytes]:
    """Return the bytes of a .cfg and a .dat."""
    return _configuration_text(recording.configuration).encode(), _data_bytes(recording)


def write_single_file(recording: Recording) -> bytes:
    """Return the bytes of a .cff, which only C37.111-2013 knows."""
    configuration = recording.configuration
    if configuration.revision != 2013:
        raise ValueError(f"revision is {configuration.revision}, accepted: 2013 for a .cff")
    data = _data_bytes(recording)
    length = "" if configuration.encoding == "ASCII" else f": {len(data)}"
    head = f"--- file type: CFG ---\r\n{_configuration_text(configuration)}--- file type: INF ---\r\n"
    return (
        f"{head}--- file type: HDR ---\r\n--- file type: DAT {configuration.encoding}{length} ---\r\n".encode() + data
    )


def _fit(channel: AnalogChannel, values: FloatArray, encoding: str) -> tuple[AnalogChannel, FloatArray]:
    if encoding == "FLOAT32":
        return replace(channel, a=1.0, b=0.0, least=-3.4e38, greatest=3.4e38), values
    held = values[np.isfinite(values)]
    low, high = (float(held.min()), float(held.max())) if len(held) else (0.0, 0.0)
    widest = WIDEST[encoding]
    # Whole numbers on both sides of zero, so that zero stays zero and b is not needed.
    a = max(abs(low), abs(high)) / widest or 1.0
    raw = np.clip(np.round(values / a), -widest, widest)
    return replace(channel, a=a, b=0.0, least=float(-widest), greatest=float(widest)), raw


def _configuration_text(configuration: Configuration) -> str:
    revision = configuration.revision
    total = len(configuration.analog) + len(configuration.status)
    lines = [
        ",".join(
            (_word(configuration.station), _word(configuration.device), *([str(revision)] if revision > 1991 else []))
        )
    ]
    lines.append(f"{total},{len(configuration.analog)}A,{len(configuration.status)}D")
    for number, c in enumerate(configuration.analog, 1):
        line = (
            f"{number},{_word(c.name)},{_word(c.phase)},{_word(c.component)},{_word(c.unit)},{c.a!r},{c.b!r},"
            f"{c.skew_us:g},{c.least:.9g},{c.greatest:.9g}"
        )
        side = "S" if c.is_secondary else "P"
        lines.append(line if revision == 1991 else f"{line},{c.primary:g},{c.secondary:g},{side}")
    for number, s in enumerate(configuration.status, 1):
        places = "" if revision == 1991 else f"{_word(s.phase)},{_word(s.component)},"
        lines.append(f"{number},{_word(s.name)},{places}{s.normal}")
    lines.append(f"{configuration.nominal_hz or 0.0:g}")
    lines.append(str(len(configuration.sections)))
    lines += [f"{section.rate_hz!r},{section.last_sample}" for section in configuration.sections]
    for instant in (configuration.starts_at, configuration.trigger_at):
        lines.append(_instant(instant or datetime(1970, 1, 1), revision, configuration.stamp_s))  # noqa: DTZ001
    lines.append(configuration.encoding)
    if revision > 1991:
        lines.append(f"{configuration.time_multiplier:g}")
    if revision >= 2013:
        lines += ["0,0", "0,0"]
    return "\r\n".join(lines) + "\r\n"


def _word(text: str) -> str:
    """A field ends at a comma and a line at its end: neither may stand inside."""
    return " ".join(text.replace(",", " ").split())


def _instant(instant: datetime, revision: int, stamp_s: float) -> str:
    date = f"{instant:%m/%d/%y}" if revision == 1991 else f"{instant:%d/%m/%Y}"
    return f"{date},{instant:%H:%M:%S.%f}{'000' if stamp_s < 1e-6 else ''}"


def _data_bytes(recording: Recording) -> bytes:
    configuration = recording.configuration
    count = len(recording.numbers)
    if configuration.encoding == "ASCII":
        missing = "99999" if configuration.revision == 1991 else ""
        lines = []
        for k in range(count):
            analog = [missing if np.isnan(v) else f"{v:.0f}" for v in recording.raw[:, k]]
            states = [str(int(v)) for v in recording.states[:, k]]
            lines.append(",".join((str(int(recording.numbers[k])), f"{recording.stamps[k]:.0f}", *analog, *states)))
        return ("\r\n".join(lines) + "\r\n").encode()
    words = -(-len(configuration.status) // 16)
    kind, missing_value = {
        "BINARY": ("<i2", -32768.0),
        "BINARY32": ("<i4", -2147483648.0),
        "FLOAT32": ("<f4", float(np.finfo(np.float32).min)),
    }[configuration.encoding]
    rows = np.zeros(
        count, np.dtype([("n", "<u4"), ("t", "<u4"), ("a", kind, (len(recording.raw),)), ("d", "<u2", (words,))])
    )
    rows["n"] = recording.numbers
    rows["t"] = recording.stamps
    rows["a"] = np.where(np.isnan(recording.raw), missing_value, recording.raw).T
    for place, state in enumerate(recording.states):
        rows["d"][:, place // 16] |= state.astype(np.uint16) << (place % 16)
    return rows.tobytes()
