"""Reads a COMTRADE configuration: strict where a wrong guess would change a value, liberal elsewhere."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Final

from sites.core.comtrade import (
    ENCODINGS,
    MAX_CHANNELS,
    MAX_CONFIG_BYTES,
    AnalogChannel,
    ComtradeError,
    Configuration,
    Section,
    StatusChannel,
)

MAX_RATE_HZ: Final = 100e6
MAX_SECTIONS: Final = 10_000
DATE: Final = re.compile(r"(\d{1,4})[/.-](\d{1,2})[/.-](\d{1,4})\Z")
TIME: Final = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,](\d{0,12}))?\Z")
COUNT: Final = re.compile(r"(\d{1,9})\s*([AaDd]?)\Z")


def text_of(data: bytes) -> str:
    """Return a file's text: UTF-8 where it is that, else latin-1, in which every byte means something."""
    data = data.rstrip(b"\x1a\x00")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_configuration(data: bytes, *, part: str = "cfg", first_line: int = 1) -> Configuration:
    """Return what a .cfg says; raise ComtradeError naming the line and what is accepted there."""
    if len(data) > MAX_CONFIG_BYTES:
        raise ComtradeError(part, None, f"has {len(data)} bytes, accepted: up to {MAX_CONFIG_BYTES}")
    return _Reader(text_of(data), part, first_line).read()


class _Reader:
    """Takes a configuration line by line."""

    def __init__(self, text: str, part: str, first_line: int) -> None:
        lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        self._lines = lines
        self._at = 0
        self._part = part
        self._offset = first_line
        self._notes: list[str] = []

    def read(self) -> Configuration:
        if not self._lines:
            raise self._wrong("is empty", "a COMTRADE configuration: station,device,revision")
        station, device, revision = self._station()
        analog_count, status_count = self._counts()
        analog = self._analog_channels(analog_count)
        status = self._status_channels(status_count)
        declared = (analog_count, status_count)
        nominal_hz = self._nominal()
        sections = self._sections()
        starts_at, digits = self._instant(revision, "of the first sample")
        trigger_at, _ = self._instant(revision, "of the trigger")
        encoding = self._encoding()
        multiplier = self._multiplier()
        return Configuration(
            station=station,
            device=device,
            revision=revision,
            analog=analog,
            status=status,
            nominal_hz=nominal_hz,
            sections=sections,
            starts_at=starts_at,
            trigger_at=trigger_at,
            encoding=encoding,
            time_multiplier=multiplier,
            # C37.111-2013: nanoseconds when the instants are written to nanoseconds.
            stamp_s=1e-9 if digits >= 9 else 1e-6,
            declared=declared,
            notes=tuple(self._notes),
        )

    def _wrong(self, what: str, accepted: str, line: int | None = None) -> ComtradeError:
        at = self._at if line is None else line
        return ComtradeError(self._part, at + self._offset, f"{what}, accepted: {accepted}")

    def _note(self, text: str) -> None:
        self._notes.append(f"{self._part} line {self._at + self._offset}: {text}")

    def _peek(self) -> list[str] | None:
        if self._at >= len(self._lines):
            return None
        return [field.strip() for field in self._lines[self._at].split(",")]

    def _take(self) -> list[str] | None:
        fields = self._peek()
        self._at += 1
        return fields

    def _station(self) -> tuple[str, str, int]:
        fields = self._take() or [""]
        if len(fields) < 2 and len(self._lines) < 4:
            raise self._wrong(
                f"is {self._lines[0][:60]!r}", "station,device[,1999], then channels, rates and dates", line=0
            )
        year = fields[2] if len(fields) > 2 else ""
        revision = 1991
        if year.isdecimal() and len(year) <= 4:
            revision = 2013 if int(year) >= 2013 else 1999 if int(year) >= 1999 else 1991
        elif year:
            self._at -= 1
            self._note(f"revision {year[:20]!r} is not a year; taken as 1999")
            self._at += 1
            revision = 1999
        return fields[0], fields[1] if len(fields) > 1 else "", revision

    def _counts(self) -> tuple[int, int]:
        fields = self._take() or []
        counts = {"A": None, "D": None}
        for field, usual in zip(fields[1:3], "AD", strict=False):
            match = COUNT.match(field)
            if match is None:
                raise self._wrong(f"count is {field[:20]!r}", "total,nA,mD such as 11,8A,3D", line=1)
            counts[match[2].upper() or usual] = int(match[1])  # type: ignore[assignment]
        analog, status = counts["A"], counts["D"] or 0
        if analog is None:
            raise self._wrong(f"is {','.join(fields)[:40]!r}", "total,nA,mD such as 11,8A,3D", line=1)
        if analog + status > MAX_CHANNELS:
            raise self._wrong(f"counts {analog + status} channels", f"up to {MAX_CHANNELS}", line=1)
        if fields[0].isdecimal() and int(fields[0]) != analog + status:
            self._note(f"total of {fields[0][:12]} channels is not {analog} + {status}; the total was not used")
        return analog, status

    def _analog_channels(self, count: int) -> tuple[AnalogChannel, ...]:
        found: list[AnalogChannel] = []
        while True:
            fields = self._peek()
            if fields is None or not _looks_analog(fields):
                break
            found.append(self._analog(fields))
            self._at += 1
            if len(found) > MAX_CHANNELS:
                raise self._wrong("lists more channels than any recorder has", f"up to {MAX_CHANNELS}")
        if len(found) != count:
            if not found and count:
                raise self._wrong(
                    f"is {','.join(fields or [])[:60]!r}", f"the first of {count} analog channels, 10 to 13 fields"
                )
            self._note(f"{len(found)} analog channels are listed where line 2 counts {count}; the list was taken")
        return tuple(found)

    def _analog(self, fields: list[str]) -> AnalogChannel:
        if len(fields) > 13:
            # A comma inside the name: the fields behind it are counted from the end.
            extra = len(fields) - 13
            fields = [fields[0], ",".join(fields[1 : 2 + extra]), *fields[2 + extra :]]
        name = fields[1] or f"channel {fields[0]}"
        a = self._factor(fields[5], name, "multiplier a")
        b = self._factor(fields[6], name, "offset b", empty=0.0)
        ratio = [self._factor(field, name, "transformer ratio", empty=1.0) for field in fields[10:12]]
        side = fields[12].upper() if len(fields) > 12 else "P"
        if len(fields) > 12 and side not in {"P", "S", ""}:
            self._note(f"channel {name!r} is of side {side[:10]!r}, neither P nor S; taken as P")
        numbers = [self._optional(field) for field in fields[7:10]]
        while len(numbers) < 3:
            numbers.append(None)
        return AnalogChannel(
            name=name,
            phase=fields[2],
            component=fields[3],
            unit=fields[4],
            a=a,
            b=b,
            skew_us=numbers[0] or 0.0,
            least=-32767.0 if numbers[1] is None else numbers[1],
            greatest=32767.0 if numbers[2] is None else numbers[2],
            primary=ratio[0] if len(ratio) > 0 else 1.0,
            secondary=ratio[1] if len(ratio) > 1 else 1.0,
            is_secondary=side == "S",
        )

    def _factor(self, text: str, name: str, what: str, empty: float | None = None) -> float:
        if not text and empty is not None:
            return empty
        value = _number(text)
        if value is None:
            raise self._wrong(f"{what} of channel {name[:40]!r} is {text[:20]!r}", "a finite number")
        return value

    def _optional(self, text: str) -> float | None:
        if not text:
            return None
        value = _number(text)
        if value is None:
            self._note(f"{text[:20]!r} is no number and was not used")
        return value

    def _status_channels(self, count: int) -> tuple[StatusChannel, ...]:
        found: list[StatusChannel] = []
        while True:
            fields = self._peek()
            # The next part begins with the line frequency: one field.
            if fields is None or len(fields) < 2 or (len(found) >= count and not _looks_status(fields)):
                break
            normal = fields[-1] if len(fields) > 2 else ""
            found.append(
                StatusChannel(
                    name=fields[1] or f"digital {fields[0]}",
                    phase=fields[2] if len(fields) >= 5 else "",
                    component=fields[3] if len(fields) >= 5 else "",
                    normal=1 if normal == "1" else 0,
                )
            )
            self._at += 1
            if len(found) > MAX_CHANNELS:
                raise self._wrong("lists more channels than any recorder has", f"up to {MAX_CHANNELS}")
        if len(found) != count:
            self._note(f"{len(found)} digital channels are listed where line 2 counts {count}; the list was taken")
        return tuple(found)

    def _nominal(self) -> float | None:
        fields = self._take()
        if fields is None or not fields[0]:
            self._note("no line frequency")
            return None
        value = _number(fields[0])
        if value is None or not 0.0 <= value <= 1000.0:
            raise self._wrong(f"line frequency is {fields[0][:40]!r}", "hertz, such as 50", line=self._at - 1)
        return value or None

    def _sections(self) -> tuple[Section, ...]:
        fields = self._take()
        if fields is None or not fields[0]:
            self._note("no count of sampling rates; the samples' own times are taken")
            return ()
        if not fields[0].isdecimal() or int(fields[0]) > MAX_SECTIONS:
            raise self._wrong(
                f"count of sampling rates is {fields[0][:20]!r}", f"0 to {MAX_SECTIONS}", line=self._at - 1
            )
        count = int(fields[0])
        sections: list[Section] = []
        # A count of 0 is followed by one line all the same: rate 0 and the last sample.
        for _ in range(max(1, count)):
            pair = self._peek()
            if pair is None or len(pair) < 2 or "/" in pair[0] or ":" in pair[1]:
                if count:
                    self._note(f"{len(sections)} sampling rates are listed of {count}; the list was taken")
                break
            rate, last = _number(pair[0]), _number(pair[1])
            if rate is None or last is None or not 0.0 <= rate <= MAX_RATE_HZ or last < 0.0:
                raise self._wrong(
                    f"sampling rate is {','.join(pair)[:40]!r}", f"rate,last sample with 0 to {MAX_RATE_HZ:g} Hz"
                )
            self._at += 1
            sections.append(Section(rate, int(min(last, 1e15))))
        if any(section.rate_hz == 0.0 for section in sections):
            return ()
        return tuple(sections)

    def _instant(self, revision: int, what: str) -> tuple[datetime | None, int]:
        fields = self._peek()
        if fields is None:
            self._note(f"no instant {what}")
            return None, 0
        if fields[0].upper() in ENCODINGS:
            self._note(f"no instant {what}")
            return None, 0
        self._at += 1
        instant, digits = _instant_of(fields, month_first=revision == 1991)
        if instant is None:
            self._at -= 1
            self._note(f"instant {what} is {','.join(fields)[:40]!r} and was not used")
            self._at += 1
        return instant, digits

    def _encoding(self) -> str:
        fields = self._take()
        if fields is None or not fields[0]:
            self._note("no file type; told by the data")
            return ""
        name = fields[0].upper()
        if name not in ENCODINGS:
            raise self._wrong(f"file type is {fields[0][:20]!r}", ", ".join(ENCODINGS), line=self._at - 1)
        return name

    def _multiplier(self) -> float:
        fields = self._take()
        value = _number(fields[0]) if fields is not None else None
        if fields is not None and fields[0] and (value is None or value <= 0.0):
            self._at -= 1
            self._note(f"time multiplier is {fields[0][:20]!r}; taken as 1")
            self._at += 1
        return value if value is not None and value > 0.0 else 1.0


def _looks_analog(fields: list[str]) -> bool:
    # a and b are what makes a channel analog; a digital one ends at its normal state, the fifth field.
    return len(fields) >= 7


def _looks_status(fields: list[str]) -> bool:
    return 3 <= len(fields) <= 6 and fields[0].isdecimal() and fields[-1] in {"0", "1", ""}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _instant_of(fields: list[str], *, month_first: bool) -> tuple[datetime | None, int]:
    """Return an instant and how many digits its seconds' fraction has."""
    date = DATE.match(fields[0])
    time = TIME.match(fields[1]) if len(fields) > 1 else None
    if date is None or time is None:
        return None, 0
    first, second, third = (int(date[k]) for k in (1, 2, 3))
    if len(date[1]) == 4:
        year, month, day = first, second, third
    else:
        day, month, year = (second, first, third) if month_first else (first, second, third)
        if month > 12 >= day:
            day, month = month, day
        if year < 100:
            year += 1900 if year >= 70 else 2000
    fraction = time[4] or ""
    try:
        whole = datetime(year, month, day, int(time[1]), int(time[2]))  # noqa: DTZ001 - a recorder's clock has no zone
        # Seconds apart: recorders write 60 there in a leap second or by rounding.
        instant = whole + timedelta(seconds=int(time[3]), microseconds=int((fraction + "000000")[:6]))
    except (ValueError, OverflowError):
        return None, 0
    return instant, len(fraction)
