"""Plays a grid operator's scripted day: against our VEN as a VTN of OpenADR 2.0b, or at a VTN of OpenADR 3."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TextIO

from markets.openadr.grid_operator import GridOperator
from markets.openadr.operator_script import Script, ScriptInvalid, Step

LEAD_S: Final = 1.0
"""From the VEN's registration to the day's begin [s]."""
SHORTEST_S: Final = 1.0
"""OpenADR 2.0b knows whole seconds [s]."""
LOOK_EVERY_S: Final = 0.5


class DayFailed(Exception):
    """The day could not be played; the message says why."""


@dataclass
class Told:
    """What was said, line by line, and what it came to."""

    out: TextIO
    now: Callable[[], datetime]
    counts: Counter[str] = field(default_factory=Counter)
    opts: dict[str, str] = field(default_factory=dict)
    """The last answer to each event, by its name in the script."""
    points: set[str] = field(default_factory=set)
    missing: int = 0
    """Reported values that were told as missing."""

    def say(self, kind: str, **facts: Any) -> None:
        """Write one line and count it."""
        self.counts[kind] += 1
        if kind == "opt":
            self.opts[str(facts["event_id"])] = str(facts["opt"])
        elif kind == "report":
            self.points.add(str(facts["point"]))
            self.missing += facts["value"] is None
        at = self.now().isoformat(timespec="milliseconds")
        self.out.write(json.dumps({"event": kind, "said_at": at, **facts}, allow_nan=False) + "\n")
        self.out.flush()

    def sum_up(self, script: Script) -> None:
        """Write the last line: what was sent and what came back."""
        sent = Counter(step.verb for step in script.steps)
        events = [step.event for step in script.steps if step.verb == "event"]
        answers = Counter(self.opts.values())
        self.say(
            "summary",
            title=script.title,
            events=sent["event"],
            modifications=sent["modify"],
            cancellations=sent["cancel"],
            opted_in=answers["optIn"],
            opted_out=answers["optOut"],
            unanswered=[name for name in events if name not in self.opts],
            answers=self.opts,
            report_values=self.counts["report"],
            report_values_missing=self.missing,
            report_points=len(self.points),
        )


class OperatorSide(Protocol):
    """How one version of OpenADR carries the day."""

    async def begin(self) -> None:
        """Return when there is somebody to play for; raises DayFailed."""

    async def send(self, step: Step, *, starts_at: datetime, duration: timedelta) -> None:
        """Send one step with its window in real time."""

    async def look(self) -> None:
        """See what came back since."""

    async def end(self) -> None:
        """Close what was opened."""


@dataclass(frozen=True, slots=True)
class DayClock:
    """Between the day's clock and the real one."""

    begins_at: datetime
    begins_s: float
    speed: float

    def real(self, day_s: float) -> datetime:
        """Return when an instant of the day's clock [s] is."""
        return self.begins_at + timedelta(seconds=(day_s - self.begins_s) / self.speed)


def require_playable(script: Script, speed: float, name: str) -> None:
    """Raise ScriptInvalid when a window would be shorter than OpenADR can say at this speed."""
    for step in script.steps:
        if step.verb != "cancel" and step.duration_s / speed < SHORTEST_S:
            raise ScriptInvalid(
                f"{name}:{step.line}: {step.event} lasts {step.duration_s / speed:g} s at speed {speed:g}, "
                f"accepted: {SHORTEST_S:g} s and more"
            )


async def play(
    script: Script, side: OperatorSide, told: Told, *, speed: float, stay_s: float, now: Callable[[], datetime]
) -> None:
    """Play the day and return when its last window is over, and ``stay_s`` later; raises DayFailed."""
    try:
        await side.begin()
        clock = DayClock(now() + timedelta(seconds=LEAD_S), script.begins_s, speed)
        told.say("day_begins", title=script.title, speed=speed, ends_at=clock.real(script.ends_s).isoformat())
        for step in script.steps:
            await _until(clock.real(step.at_s), side, now)
            starts_at = clock.real(step.starts_s)
            # Whole seconds, as 2.0b knows them; a start between two is the VEN's to keep.
            duration = timedelta(seconds=max(SHORTEST_S, round(step.duration_s / speed)))
            told.say(
                "sent", step=step.verb, event_id=step.event, line=step.line, product=step.product,
                payload_kw=step.payload_kw, starts_at=starts_at.isoformat(), duration_s=duration.total_seconds(),
            )  # fmt: skip
            await side.send(step, starts_at=starts_at, duration=duration)
        await _until(clock.real(script.ends_s) + timedelta(seconds=stay_s), side, now)
        await side.look()
    finally:
        await side.end()
    told.sum_up(script)


async def _until(at: datetime, side: OperatorSide, now: Callable[[], datetime]) -> None:
    while (left_s := (at - now()).total_seconds()) > 0.0:
        await asyncio.sleep(min(left_s, LOOK_EVERY_S))
        await side.look()


class _Listening(GridOperator):
    """The trial VTN with its lines told to the day."""

    told: Told

    def say(self, event: str, **facts: Any) -> None:
        self.told.say(event, **facts)


@dataclass
class Side20b:
    """A VTN of OpenADR 2.0b with one known VEN."""

    arguments: argparse.Namespace
    told: Told
    script: Script
    wait_s: float
    """How long the VEN is waited for [s]."""

    async def begin(self) -> None:
        """Listen, and wait until the VEN has registered."""
        given = self.arguments
        every_s = self.script.report_s / given.speed
        report_s = max(1, round(every_s)) if every_s else 0
        self.operator = _Listening(
            given.ven_name, given.ven_fingerprint or "", given.vtn_id, self.told.out, report_s=report_s
        )
        self.operator.told = self.told
        self.server = self.operator.start(given)
        await self.server.run()
        host, port = self.server.app_runner.addresses[0][:2]
        url = f"{'http' if given.plain else 'https'}://{host}:{port}{self.server.http_path_prefix}"
        self.told.say("ready", url=url, vtn_id=given.vtn_id)
        waited_s = 0.0
        while self.operator.registration_id is None:
            if waited_s >= self.wait_s:
                raise DayFailed(f"no VEN {given.ven_name!r} registered at {url} within {self.wait_s:g} s")
            await asyncio.sleep(LOOK_EVERY_S)
            waited_s += LOOK_EVERY_S

    async def send(self, step: Step, *, starts_at: datetime, duration: timedelta) -> None:
        """Put the event, its modification or its cancellation on the VEN's list."""
        if step.verb == "cancel":
            # openleadr takes events off its list by itself once their window is over.
            if self.operator.held(step.event) is not None:
                self.operator.obey({"cmd": "cancel", "event_id": step.event})
            return
        self.operator.obey(
            {
                "cmd": "event",
                "event_id": step.event,
                "power_kw": step.payload_kw,
                "starts_at": starts_at.isoformat(),
                "duration_s": duration.total_seconds(),
                "market_context": step.program,
            }
        )

    async def look(self) -> None:
        """Let events walk from far to active to completed."""
        self.operator.refresh_statuses()

    async def end(self) -> None:
        """Stop listening."""
        if hasattr(self, "server"):
            await self.server.stop()
