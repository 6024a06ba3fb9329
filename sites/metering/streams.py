"""The numbered streams of a site: intervals, high-rate records, waveforms; their validity rules."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sites.core.readings import Quality, TimeQuality
from sites.wire.errors import WireError
from sites.wire.records import unpack_samples

INTERVAL: Final = "interval"
RECORD: Final = "record"
WAVEFORM: Final = "waveform"
STREAMS: Final = (INTERVAL, RECORD, WAVEFORM)

MAX_NUMBER: Final = 2**53
MAX_COLUMNS: Final = 32
MAX_SAMPLE_BYTES: Final = 8_000_000
"""Of one record or waveform, unpacked."""
MAX_REGISTER: Final = 2**62
MAX_KW: Final = 100_000
"""Of one asset, as in its live power. More energy than that in an interval is no measurement, and a few
of 2**62 uWh would overflow the sums of everybody."""
MAX_FUEL_L_PER_KWH: Final = 1
OLDEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LONGEST: Final = timedelta(days=31)
"""A site whose uplink was away for longer than its controller keeps the ends of minutes (17 hours) sends one long
interval over the rest: its energy is right, and refusing it for good would lose it."""
MERGED: Final = timedelta(minutes=10)
"""Most that a site meters into one interval, or twice its length, while a clock that was set back catches up."""
MAX_SERVED: Final = 16
"""Dispatches served in one interval."""
LIVE_EARLY: Final = timedelta(seconds=2)
LIVE_LATE: Final = timedelta(seconds=30)
"""An interval that comes as it happens ends within these of its arrival; another shows a wrong clock."""

INTERVAL_METRICS: Final = frozenset(
    f"interval/{name}"
    for name in (
        "number", "starts_at", "ends_at", "into_bus_uwh", "from_bus_uwh", "service_into_uwh", "service_from_uwh",
        "served", "served_into_uwh", "served_from_uwh", "fuel_ul", "register_into_uwh", "register_from_uwh", "quality",
        "time_quality", "service_uwh",
    )
)  # fmt: skip

_QUALITY_RANK: Final = {Quality.GOOD.value: 0, Quality.QUESTIONABLE.value: 1, Quality.INVALID.value: 2}


class StreamRefused(Exception):
    """A numbered item that cannot be stored.

    ``number`` is set when its content can never be accepted, so that waiting for it would hold the
    stream for ever; it stays None when the same item may be accepted later (its site's clock is
    ahead now) or when not even its number can be read.
    """

    def __init__(self, error: str, detail: str, number: int | None = None) -> None:
        super().__init__(detail)
        self.error = error
        self.number = number


@dataclass(slots=True)
class NumberedItem(ABC):
    """What all numbered items have in common."""

    site_pk: int
    site_id: str
    stream: str
    """Asset's name, ``record`` or ``waveform``: the name of the stream on the wire."""
    number: int
    starts_at: datetime
    received_at: datetime

    @property
    def size_bytes(self) -> int:
        """Memory that the item holds, about."""
        return 400

    @property
    @abstractmethod
    def content(self) -> tuple[Any, ...]:
        """What makes two items with one number the same or different."""


@dataclass(slots=True)
class IntervalItem(NumberedItem):
    """Energy of one asset in one numbered interval."""

    asset_pk: int
    ends_at: datetime
    into_bus_uwh: int
    from_bus_uwh: int
    service_into_uwh: int
    service_from_uwh: int
    services: tuple[tuple[str, int, int], ...]
    """(dispatch id, into, from) [uWh] each, by dispatch id."""
    fuel_ul: int
    register_into_uwh: int
    register_from_uwh: int
    quality: str
    time_quality: str
    is_historical: bool

    @property
    def content(self) -> tuple[Any, ...]:
        """Everything measured; both qualities stand apart, because the platform may lower them."""
        return (
            self.starts_at, self.ends_at, self.into_bus_uwh, self.from_bus_uwh, self.service_into_uwh,
            self.service_from_uwh, self.services, self.fuel_ul, self.register_into_uwh, self.register_from_uwh,
        )  # fmt: skip


@dataclass(slots=True)
class SampledItem(NumberedItem):
    """What records and waveforms have in common."""

    rate_hz: float
    columns: tuple[str, ...]
    samples: bytes

    @property
    def size_bytes(self) -> int:
        """Memory that the item holds, about."""
        return 400 + len(self.samples)


@dataclass(slots=True)
class RecordItem(SampledItem):
    """A chunk of a high-rate record."""

    ends_at: datetime

    @property
    def content(self) -> tuple[Any, ...]:
        """The samples with their place in time."""
        return self.starts_at, self.rate_hz, self.columns, self.samples


@dataclass(slots=True)
class WaveformItem(SampledItem):
    """The waveform of an islanding event."""

    trigger_at: datetime
    cause: str

    @property
    def content(self) -> tuple[Any, ...]:
        """The samples with their place in time and their cause."""
        return self.starts_at, self.trigger_at, self.rate_hz, self.cause, self.columns, self.samples


def stream_of(names: Iterable[str]) -> str | None:
    """Return which numbered stream a message belongs to by its metric names, or None."""
    for name in names:
        head, sign, _ = name.partition("/")
        if sign and head in STREAMS:
            return head
    return None


def same_content(item: NumberedItem, content: tuple[Any, ...], quality: str) -> bool:
    """Tell whether an item repeats stored content: equal values, and a quality no worse than stored."""
    if item.content != content:
        return False
    return not isinstance(item, IntervalItem) or _QUALITY_RANK[item.quality] <= _QUALITY_RANK.get(quality, -1)


def most_in(duration: timedelta) -> tuple[int, int]:
    """Return the most energy [uWh] and fuel [ul] that one asset's interval of this length can hold."""
    us = duration // timedelta(microseconds=1)
    # kW x us: 1 kW for 3.6e9 us is 1e9 uWh; rounded up, for registers are read in whole units.
    return MAX_KW * us * 10 // 36 + 1, MAX_KW * MAX_FUEL_L_PER_KWH * us // 3_600 + 1


def interval_from(
    values: Mapping[str, Any],
    *,
    site_pk: int,
    site_id: str,
    asset: str,
    asset_pk: int,
    is_historical: bool,
    received_at: datetime,
    latest: datetime,
) -> IntervalItem:
    """Return the interval that an ``interval/…`` message carries.

    Raises StreamRefused naming the field and what is accepted; ``latest`` is the newest instant believed.
    """
    number = _number(values, INTERVAL)
    fields = _Fields(values, INTERVAL, number)
    starts_at = fields.instant_ms("starts_at", latest)
    ends_at = fields.instant_ms("ends_at", latest)
    if not starts_at < ends_at <= starts_at + LONGEST:
        accepted = f"after {starts_at.isoformat()}, within {LONGEST.days} days"
        message = f"number {number} ends at {ends_at.isoformat()}, accepted: {accepted}"
        raise StreamRefused("interval_invalid", message, number)
    quality = fields.text("quality", 12)
    if quality not in _QUALITY_RANK:
        raise StreamRefused("interval_invalid", f"quality is {quality!r}, accepted: {', '.join(_QUALITY_RANK)}", number)
    held = ends_at - starts_at
    if fields.values.get("interval/time_quality") == TimeQuality.STEPPED:
        # While a clock that was set back catches up an interval holds metering of more than its own time.
        held = 2 * held + MERGED
    most_uwh, most_ul = most_in(held)
    service_into_uwh, service_from_uwh = _service(fields, most_uwh)
    return IntervalItem(
        site_pk=site_pk,
        site_id=site_id,
        stream=asset,
        number=number,
        starts_at=starts_at,
        received_at=received_at,
        asset_pk=asset_pk,
        ends_at=ends_at,
        into_bus_uwh=fields.whole("into_bus_uwh", 0, most_uwh),
        from_bus_uwh=fields.whole("from_bus_uwh", 0, most_uwh),
        service_into_uwh=service_into_uwh,
        service_from_uwh=service_from_uwh,
        services=_services(fields, service_into_uwh, service_from_uwh),
        fuel_ul=fields.whole("fuel_ul", 0, most_ul, default=0),
        register_into_uwh=fields.whole("register_into_uwh", 0),
        register_from_uwh=fields.whole("register_from_uwh", 0),
        quality=quality,
        time_quality=_time_quality(fields, ends_at, received_at, is_historical=is_historical),
        is_historical=is_historical,
    )


def record_from(
    values: Mapping[str, Any], *, site_pk: int, site_id: str, received_at: datetime, latest: datetime
) -> RecordItem:
    """Return the chunk that a ``record/…`` message carries; raise StreamRefused like interval_from."""
    fields = _Fields(values, RECORD, _number(values, RECORD))
    starts_at = fields.instant_ms("starts_at", latest)
    sampled, rows = _sampled(fields, site_pk=site_pk, site_id=site_id, starts_at=starts_at, received_at=received_at)
    return RecordItem(**sampled, ends_at=starts_at + timedelta(seconds=rows / sampled["rate_hz"]))


def waveform_from(
    values: Mapping[str, Any], *, site_pk: int, site_id: str, received_at: datetime, latest: datetime
) -> WaveformItem:
    """Return the waveform that a ``waveform/…`` message carries; raise StreamRefused like interval_from."""
    fields = _Fields(values, WAVEFORM, _number(values, WAVEFORM))
    # Microseconds: at 10 kHz a millisecond would move the waveform by ten samples.
    starts_at = fields.instant_us("starts_at_us", latest)
    trigger_at = fields.instant_us("trigger_at_us", latest)
    sampled, _ = _sampled(fields, site_pk=site_pk, site_id=site_id, starts_at=starts_at, received_at=received_at)
    return WaveformItem(**sampled, trigger_at=trigger_at, cause=fields.text("cause", 40))


def _sampled(
    fields: _Fields, *, site_pk: int, site_id: str, starts_at: datetime, received_at: datetime
) -> tuple[dict[str, Any], int]:
    """Return what a record and a waveform have in common, by field, and the number of rows."""
    rate_hz = fields.rate()
    columns, samples, rows = fields.samples()
    common = {
        "site_pk": site_pk, "site_id": site_id, "stream": fields.stream, "number": fields.number,
        "starts_at": starts_at, "received_at": received_at, "rate_hz": rate_hz, "columns": columns, "samples": samples,
    }  # fmt: skip
    return common, rows


def _service(fields: _Fields, most_uwh: int) -> tuple[int, int]:
    """Return the service energy (into, from) [uWh]; a site of version 1 tells its net only."""
    if "interval/service_uwh" in fields.values:
        net = fields.whole("service_uwh", -most_uwh, most_uwh)
        return max(net, 0), max(-net, 0)
    return (
        fields.whole("service_into_uwh", 0, most_uwh, default=0),
        fields.whole("service_from_uwh", 0, most_uwh, default=0),
    )


def _services(fields: _Fields, into_uwh: int, from_uwh: int) -> tuple[tuple[str, int, int], ...]:
    """Return whose service it was, which never adds up to more than the service in all."""
    ids, ins, outs = (fields.row(name) for name in ("served", "served_into_uwh", "served_from_uwh"))
    if not len(ids) == len(ins) == len(outs) <= MAX_SERVED:
        raise fields.refused("served", ids, f"up to {MAX_SERVED} dispatch ids with an energy each way for each")
    for dispatch_id in ids:
        if not isinstance(dispatch_id, str) or not 1 <= len(dispatch_id) <= 100 or not dispatch_id.isprintable():
            raise fields.refused("served", dispatch_id, "dispatch ids of 1 to 100 printable characters")
    if len(set(ids)) != len(ids):
        raise fields.refused("served", ids, "each dispatch id once")
    for name, parts, whole in (("served_into_uwh", ins, into_uwh), ("served_from_uwh", outs, from_uwh)):
        # Two registers, each rounded to whole uWh where it was read.
        if any(part < 0 for part in parts) or sum(parts) > whole + 2 * len(parts):
            raise fields.refused(name, parts, f"0 and more each, {whole} in all")
    return tuple(sorted(zip(ids, ins, outs, strict=True)))


def _time_quality(fields: _Fields, ends_at: datetime, received_at: datetime, *, is_historical: bool) -> str:
    told = fields.values.get("interval/time_quality")
    if not is_historical and not -LIVE_EARLY <= received_at - ends_at <= LIVE_LATE:
        # What comes as it happens shows the site's clock, whatever the site believes of it.
        return TimeQuality.DISPUTED.value
    return TimeQuality.UNKNOWN.value if told is None else str(told)


def _number(values: Mapping[str, Any], stream: str) -> int:
    value = values.get(f"{stream}/number")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_NUMBER:
        raise StreamRefused(f"{stream}_invalid", f"{stream}/number is {value!r:.60}, accepted: a whole number from 1")
    return value


@dataclass(slots=True)
class _Fields:
    """The fields of one item, each checked as it is read."""

    values: Mapping[str, Any]
    stream: str
    number: int

    def refused(self, name: str, value: object, accepted: str) -> StreamRefused:
        shown = "missing" if value is None else f"{value!r:.60}"
        message = f"number {self.number}: {self.stream}/{name} is {shown}, accepted: {accepted}"
        return StreamRefused(f"{self.stream}_invalid", message, self.number)

    def whole(self, name: str, low: int, high: int = MAX_REGISTER, *, default: int | None = None) -> int:
        value = self.values.get(f"{self.stream}/{name}", default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.refused(name, value, f"a whole number from {low} to {high}")
        return value

    def row(self, name: str) -> list[Any]:
        value = self.values.get(f"{self.stream}/{name}")
        if value is not None and not isinstance(value, list):
            raise self.refused(name, value, "an array")
        return value or []

    def text(self, name: str, longest: int) -> str:
        value = self.values.get(f"{self.stream}/{name}")
        if not isinstance(value, str) or not 1 <= len(value) <= longest or re.search(r"[\x00-\x1f]", value):
            raise self.refused(name, value, f"1 to {longest} printable characters")
        return value

    def rate(self) -> float:
        value = self.values.get(f"{self.stream}/rate_hz")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1.0 <= value <= 1e6:
            raise self.refused("rate_hz", value, "1 to 1000000")
        return float(value)

    def instant_ms(self, name: str, latest: datetime) -> datetime:
        return self._instant(name, 1_000, latest)

    def instant_us(self, name: str, latest: datetime) -> datetime:
        return self._instant(name, 1, latest)

    def _instant(self, name: str, unit_us: int, latest: datetime) -> datetime:
        value = self.values.get(f"{self.stream}/{name}")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value * unit_us < 250_000_000_000_000_000:
            raise self.refused(name, value, f"whole {'ms' if unit_us > 1 else 'us'} since 1970")
        # Whole microseconds: a float of seconds would lose the last digits.
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value * unit_us)
        if at < OLDEST:
            raise self.refused(name, value, f"from the year {OLDEST.year}")
        if at > latest:
            raise StreamRefused(
                "timestamp_in_future",
                f"number {self.number}: {self.stream}/{name} is {at.isoformat()}, accepted: up to {latest.isoformat()}",
            )
        return at

    def samples(self) -> tuple[tuple[str, ...], bytes, int]:
        """Return the columns, the packed samples and their number of rows, after unpacking them once."""
        text = self.text("columns", 1000)
        columns = tuple(text.split(","))
        if len(set(columns)) != len(columns) or len(columns) > MAX_COLUMNS or not all(columns):
            raise self.refused("columns", text, f"1 to {MAX_COLUMNS} different names, comma separated")
        data = self.values.get(f"{self.stream}/samples")
        if not isinstance(data, bytes):
            raise self.refused("samples", data, "bytes")
        try:
            rows = len(unpack_samples(data, len(columns), MAX_SAMPLE_BYTES))
        except WireError as error:
            message = f"number {self.number}: {self.stream}/samples: {error}"
            raise StreamRefused(f"{self.stream}_invalid", message, self.number) from None
        if rows == 0:
            raise self.refused("samples", b"", "at least one row")
        return columns, data, rows
