"""A driver without a plant, for tests of what paces and serves it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from sites.core.assignments import Assignment
from sites.core.requests import SiteRequest
from sites.edge.control.exchange import (
    MEASURED_DTYPE,
    REGISTER_DTYPE,
    CapturedWaveform,
    RecordRows,
    StructuredArray,
)

START = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
START_US = round(START.timestamp() * 1e6)


class CountingDriver:
    """Counts samples; its register is the number of samples run."""

    sites = 1
    sample_rate_hz = 10_000
    starts_at_us = START_US

    def __init__(self) -> None:
        self.sample = 0
        self.batches: list[int] = []
        self.armed: list[tuple[int, str]] = []
        self.followed: list[tuple[float, float, int]] = []
        self.asked: list[tuple[int, str]] = []
        self.inputs: dict[str, int] = {}
        self.answers_with: str | None = ""
        """What it answers to an ask; None: nothing."""
        self.probe_utc_ms: list[int] = []

    def advance(self, samples: int) -> None:
        self.sample += samples
        self.batches.append(samples)

    def switch_closed(self) -> npt.NDArray[np.bool_]:
        return np.ones(1, bool)

    def measured(self) -> StructuredArray:
        return np.zeros(1, MEASURED_DTYPE)

    def registers(self) -> StructuredArray:
        return np.full(1, self.sample, REGISTER_DTYPE)

    def arm(self, index: int, assignment: Assignment) -> None:
        self.armed.append((self.sample, assignment.assignment_id))

    def follow_setpoint(self, index: int, power_kw: float, ramp_kw_per_s: float, until_sample: int) -> None:
        self.followed.append((power_kw, ramp_kw_per_s, until_sample))

    def disarm(self, index: int) -> None:
        self.armed.append((self.sample, ""))

    def ask(self, index: int, request: SiteRequest) -> None:
        self.asked.append((self.sample, request.value))

    def answer(self, index: int) -> str | None:
        return self.answers_with

    def set_input(self, index: int, name: str, value: int) -> None:
        self.inputs[name] = value

    def align_probe(self, utc_ms: int) -> None:
        self.probe_utc_ms.append(utc_ms)

    def resume(self, index: int, before: np.void) -> None:
        """Nothing stands still here."""

    def drain_records(self) -> Sequence[RecordRows]:
        return ()

    def drain_waveforms(self) -> Sequence[CapturedWaveform]:
        return ()
