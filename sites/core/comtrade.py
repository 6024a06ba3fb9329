"""COMTRADE recordings (IEEE C37.111-1991, -1999, -2013): what a recording holds, and the one error it can have.

Pure: bytes and values. Reading: ``comtrade_config`` (.cfg), ``comtrade_data`` (.dat and .cff);
writing: ``comtrade_writer``; the time axis: ``comtrade_time``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

ENCODINGS: Final = ("ASCII", "BINARY", "BINARY32", "FLOAT32")
REVISIONS: Final = (1991, 1999, 2013)
MAX_CONFIG_BYTES: Final = 4_000_000
MAX_DATA_BYTES: Final = 400_000_000
MAX_CHANNELS: Final = 10_000
MAX_VALUES: Final = 60_000_000
"""Analog values of one recording: 480 MB once unpacked."""


class ComtradeError(ValueError):
    """A recording that cannot be read; the message names the part, the line and what is accepted."""

    name = "comtrade_unreadable"

    def __init__(self, part: str, line: int | None, text: str) -> None:
        """``part`` is cfg, dat or cff; ``line`` counts from 1."""
        where = part if line is None else f"{part} line {line}"
        super().__init__(f"{where}: {text}")
        self.part = part
        self.line = line


@dataclass(frozen=True, slots=True)
class AnalogChannel:
    """One analog channel: value = a * recorded + b, in ``unit``."""

    name: str
    phase: str
    component: str
    """Circuit component being monitored."""
    unit: str
    a: float
    b: float
    skew_us: float = 0.0
    """Taken this much later than the sample's time [us]."""
    least: float = -32767.0
    greatest: float = 32767.0
    """Range of the recorded numbers."""
    primary: float = 1.0
    secondary: float = 1.0
    is_secondary: bool = False
    """The scaled value is the instrument transformer's secondary one."""

    @property
    def ratio(self) -> float:
        """Primary over secondary; 1 when the recording does not say."""
        return self.primary / self.secondary if self.primary > 0.0 and self.secondary > 0.0 else 1.0


@dataclass(frozen=True, slots=True)
class StatusChannel:
    """One digital channel."""

    name: str
    phase: str = ""
    component: str = ""
    normal: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """Samples taken at one rate."""

    rate_hz: float
    last_sample: int
    """Number of its last sample; the first one of a recording is 1."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a .cfg says."""

    station: str
    device: str
    revision: int
    analog: tuple[AnalogChannel, ...]
    status: tuple[StatusChannel, ...]
    nominal_hz: float | None
    sections: tuple[Section, ...]
    """Empty when the samples carry their own times only."""
    starts_at: datetime | None
    """Of the first sample, on the recorder's own clock, without a zone."""
    trigger_at: datetime | None
    encoding: str
    """One of ENCODINGS; empty when the file does not say."""
    time_multiplier: float = 1.0
    stamp_s: float = 1e-6
    """Unit of the samples' times [s] before the multiplier."""
    declared: tuple[int, int] = (0, 0)
    """Analog and digital channels as line 2 counts them, which need not be how many are listed."""
    notes: tuple[str, ...] = ()
    """What was wrong in the file and how it was taken."""

    @property
    def trigger_s(self) -> float | None:
        """Trigger after the first sample [s], None when the file does not say."""
        if self.starts_at is None or self.trigger_at is None:
            return None
        return (self.trigger_at - self.starts_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Recording:
    """A configuration and its samples."""

    configuration: Configuration
    numbers: npt.NDArray[np.int64]
    """The samples' own numbers."""
    stamps: FloatArray
    """The samples' own times in units of the file, NaN where there is none."""
    raw: FloatArray
    """Recorded analog numbers [channels, samples], NaN where one is missing."""
    states: npt.NDArray[np.bool_]
    """Digital channels [channels, samples]."""
    notes: tuple[str, ...] = ()
    """What was wrong in cfg and dat and how it was taken."""

    def values(self, index: int) -> FloatArray:
        """Return one analog channel in its unit."""
        channel = self.configuration.analog[index]
        return np.asarray(channel.a * self.raw[index] + channel.b, dtype=np.float64)
