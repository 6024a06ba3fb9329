"""A grid operator's day as a script: what is sent when; read from TOML, refused by line; pure."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from markets.core.products import ProductError, product_named
from sites.core.curves import Direction

MAX_SCRIPT_BYTES: Final = 200_000
MAX_STEPS: Final = 500
MAX_POWER_KW: Final = 10_000_000.0
DAY_S: Final = 86_400.0
CONTEXT: Final = "http://grid-operator.example/programs/{product}"
"""What names a product's program where the script names none; the one that `load_programs` sets up."""
_KEYS: Final = frozenset({"at", "event", "modify", "cancel", "product", "program", "kW", "starts", "duration"})
_TOP: Final = frozenset({"title", "report_s", "step"})
_VERBS: Final = ("event", "modify", "cancel")
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_CLOCK: Final = re.compile(r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\Z")
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)\Z")
_SECONDS: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}

BUILT_IN: Final = """\
title = "a day at the low and the high side"
report_s = 300

[[step]]                      # the morning peak, sold an hour ahead
at = "06:00"
event = "morning-low"
product = "neso-dc-low"
kW = 100
starts = "07:00"
duration = "1h"

[[step]]                      # less is needed than was thought
at = "06:30"
modify = "morning-low"
kW = 80

[[step]]                      # sun and wind at noon
at = "11:00"
event = "noon-high"
product = "neso-dc-high"
kW = 60
starts = "12:00"
duration = "2h"

[[step]]                      # one that is not needed after all
at = "15:00"
event = "evening-low"
product = "neso-dc-low"
kW = 100
starts = "18:00"
duration = "1h"

[[step]]
at = "16:00"
cancel = "evening-low"

[[step]]                      # more than anybody has
at = "16:30"
event = "night-low"
product = "neso-dc-low"
kW = 5000000
starts = "17:00"
duration = "30min"
"""


class ScriptInvalid(ValueError):
    """A script that cannot be played; the message names the line and what is accepted."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the operator sends."""

    at_s: float
    """On the day's clock [s since its midnight]."""
    verb: str
    """``event``, ``modify`` or ``cancel``."""
    event: str
    line: int
    product: str = ""
    program: str = ""
    """Market context (2.0b) or programName (3)."""
    payload_kw: float = 0.0
    """In OpenADR's sign: consumption positive, so what is to be given to the grid is negative."""
    starts_s: float = 0.0
    duration_s: float = 0.0

    @property
    def ends_s(self) -> float:
        """End of the event's window on the day's clock [s]."""
        return self.starts_s + self.duration_s


@dataclass(frozen=True, slots=True)
class Script:
    """A day."""

    title: str
    report_s: float
    """Telemetry is asked for each so often on the day's clock [s]; 0: not at all."""
    steps: tuple[Step, ...]
    """In order of time; a modification holds the whole event as it then is."""

    @property
    def begins_s(self) -> float:
        """When the first thing is sent [s of the day's clock]."""
        return self.steps[0].at_s

    @property
    def ends_s(self) -> float:
        """When the last thing is sent and the last window that stands is over [s of the day's clock]."""
        windows: dict[str, float] = {}
        for step in self.steps:
            windows[step.event] = step.at_s if step.verb == "cancel" else step.ends_s
        return max([*windows.values(), self.steps[-1].at_s])


def read_script(content: bytes, name: str) -> Script:
    """Read a script; raises ScriptInvalid naming the file and the line."""
    if len(content) > MAX_SCRIPT_BYTES:
        raise ScriptInvalid(f"{name}: {len(content)} bytes, accepted: up to {MAX_SCRIPT_BYTES}")
    try:
        text = content.decode()
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScriptInvalid(f"{name}: no TOML: {error}") from None
    return _Reader(name, text.splitlines()).script(document)


class _Reader:
    """Reads the document; knows the lines that its errors name."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.lines = lines
        self.heads = [number for number, line in enumerate(lines, 1) if re.match(r"\s*\[\[\s*step\s*\]\]", line)]

    def script(self, document: Mapping[str, Any]) -> Script:
        unknown = sorted(set(document) - _TOP)
        if unknown:
            raise self.fault(None, unknown[0], f"{unknown[0]} is no key, accepted: {', '.join(sorted(_TOP))}")
        tables = document.get("step")
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            raise self.fault(None, "step", "no steps, accepted: one [[step]] table or more")
        if len(tables) > MAX_STEPS:
            raise self.fault(MAX_STEPS, "", f"{len(tables)} steps, accepted: up to {MAX_STEPS}")
        report_s = document.get("report_s", 0)
        if not _is_number(report_s) or not 0 <= report_s <= DAY_S:
            raise self.fault(None, "report_s", f"report_s is {report_s!r}, accepted: 0 to {DAY_S:g} [s]")
        held: dict[str, Step] = {}
        steps: list[Step] = []
        # In order of time, so that a modification finds what it modifies.
        timed = [(self.clock(number, table, "at"), number, table) for number, table in enumerate(tables)]
        for at_s, number, table in sorted(timed, key=lambda one: (one[0], one[1])):
            step = self.step(number, table, at_s, held)
            if step.verb == "cancel":
                del held[step.event]
            else:
                held[step.event] = step
            steps.append(step)
        return Script(str(document.get("title", "")), float(report_s), tuple(steps))

    def step(self, number: int, table: Mapping[str, Any], at_s: float, held: Mapping[str, Step]) -> Step:
        unknown = sorted(set(table) - _KEYS)
        if unknown:
            raise self.fault(number, unknown[0], f"{unknown[0]} is no key, accepted: {', '.join(sorted(_KEYS))}")
        verbs = [verb for verb in _VERBS if verb in table]
        if len(verbs) != 1:
            found = " and ".join(verbs) or "none of them"
            raise self.fault(number, "", f"a step has {found}, accepted: one of {', '.join(_VERBS)}")
        verb, event = verbs[0], table[verbs[0]]
        if not isinstance(event, str) or not _NAME.match(event):
            raise self.fault(number, verb, f"{verb} is {event!r}, accepted: 1 to 64 of A-Z a-z 0-9 _ . : -")
        line = self.line(number, verb)
        if verb == "event":
            if event in held:
                raise self.fault(number, verb, f"event {event} stands already, accepted: modify, or another name")
            return self.window(number, table, Step(at_s, verb, event, line), needed=("product", "kW", "duration"))
        if event not in held:
            known = ", ".join(sorted(held)) or "none yet"
            raise self.fault(number, verb, f"{verb} names {event}, accepted: an event that stands then: {known}")
        before = held[event]
        if verb == "cancel":
            extra = sorted(set(table) - {"at", "cancel"})
            if extra:
                raise self.fault(number, extra[0], f"{extra[0]} stands with cancel, accepted: at and cancel")
            return Step(
                at_s, verb, event, line, before.product, before.program, before.payload_kw, before.starts_s,
                before.duration_s,
            )  # fmt: skip
        if "product" in table or "program" in table:
            raise self.fault(number, "product", "a modification names a product, accepted: kW, starts, duration")
        modified = Step(
            at_s, verb, event, line, before.product, before.program, before.payload_kw, before.starts_s,
            before.duration_s,
        )  # fmt: skip
        return self.window(number, table, modified, needed=())

    def window(self, number: int, table: Mapping[str, Any], step: Step, needed: tuple[str, ...]) -> Step:
        for key in needed:
            if key not in table:
                raise self.fault(number, "", f"{key} is missing, accepted: an event with {', '.join(needed)}")
        product = table.get("product", step.product)
        try:
            row = product_named(str(product))
        except ProductError as error:
            raise self.fault(number, "product", str(error)) from None
        payload_kw, starts_s, duration_s = step.payload_kw, step.starts_s, step.duration_s
        if "kW" in table:
            size_kw = table["kW"]
            if not _is_number(size_kw) or not 0.0 < size_kw <= MAX_POWER_KW:
                raise self.fault(number, "kW", f"kW is {size_kw!r}, accepted: more than 0, up to {MAX_POWER_KW:g}")
            # Into the grid is less consumption.
            payload_kw = float(size_kw) if row.direction is Direction.HIGH else -float(size_kw)
        if "duration" in table:
            duration_s = self.span(number, table["duration"])
        if "starts" in table:
            starts_s = self.clock(number, table, "starts")
        elif step.verb == "event":
            starts_s = step.at_s
        if step.verb == "event" and starts_s < step.at_s:
            raise self.fault(number, "starts", "the event starts before it is sent, accepted: at or later")
        return Step(
            step.at_s, step.verb, step.event, step.line, row.name,
            str(table.get("program") or step.program or CONTEXT.format(product=row.name)),
            payload_kw, starts_s, duration_s,
        )  # fmt: skip

    def clock(self, number: int, table: Mapping[str, Any], key: str) -> float:
        value = table.get(key)
        if _is_number(value) and 0 <= value < DAY_S:
            return float(value)
        match = _CLOCK.match(value) if isinstance(value, str) else None
        if match is None or int(match.group(1)) > 23:
            raise self.fault(number, key, f"{key} is {value!r}, accepted: HH:MM, HH:MM:SS, or seconds below {DAY_S:g}")
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return hours * 3600.0 + minutes * 60.0 + seconds

    def span(self, number: int, value: object) -> float:
        match = _SPAN.match(value) if isinstance(value, str) else None
        span_s = float(match.group(1)) * _SECONDS[match.group(2)] if match else math.nan
        if _is_number(value):
            span_s = float(value)
        if not 0.0 < span_s <= DAY_S:
            raise self.fault(number, "duration", f"duration is {value!r}, accepted: such as 90s, 30min, 2h, up to 24h")
        return span_s

    def line(self, number: int | None, key: str) -> int:
        """Return the line of a key in the step of a number (from 0), or of the step's head."""
        begin = self.heads[number] if number is not None and number < len(self.heads) else 1
        after = self.heads[number + 1] if number is not None and number + 1 < len(self.heads) else len(self.lines) + 1
        for found in range(begin, after):
            if key and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", self.lines[found - 1]):
                return found
        return begin

    def fault(self, number: int | None, key: str, text: str) -> ScriptInvalid:
        return ScriptInvalid(f"{self.name}:{self.line(number, key)}: {text}")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
