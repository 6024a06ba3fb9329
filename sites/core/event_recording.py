"""An islanding event of ours as a COMTRADE recording: per-unit columns become volts, amperes and digital channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.comtrade import AnalogChannel, Configuration, Section, StatusChannel
from sites.core.comtrade_writer import recording_of, write_recording

SWITCH_CURRENT: Final = "static switch"
"""Circuit component of the currents through the switch, by which a reader knows them from other currents."""
PLACES: Final = {
    "v": ("V", "V", "load side"),
    "u": ("U", "V", "grid side"),
    "i": ("I", "A", SWITCH_CURRENT),
    "p": ("IP", "A", "converter"),
}
"""First letter of a column -> first letters of the channel, unit, circuit component."""
PER_PHASE: Final = re.compile(r"([vuip])([abc])_pu\Z")


@dataclass(frozen=True, slots=True)
class RecordedSite:
    """What turns a site's per-unit values into volts and amperes."""

    site_id: str
    nominal_hz: float
    phase_v: float
    """R.m.s., phase to neutral [V]."""
    phases: int
    rated_kva: float
    """Of the converter: the base of the currents."""

    @property
    def peak_v(self) -> float:
        """Peak of the nominal phase voltage: 1 pu [V]."""
        return self.phase_v * 2.0**0.5

    @property
    def peak_a(self) -> float:
        """Peak of the converter's rated phase current: 1 pu [A]."""
        return self.rated_kva * 1000.0 / (self.phases * self.phase_v) * 2.0**0.5


def phase_voltage_v(nominal_voltage_v: float, phases: int) -> float:
    """Return phase to neutral from a site's voltage, which three-phase sites name phase to phase [V r.m.s.]."""
    return nominal_voltage_v / 3.0**0.5 if phases == 3 else nominal_voltage_v


def event_recording(
    site: RecordedSite, *, columns: Sequence[str], samples: npt.ArrayLike, rate_hz: float, starts_at: datetime,
    trigger_at: datetime, cause: str,
) -> tuple[bytes, bytes]:  # fmt: skip
    """Return (.cfg, .dat) of an event, C37.111-1999 in binary: what every reader of such files knows.

    ``samples`` is [n, columns] as the recorder keeps them; of a one-phase site phases b and c are left out. A column
    of another name becomes a digital channel when it holds 0 and 1 only, else an analog one per unit. Instants are
    aware; the file's are in UTC.
    """
    values = np.asarray(samples, dtype=np.float64).reshape(-1, len(columns))
    analog: list[AnalogChannel] = []
    status: list[StatusChannel] = []
    rows, states = [], []
    for column, row in zip(columns, values.T, strict=True):
        match = PER_PHASE.match(column)
        if match is not None:
            if site.phases == 1 and match[2] != "a":
                continue
            first, unit, component = PLACES[match[1]]
            phase = match[2].upper()
            analog.append(AnalogChannel(f"{first}{phase}", phase, component, unit, 1.0, 0.0))
            rows.append(row * (site.peak_v if unit == "V" else site.peak_a))
        elif np.isin(row, (0.0, 1.0)).all():
            status.append(StatusChannel(column))
            states.append(row)
        else:
            analog.append(AnalogChannel(column, "", "", "pu", 1.0, 0.0))
            rows.append(row)
    configuration = Configuration(
        station=site.site_id,
        device=f"vpp-edge {cause}",
        revision=1999,
        analog=tuple(analog),
        status=tuple(status),
        nominal_hz=site.nominal_hz,
        sections=(Section(rate_hz, len(values)),),
        starts_at=starts_at.astimezone(UTC).replace(tzinfo=None),
        trigger_at=trigger_at.astimezone(UTC).replace(tzinfo=None),
        encoding="BINARY",
    )
    shape = (-1, len(values))
    return write_recording(recording_of(configuration, np.array(rows).reshape(shape), np.array(states).reshape(shape)))


def event_name(site_id: str, trigger_at: datetime) -> str:
    """Return the name of an event's files without extension: site and instant in UTC, in order when sorted."""
    return f"{site_id}_{trigger_at.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z"
