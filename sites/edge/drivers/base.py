"""What every device family offers the control loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sites.core.assignments import Assignment
from sites.core.requests import SiteRequest
from sites.edge.control.exchange import CapturedWaveform, RecordRows, StructuredArray
from sites.edge.control.pacing import Pace


class Driver(Protocol):
    """The process image of one or more sites: samples in, kernels stepped, outputs written.

    A driver counts samples from its start and never reads a clock; the loop paces it.
    """

    @property
    def sites(self) -> int:
        """How many sites stand behind it."""

    @property
    def sample_rate_hz(self) -> int:
        """Samples a second, 10,000."""

    @property
    def starts_at_us(self) -> int:
        """UTC instant of sample 0 [us since epoch], on a 10 ms grid."""

    @property
    def sample(self) -> int:
        """How many samples were run."""

    def advance(self, samples: int) -> None:
        """Run every one of the next samples through the kernels; releases the interpreter's lock."""

    def switch_closed(self) -> npt.NDArray[np.bool_]:
        """Read the static switches' state back from the hardware, one per site."""

    def measured(self) -> StructuredArray:
        """Return a copy of the controllers' measurements, MEASURED_DTYPE."""

    def registers(self) -> StructuredArray:
        """Return a copy of the meters' registers, REGISTER_DTYPE."""

    def arm(self, index: int, assignment: Assignment) -> None:
        """Arm one site's droop for the assignment's window."""

    def disarm(self, index: int) -> None:
        """Return one site to own use."""

    def ask(self, index: int, request: SiteRequest) -> None:
        """Ask a site's controller for one thing; one at a time, until ``answer`` says what came of it."""

    def answer(self, index: int) -> str | None:
        """Return the refusal's name of the last ask, empty when it was taken up; None while there is no answer."""

    def set_input(self, index: int, name: str, value: int) -> None:
        """Pass a contact (INPUT_NAMES) on to the samples, 0 or 1, as the site's I/O card reports it."""

    def align_probe(self, utc_ms: int) -> None:
        """Set the anti-islanding probe's clock: UTC of sample 0, as it is known now [ms since the epoch]."""

    def resume(self, index: int, before: np.void) -> None:
        """Stand still where the controller's last process did: one MEASURED_DTYPE row of its last image."""

    def follow_setpoint(self, index: int, power_kw: float, ramp_kw_per_s: float, until_sample: int) -> None:
        """Let one site follow a stream's power [kW, into the bus] up to a sample, beside its curve."""

    def drain_records(self) -> Sequence[RecordRows]:
        """Return the 100 Hz rows since the last call."""

    def drain_waveforms(self) -> Sequence[CapturedWaveform]:
        """Return the waveforms captured since the last call."""


class PacedDriver(Driver, Protocol):
    """A driver that also runs by itself: one compiled call on its own thread, by ``control.pacing``'s clock.

    Everything else of the driver may be called from another thread meanwhile, except ``advance``.
    """

    def prepare_pace(self, pace: Pace, tick_samples: int, next_boundary: int, interval_samples: int) -> None:
        """Allocate all that the run needs; registers are kept at ``next_boundary`` and each interval after it."""

    def run_paced(self) -> None:
        """Run every sample when it is due until the pace says stop; never holds the interpreter's lock."""

    def drain_boundaries(self) -> Sequence[tuple[int, StructuredArray]]:
        """Return (sample, registers) of the metering boundaries since the last call, oldest first."""
