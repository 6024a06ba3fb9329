"""What the control loop and the uplink tell each other, whichever memory lies between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from sites.core.assignments import Assignment
from sites.core.requests import SiteRequest
from sites.core.streams import StreamGrant

ASSETS: Final = ("pcc", "battery", "pv", "genset", "load")
MODE_NAMES: Final = (
    "grid_tied",
    "islanding",
    "islanded",
    "resynchronizing",
    "black_start",
    "lockout",
    "maintenance",
)
ALARM_NAMES: Final = ("emergency_stop", "fire", "bms_trip", "fault", "bond_closed", "battery_parted", "genset_failed")
"""Bits of ``latched``, then those of ``warnings``: the first four only the key at the site clears."""
LATCHES: Final = 4
INPUT_NAMES: Final = ("emergency_stop", "fire", "bms_trip", "local_reset", "neutral_earth_closed")
"""Bits of ``inputs``: the site's contacts, as its I/O card reports them."""
LIMIT_NAMES: Final = ("none", "energy", "export", "import", "rating")
MEASURED_FIELDS: Final = (
    "frequency_hz",
    "voltage_pu",
    "mode",
    "pcc_kw",
    "battery_kw",
    "pv_kw",
    "genset_kw",
    "load_kw",
    "soc_ratio",
    "temperature_c",
    "service_kw",
    "stream_kw",
    "required_kw",
    "discharge_kw",
    "charge_kw",
    "usable_energy_kwh",
    "absorbable_energy_kwh",
    "saturates_in_s",
    "switch_closed",
    "armed_kw",
    "baseline_kw",
    "genset_running",
    "limited_by",
    "tiers_closed",
    "latched",
    "warnings",
    "alarm",
    "inputs",
    "refusals",
    "decisions",
    "decided_cause",
    "decided_path",
    "decided_at_us",
    *(f"{name}_since_us" for name in ALARM_NAMES),
)
CURVE: Final = "service"
STREAM: Final = "stream"
SERVICES: Final = (CURVE, STREAM)
"""What a site may serve side by side, one dispatch each; its registers are ``<service>_into_j`` and ``_from_j``."""
REGISTER_FIELDS: Final = (
    *(f"{asset}_{way}_j" for asset in ASSETS for way in ("into", "from")),
    *(f"{service}_{way}_j" for service in SERVICES for way in ("into", "from")),
    "fuel_ul",
)
MEASURED_DTYPE: Final = np.dtype([(name, "<f8") for name in MEASURED_FIELDS])
"""One row a site; ``mode`` indexes MODE_NAMES, ``limited_by`` LIMIT_NAMES; ``switch_closed`` and ``genset_running``
are 0 or 1; ``latched``, ``warnings`` and ``inputs`` are bits, ``alarm`` is what ``names.alarm_text`` names,
``decided_*`` the last decision to leave the grid (0: none), ``…_since_us`` when an alarm that stands came up [us since
the epoch]."""
REGISTER_DTYPE: Final = np.dtype([(name, "<f8") for name in REGISTER_FIELDS])
"""Cumulative since the controller's start: energy [J], fuel [ul]; ``service`` is the armed curve's."""
RECORD_COLUMNS: Final = (
    "frequency_hz", "battery_kw", "baseline_kw", "pcc_kw", "switch_closed", "armed_kw", "stream_kw",
)  # fmt: skip
"""``stream_kw`` is what of ``battery_kw`` was for the setpoint stream, positive into the bus."""
RECORD_RATE_HZ: Final = 100.0

T = TypeVar("T")
StructuredArray = npt.NDArray[np.void]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Counts:
    """How well the control loop keeps its time, since its start."""

    late: int = 0
    """Ticks that began more than one period after their time."""
    overruns: int = 0
    """Ticks whose samples took longer than one period."""
    samples_caught_up: int = 0
    """Samples run behind their time; none is ever skipped."""
    worst_wake_us: int = 0
    worst_step_us: int = 0
    watchdog_notices: int = 0
    """How often a supervisor was told that the loop runs; 0 where nobody listens."""
    clock_corrections: int = 0
    """How often the anti-islanding probe was set to UTC anew."""

    @property
    def samples_late(self) -> int:
        """Late or overrun ticks."""
        return self.late + self.overruns


@dataclass(frozen=True, slots=True)
class Ask:
    """A request on its way to a site's controller."""

    index: int
    number: int
    """Counts from 1 on its way, so that an answer finds its asker."""
    request: SiteRequest
    until_us: int
    """Past this instant [us since the epoch] it is not taken up any more."""
    is_local: bool = False
    """Asked by somebody at the site, not by the link."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a controller said to an ask."""

    index: int
    number: int
    is_local: bool
    refusal: str
    """Name of RequestRefusal, empty when it was taken up."""


@dataclass(frozen=True, slots=True)
class Image:
    """What every controller of a process measured last."""

    at_us: int
    measured: StructuredArray
    """MEASURED_DTYPE, one row a site."""
    counts: Counts
    held: tuple[str, ...]
    """Content hash of the assignment that each controller holds, "" for none."""
    streams: tuple[str, ...] = ()
    """Content hash of the stream grant that each controller holds, "" for none; empty: of no site."""


@dataclass(frozen=True, slots=True)
class Setpoint:
    """The last value of a stream that a site follows."""

    power_kw: float
    """Positive into the site's bus."""
    ramp_kw_per_s: float
    until_ns: int
    """Up to when, by the machine's monotonic clock [ns]: a step of the wall clock prolongs nothing."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Registers read exactly at the end of a metering interval."""

    epoch_us: int
    """When the controller started; its registers count from there."""
    at_us: int
    registers: StructuredArray
    """REGISTER_DTYPE, one row a site."""


@dataclass(frozen=True, slots=True)
class ServiceBegin:
    """From this instant on, energy of a service is for a dispatch; before it, for the one that it served last."""

    index: int
    """Which site of the process."""
    epoch_us: int
    at_us: int
    dispatch_id: str
    into_j: float
    from_j: float
    """The service's registers at that instant."""
    service: str = CURVE
    """Whose registers these are: ``CURVE`` or ``STREAM``."""


@dataclass(frozen=True, slots=True)
class RecordRows:
    """Rows of the 100 Hz record, in order, without a gap inside."""

    first_us: int
    rows: Float32Array
    """[n, sites, RECORD_COLUMNS]."""


@dataclass(frozen=True, slots=True)
class CapturedWaveform:
    """The kept waveform of one islanding event."""

    index: int
    """Which site of the process."""
    starts_at_us: int
    trigger_at_us: int
    rate_hz: float
    cause: str
    columns: tuple[str, ...]
    samples: Float32Array
    """[n, columns]."""


@dataclass(slots=True)
class PortUpdate:
    """What came from the control loop since the last poll."""

    image: Image | None = None
    boundaries: list[Boundary] = field(default_factory=list)
    services: list[ServiceBegin] = field(default_factory=list)
    """Read after the boundaries: those that belong before a boundary are never missing beside it."""
    records: list[RecordRows] = field(default_factory=list)
    waveforms: list[CapturedWaveform] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


class ControllerPort(Protocol):
    """The uplink's side."""

    def request(self, index: int, assignment: Assignment | None) -> None:
        """Ask a site's controller to hold an assignment (None: nothing); it confirms in ``Image.held``."""

    def ask(self, ask: Ask) -> None:
        """Hand a request to a site's controller; its answer comes in ``PortUpdate.answers``."""

    def request_stream(self, index: int, grant: StreamGrant | None) -> None:
        """Ask a site's controller to hold a stream grant (None: nothing); it confirms in ``Image.streams``."""

    def setpoint(self, index: int, setpoint: Setpoint) -> None:
        """Hand over the newest value of the stream that a site was granted; nothing confirms it."""

    def poll(self) -> PortUpdate:
        """Return what is new; never waits."""

    def settle_waveform(self, waveform: CapturedWaveform) -> None:
        """Let go of a waveform whose row is safely kept."""


class Exchange(Protocol):
    """The control loop's side."""

    def take_requests(self) -> Sequence[tuple[int, Assignment | None]]:
        """Return new requests (site's index, what to hold), oldest first; never waits."""

    def publish_registers(self, boundary: Boundary) -> None:
        """Put by the newest registers for the process after this one: nothing metered dies with the controller."""

    def take_asks(self) -> Sequence[Ask]:
        """Return new asks, oldest first; never waits."""

    def publish_answer(self, answer: Answer) -> None:
        """Append an answer."""

    def take_stream_requests(self) -> Sequence[tuple[int, StreamGrant | None]]:
        """Return new requests to hold a stream grant, oldest first; never waits."""

    def take_setpoints(self) -> Sequence[tuple[int, Setpoint]]:
        """Return new setpoints, oldest first; never waits."""

    def publish_image(self, image: Image) -> None:
        """Replace the last image."""

    def publish_boundary(self, boundary: Boundary) -> None:
        """Append a boundary's registers."""

    def publish_service(self, begin: ServiceBegin) -> None:
        """Append that a site begins to serve another dispatch."""

    def publish_records(self, records: RecordRows) -> None:
        """Append 100 Hz rows."""

    def publish_waveform(self, waveform: CapturedWaveform) -> None:
        """Hand a waveform over."""


class InProcessExchange:
    """Both sides for a loop in a thread of the uplink's own process (``simulate``).

    Deque operations are atomic under the interpreter's lock, so neither side ever waits.
    """

    MAX_RECORD_BATCHES: Final = 600

    def __init__(self) -> None:
        self._requests: deque[tuple[int, Assignment | None]] = deque()
        self._asks: deque[Ask] = deque()
        self._answers: deque[Answer] = deque()
        self._stream_requests: deque[tuple[int, StreamGrant | None]] = deque()
        self._setpoints: deque[tuple[int, Setpoint]] = deque()
        self._image: Image | None = None
        self._boundaries: deque[Boundary] = deque()
        self._services: deque[ServiceBegin] = deque()
        self._records: deque[RecordRows] = deque(maxlen=self.MAX_RECORD_BATCHES)
        self._waveforms: deque[CapturedWaveform] = deque()

    def request(self, index: int, assignment: Assignment | None) -> None:
        """See ControllerPort."""
        self._requests.append((index, assignment))

    def request_stream(self, index: int, grant: StreamGrant | None) -> None:
        """See ControllerPort."""
        self._stream_requests.append((index, grant))

    def setpoint(self, index: int, setpoint: Setpoint) -> None:
        """See ControllerPort."""
        self._setpoints.append((index, setpoint))

    def poll(self) -> PortUpdate:
        """See ControllerPort."""
        return PortUpdate(
            self._image,
            _drain(self._boundaries),
            _drain(self._services),
            _drain(self._records),
            _drain(self._waveforms),
            _drain(self._answers),
        )

    def ask(self, ask: Ask) -> None:
        """See ControllerPort."""
        self._asks.append(ask)

    def settle_waveform(self, waveform: CapturedWaveform) -> None:
        """See ControllerPort; it was taken off the queue by ``poll``."""

    def take_requests(self) -> Sequence[tuple[int, Assignment | None]]:
        """See Exchange."""
        return _drain(self._requests)

    def take_asks(self) -> Sequence[Ask]:
        """See Exchange."""
        return _drain(self._asks)

    def publish_answer(self, answer: Answer) -> None:
        """See Exchange."""
        self._answers.append(answer)

    def take_stream_requests(self) -> Sequence[tuple[int, StreamGrant | None]]:
        """See Exchange."""
        return _drain(self._stream_requests)

    def take_setpoints(self) -> Sequence[tuple[int, Setpoint]]:
        """See Exchange."""
        return _drain(self._setpoints)

    def publish_image(self, image: Image) -> None:
        """See Exchange."""
        self._image = image

    def publish_registers(self, boundary: Boundary) -> None:
        """See Exchange. The registers of this process end with it, and so do its plants."""

    def publish_boundary(self, boundary: Boundary) -> None:
        """See Exchange."""
        self._boundaries.append(boundary)

    def publish_service(self, begin: ServiceBegin) -> None:
        """See Exchange."""
        self._services.append(begin)

    def publish_records(self, records: RecordRows) -> None:
        """See Exchange."""
        self._records.append(records)

    def publish_waveform(self, waveform: CapturedWaveform) -> None:
        """See Exchange."""
        self._waveforms.append(waveform)


def _drain(queue: deque[T]) -> list[T]:
    taken = []
    while queue:
        taken.append(queue.popleft())
    return taken
