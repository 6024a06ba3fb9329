"""From wire events to the rows of a batch: what is taken, what is refused and why; no database, no clock."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from sites.metering.streams import (
    INTERVAL,
    RECORD,
    NumberedItem,
    StreamRefused,
    interval_from,
    record_from,
    stream_of,
    waveform_from,
)
from sites.registry.queries import SiteKeys
from sites.wire.foreign import Unmapped
from sites.wire.host_session import DeviceBorn, DeviceData, MetricValue, NodeBorn, NodeData, PlainData
from sites.wire.metrics import (
    ASSET_DECLARED,
    CONTROL_DEVICE,
    NAMEPLATE_NAMES,
    NODE_METRICS,
    RESENT,
    STANDING_METRICS,
    SYSTEM_METRICS,
    MetricType,
)
from sites.wire.topics import PARTITIONS, partition_of

T = TypeVar("T")

MAX_KEPT_REFUSALS: Final = 200
"""Refused messages kept of one batch; the rest is only counted, so that a flood stays cheap."""
MAX_KEPT_BYTES: Final = 4096
MAX_READINGS: Final = 200_000
MAX_NUMBERED: Final = 20_000
MAX_NUMBERED_BYTES: Final = 64_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
RULES_AGAIN: Final = timedelta(seconds=10)
MAX_UNMAPPED: Final = 256
"""Metrics kept of one gateway that nobody mapped."""
NO_LONGER_KEPT: Final = "no_longer_kept"
OLDEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
OLDEST_MS: Final = 946_684_800_000
MAX_PLANS: Final = 10_000
"""Combinations of asset and metrics whose plan is remembered."""

NODE_DECLARED: Final = {declaration.name: declaration for declaration in (*NODE_METRICS, *STANDING_METRICS)}
NODE_UNSTORED: Final = frozenset(declaration.name for declaration in SYSTEM_METRICS)
"""The nameplate in births is not stored either: the registry holds the enrolled values, which decide."""
SAME_TICK: Final = timedelta(seconds=2)
_TEXTS: Final = frozenset({MetricType.STRING})
"""Live values that are no readings."""
_MILLISECOND: Final = timedelta(milliseconds=1)
_NAN: Final = float("nan")

LIVE_FIELDS: Final = (
    "frequency_hz", "voltage_pu", "mode", "pcc_kw", "battery_kw", "pv_kw", "genset_kw", "load_kw", "soc_ratio",
    "temperature_c", "genset_running", "samples_late", "service_kw", "required_kw", "discharge_kw", "charge_kw",
    "usable_energy_kwh", "absorbable_energy_kwh", "saturates_in_s",
)  # fmt: skip
STANDING_FIELDS: Final = tuple(declaration.name for declaration in STANDING_METRICS)
_STANDING: Final = frozenset(STANDING_FIELDS)
_LIVE: Final = frozenset(LIVE_FIELDS)
STANDING_TEXT: Final = re.compile(r"[a-z0-9_:, ]{0,200}\Z")
"""Names of alarms, contacts and causes: what a page shows of them comes from a site."""


ReadingItem = tuple[int, str, tuple[str, ...], int, int, tuple[float, ...]]
"""Site's key, asset's name or "", metrics, measured and received [ms since 1970 UTC], values."""


@dataclass(slots=True)
class LiveRow:
    """The newest values of one site, each the latest received."""

    site_id: str
    measured_at: datetime
    received_at: datetime
    values: dict[str, Any] = field(default_factory=dict)
    """Subset of LIVE_FIELDS, or of STANDING_FIELDS."""


@dataclass(slots=True)
class Refusal:
    """One refused message or metric, as it is kept."""

    received_at: datetime
    topic: str
    error: str
    detail: str
    size_bytes: int
    payload: bytes


@dataclass(slots=True)
class Unseen:
    """A metric that nobody mapped."""

    type: str
    unit: str
    value: str
    seen_at: datetime
    count: int = 0


@dataclass(slots=True)
class Batch:
    """Rows on their way to the database, bounded in every part.

    When the database does not keep up, the oldest live readings are dropped first: they carry no
    number and nothing was promised for them. Numbered data beyond the bound is not taken in: its
    site was not told `stored_through`, keeps it and sends it again.
    """

    readings: list[ReadingItem] = field(default_factory=list)
    live: dict[int, LiveRow] = field(default_factory=dict)
    """Site's key -> its newest row; one per site and batch."""
    standing: dict[int, LiveRow] = field(default_factory=dict)
    """Site's key -> what it stands at, where that was told anew."""
    numbered: list[NumberedItem] = field(default_factory=list)
    numbered_bytes: int = 0
    refused_numbers: dict[tuple[int, str, int], str] = field(default_factory=dict)
    """(site's key, stream, number) -> error, of content that can never be accepted."""
    refusals: list[Refusal] = field(default_factory=list)
    refused: int = 0
    """How often something was refused, kept or not."""
    unmapped: dict[tuple[int, str, str], Unseen] = field(default_factory=dict)
    """(site's key, device, name) -> what was seen of a gateway's metric that nobody mapped."""
    counts: Counter[str] = field(default_factory=Counter)
    due: set[tuple[int, int]] = field(default_factory=set)
    """(partition, minute since 1970) that the readings belong to: their roll-ups have to be made."""
    first_at: datetime | None = None
    """When the oldest message in it arrived."""
    partitions: frozenset[int] = frozenset()
    """Partitions that its worker must still hold when it is written."""
    born: set[str] = field(default_factory=set)
    """Sites whose births came with it: they are told their marks when all that came before is stored."""

    @property
    def rows(self) -> int:
        """Rows that the batch will write, about."""
        return len(self.readings) + len(self.live) + len(self.standing) + len(self.numbered) + len(self.refusals)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.rows or self.counts or self.refused_numbers or self.born or self.unmapped)

    def sealed(self) -> Batch:
        """Return the batch as it is handed to another thread: with its own copy of the live rows."""
        self.live = {pk: replace(row, values=dict(row.values)) for pk, row in self.live.items()}
        self.standing = {pk: replace(row, values=dict(row.values)) for pk, row in self.standing.items()}
        return self

    def refuse(
        self,
        *,
        error: str,
        topic: str,
        detail: str,
        payload: bytes,
        received_at: datetime,
        size_bytes: int | None = None,
    ) -> None:
        """Count a refusal and keep the message, cut, while there is room."""
        self.counts[error[:40]] += 1
        self.refused += 1
        if len(self.refusals) < MAX_KEPT_REFUSALS:
            size = len(payload) if size_bytes is None else size_bytes
            kept = bytes(payload[:MAX_KEPT_BYTES])
            self.refusals.append(
                Refusal(received_at, _clean(topic, 256), _clean(error, 40), _clean(detail, 400), size, kept)
            )

    def take_readings(self, readings: list[ReadingItem]) -> None:
        """Add readings, dropping the oldest beyond the bound and counting them."""
        self.readings.extend(readings)
        excess = len(self.readings) - MAX_READINGS
        if excess > 0:
            del self.readings[:excess]
            self.counts["reading_dropped"] += excess

    def take_numbered(self, item: NumberedItem) -> None:
        """Add a numbered item, or leave it with its site when the bound is reached."""
        if len(self.numbered) >= MAX_NUMBERED or self.numbered_bytes + item.size_bytes > MAX_NUMBERED_BYTES:
            self.counts["numbered_deferred"] += 1
            return
        self.numbered.append(item)
        self.numbered_bytes += item.size_bytes


@dataclass(slots=True)
class Arrival:
    """One decoded event with what it came in and where its rows go."""

    event: Any
    topic: str
    payload: bytes
    received_at: datetime
    batch: Batch
    is_ahead: bool = False
    """Whether the wire left out metrics because they lie in the future: the same message may be
    accepted later, so its number must not be given up."""

    @property
    def asset(self) -> str:
        """The asset's name, empty for the site itself."""
        return self.event.device if isinstance(self.event, DeviceBorn | DeviceData) else ""

    @property
    def is_birth(self) -> bool:
        """Whether the event is a birth certificate."""
        return isinstance(self.event, NodeBorn | DeviceBorn)

    def refuse(self, error: str, detail: str) -> None:
        """Count and keep the message as refused."""
        self.batch.refuse(
            error=error, topic=self.topic, detail=detail, payload=self.payload, received_at=self.received_at
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the values of one kind of message go."""

    stored: tuple[str, ...]
    stored_at: tuple[int, ...]
    """Metrics kept as readings and their places in the message."""
    live: tuple[tuple[int, str], ...]
    """Place in the message and column of the live state."""
    is_plain: bool
    """Whether nothing in it needs more than its place: texts and instants of what a site stands at do."""


@dataclass(slots=True)
class Sorter:
    """Sorts decoded wire events into a batch and keeps the latest values of each site."""

    directory: Mapping[str, SiteKeys]
    max_clock_ahead_s: float
    live: dict[int, LiveRow] = field(default_factory=dict)
    """Site's key -> latest values of all sites seen; lives longer than a batch."""
    standing: dict[int, LiveRow] = field(default_factory=dict)
    """Site's key -> what it stands at: a birth tells all of it, later messages what changed."""
    asked: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)
    """(site's key, stream) -> first and last number that the site was asked to send again."""
    unmapped: dict[int, set[tuple[str, str]]] = field(default_factory=dict)
    """Site's key -> metrics of its gateway that nobody mapped, up to MAX_UNMAPPED."""
    rules_read_at: datetime = OLDEST
    """When the registry was last asked for rules because of what nobody mapped."""
    unknown_seen: bool = False
    """A site or asset that the directory does not hold was met: it may have been enrolled since."""
    partitions: frozenset[int] = frozenset(range(PARTITIONS))
    """Partitions whose sites are this worker's."""
    _plans: dict[tuple[str, tuple[str, ...]], _Plan] = field(default_factory=dict)

    def add(self, arrival: Arrival) -> None:
        """Put a birth or data event's rows into its batch; refuse what is unknown or out of range."""
        event, asset = arrival.event, arrival.asset
        site = self.directory.get(event.site_id)
        if site is None:
            if partition_of(event.site_id) not in self.partitions:
                # Given back a moment ago: its new holder has the message too.
                return
            self.unknown_seen = True
            arrival.refuse("site_unknown", f"site {event.site_id} is not enrolled")
            return
        if asset == CONTROL_DEVICE:
            # Desired and reported state are the dispatcher's.
            return
        if asset and asset not in site.assets:
            self.unknown_seen = True
            arrival.refuse("asset_unknown", f"site {event.site_id} has no enrolled asset {asset}")
            return
        if not asset and not arrival.is_birth and f"{RESENT}stream" in event.values:
            self._add_answer(arrival, site)
            return
        stream = None if arrival.is_birth else stream_of(event.values)
        if stream is not None and not arrival.is_ahead:
            self._add_numbered(stream, arrival, site)
        names = [name for name in event.values if stream is None or not name.startswith(f"{stream}/")]
        self._add_values(names, arrival, site)

    def note_unmapped(self, event: Unmapped, batch: Batch, received_at: datetime) -> None:
        """Count what nobody mapped, for people to look at; beyond the bound it is only counted."""
        site = self.directory.get(event.site_id)
        if site is None:
            return
        if received_at - self.rules_read_at > RULES_AGAIN:
            # Somebody may have mapped them since.
            self.rules_read_at, self.unknown_seen = received_at, True
        known = self.unmapped.setdefault(site.pk, set())
        for metric in event.metrics:
            key = (metric.device, metric.name)
            if key not in known:
                if len(known) >= MAX_UNMAPPED:
                    batch.counts["unmapped_dropped"] += 1
                    continue
                known.add(key)
            seen = batch.unmapped.setdefault((site.pk, *key), Unseen(metric.type, metric.unit, "", received_at))
            seen.type, seen.unit, seen.seen_at = metric.type, metric.unit, received_at
            seen.value = metric.value or seen.value
            seen.count += 1

    def _add_answer(self, arrival: Arrival, site: SiteKeys) -> None:
        """Settle the numbers that a site was asked for and no longer has: nobody waits for them any more."""
        values = {name.removeprefix(RESENT): metric.value for name, metric in arrival.event.values.items()}
        stream, first, last, refusal = (values.get(name) for name in ("stream", "first", "last", "refusal"))
        asked = self.asked.get((site.pk, str(stream)))
        if asked is None:
            arrival.refuse("resend_unasked", f"site {arrival.event.site_id} was not asked for {stream!r:.60}")
            return
        if refusal:
            arrival.batch.counts[f"resend_{refusal}"] += 1
        if refusal == NO_LONGER_KEPT and isinstance(first, int) and isinstance(last, int):
            del self.asked[site.pk, str(stream)]
            for number in range(max(first, asked[0]), min(last, asked[1]) + 1):
                arrival.batch.refused_numbers[site.pk, str(stream), number] = NO_LONGER_KEPT

    def _add_numbered(self, stream: str, arrival: Arrival, site: SiteKeys) -> None:
        event, asset, received_at = arrival.event, arrival.asset, arrival.received_at
        latest = received_at + timedelta(seconds=self.max_clock_ahead_s)
        name = asset if stream == INTERVAL else stream
        values = {name: metric.value for name, metric in event.values.items()}
        item: NumberedItem
        try:
            if bool(asset) != (stream == INTERVAL):
                owner = "an asset" if stream == INTERVAL else "the site"
                raise StreamRefused("metric_unknown", f"{stream}/number belongs to {owner}")
            if stream == INTERVAL:
                item = interval_from(
                    values,
                    site_pk=site.pk,
                    site_id=event.site_id,
                    asset=asset,
                    asset_pk=site.assets[asset],
                    is_historical=any(metric.is_historical for metric in event.values.values()),
                    received_at=received_at,
                    latest=latest,
                )
            else:
                make = record_from if stream == RECORD else waveform_from
                item = make(values, site_pk=site.pk, site_id=event.site_id, received_at=received_at, latest=latest)
        except StreamRefused as refusal:
            arrival.refuse(refusal.error, f"site {event.site_id} stream {name}: {refusal}")
            if refusal.number is not None and len(arrival.batch.refused_numbers) < MAX_NUMBERED:
                arrival.batch.refused_numbers[site.pk, name, refusal.number] = refusal.error
            return
        arrival.batch.take_numbered(item)

    def add_plain(self, data: PlainData, topic: str, payload: bytes, received_at: datetime, batch: Batch) -> None:
        """Put a plain message's values into a batch; refuse what is unknown or too old."""
        site = self.directory.get(data.site_id)
        asset = data.device or ""
        if site is None or (asset and asset not in site.assets) or data.at_ms < OLDEST_MS:
            self.add(self._arrival(data, topic, payload, received_at, batch))
            return
        key = (asset, data.names)
        plan = self._plans.get(key) or self._plan(asset, data.names)
        if not plan.is_plain:
            self.add(self._arrival(data, topic, payload, received_at, batch))
            return
        values_in = data.values
        if plan.stored:
            row: Any = tuple(_NAN if values_in[i] is None else values_in[i] for i in plan.stored_at)
            received_ms = ms_of(received_at)
            batch.take_readings([(site.pk, asset, plan.stored, data.at_ms, received_ms, row)])
            batch.due.add((site.partition, data.at_ms // 60_000))
        if plan.live:
            self._update(
                self.live, batch.live, data.site_id, site.pk, instant_of(data.at_ms), received_at,
                {column: values_in[i] for i, column in plan.live},
            )  # fmt: skip

    @staticmethod
    def _arrival(data: PlainData, topic: str, payload: bytes, received_at: datetime, batch: Batch) -> Arrival:
        """Return a plain message as any other, to be judged metric by metric."""
        values = {
            name: MetricValue(value, data.at_ms, False) for name, value in zip(data.names, data.values, strict=True)
        }
        event = (
            DeviceData(data.site_id, data.device, values, data.at_ms)
            if data.device
            else NodeData(data.site_id, values, data.at_ms)
        )
        return Arrival(event, topic, payload, received_at, batch)

    def _plan(self, asset: str, names: tuple[str, ...]) -> _Plan:
        declared = ASSET_DECLARED if asset else NODE_DECLARED
        stored_at = tuple(i for i, name in enumerate(names) if declared[name].type not in _TEXTS)
        live = [(i, column) for i, name in enumerate(names) if (column := _live_name(name, asset)) is not None]
        is_plain = bool(asset) or _STANDING.isdisjoint(names)
        plan = _Plan(tuple(names[i] for i in stored_at), stored_at, tuple(live), is_plain)
        if len(self._plans) < MAX_PLANS:
            self._plans[asset, names] = plan
        return plan

    def _add_values(self, names: list[str], arrival: Arrival, site: SiteKeys) -> None:
        event, asset, received_at = arrival.event, arrival.asset, arrival.received_at
        readings: dict[int, dict[str, float]] = {}
        newest: dict[str, Any] = {}
        standing: dict[str, Any] = {}
        latest_at = standing_at = OLDEST
        # The metrics of a message share one or two instants, and making one costs as much as all the rest.
        instants: dict[int, datetime | None] = {}
        for name in names:
            if _is_unstored(name, asset, arrival.is_birth):
                continue
            metric = event.values[name]
            value = metric.value
            at_ms = event.at_ms if metric.timestamp_ms is None else metric.timestamp_ms
            if at_ms not in instants:
                instants[at_ms] = instant_of_ms(at_ms)
            at = instants[at_ms]
            problem = _problem(name, value, asset, at, received_at, self.max_clock_ahead_s)
            if at is None or problem is not None:
                error, detail = problem or ("value_out_of_range", "no timestamp")
                arrival.refuse(error, f"site {event.site_id} {asset} {name}: {detail}")
                continue
            live_name = _live_name(name, asset)
            kind = NODE_DECLARED[name].type if not asset else None
            if isinstance(value, int | float) and kind is not MetricType.DATETIME:
                readings.setdefault(at_ms, {})[name] = float(value)
            if metric.is_historical:
                continue
            if not asset and name in _STANDING:
                standing[name] = _live_value(value, kind)
                standing_at = max(standing_at, at)
            elif live_name is not None:
                newest[live_name] = _live_value(value, kind)
                latest_at = max(latest_at, at)
        received_ms = ms_of(received_at)
        arrival.batch.take_readings(
            [(site.pk, asset, tuple(row), at_ms, received_ms, tuple(row.values())) for at_ms, row in readings.items()]
        )
        arrival.batch.due.update((site.partition, at_ms // 60_000) for at_ms in readings)
        if newest:
            self._update(self.live, arrival.batch.live, event.site_id, site.pk, latest_at, received_at, newest)
        if standing:
            known = arrival.batch.standing
            self._update(self.standing, known, event.site_id, site.pk, standing_at, received_at, standing)

    @staticmethod
    def _update(
        known: dict[int, LiveRow], into: dict[int, LiveRow],
        site_id: str, site_pk: int, at: datetime, received_at: datetime, values: dict[str, Any],
    ) -> None:  # fmt: skip
        row = known.get(site_pk)
        if row is None:
            row = known[site_pk] = LiveRow(site_id, at, received_at)
        elif at < row.measured_at:
            if at < row.measured_at - SAME_TICK:
                # A late message must not put old values over new ones; devices of a site may differ by a tick.
                return
            at = row.measured_at
        row.measured_at = at
        row.received_at = received_at
        row.values.update(values)
        into[site_pk] = row


def split(batch: Batch) -> tuple[Batch, Batch] | None:
    """Return a batch as two halves, or None when it holds one row only; counts stay with the first."""
    if batch.rows + len(batch.refused_numbers) <= 1:
        return None
    first, second = Batch(counts=batch.counts, unmapped=batch.unmapped), Batch()
    for part in (first, second):
        part.due, part.partitions = batch.due, batch.partitions
    first.readings, second.readings = _halves(batch.readings)
    first.numbered, second.numbered = _halves(batch.numbered)
    first.refusals, second.refusals = _halves(batch.refusals)
    for name in ("live", "standing", "refused_numbers"):
        head, tail = _halves(list(getattr(batch, name).items()))
        setattr(first, name, dict(head))
        setattr(second, name, dict(tail))
    if second.is_empty:
        # Each part held at most one row: one part a batch.
        return _one_part_each(batch)
    return first, second


def _one_part_each(batch: Batch) -> tuple[Batch, Batch]:
    second = Batch(due=batch.due, partitions=batch.partitions)
    for name in ("readings", "numbered", "refusals", "live", "standing", "refused_numbers"):
        part = getattr(batch, name)
        if part:
            setattr(second, name, part)
            setattr(batch, name, type(part)())
            break
    return batch, second


def _halves(rows: list[T]) -> tuple[list[T], list[T]]:
    middle = (len(rows) + 1) // 2
    return rows[:middle], rows[middle:]


def instant_of(milliseconds: int) -> datetime:
    """Return an instant from milliseconds since 1970, of which a calendar is known to hold it."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def instant_of_ms(milliseconds: int | None) -> datetime | None:
    """Return an instant from milliseconds since 1970, or None when no calendar holds it."""
    if milliseconds is None or not 0 <= milliseconds < 253_402_300_800_000:
        return None
    return instant_of(milliseconds)


def _problem(
    name: str, value: Any, asset: str, at: datetime | None, received_at: datetime, max_clock_ahead_s: float
) -> tuple[str, str] | None:
    """Return (error, detail) of a value that cannot be stored, or None."""
    declared = (ASSET_DECLARED if asset else NODE_DECLARED).get(name)
    if declared is None or "/" in name:
        return "metric_unknown", "not declared for " + ("an asset" if asset else "a site")
    if at is None or at < OLDEST:
        return "value_out_of_range", f"timestamp is {at}, accepted: from {OLDEST.year}"
    if at > received_at + timedelta(seconds=max_clock_ahead_s):
        return "timestamp_in_future", f"{at.isoformat()}, accepted: up to {max_clock_ahead_s:g} s ahead"
    if value is None:
        return None
    if declared.type is MetricType.BOOLEAN:
        return None if isinstance(value, bool) else ("metric_type_mismatch", f"{value!r:.60}, accepted: a boolean")
    if declared.type is MetricType.STRING:
        if declared.choices:
            if value in declared.choices:
                return None
            return "value_out_of_range", f"{value!r:.60}, accepted: {', '.join(declared.choices)}"
        if isinstance(value, str) and STANDING_TEXT.match(value):
            return None
        return "value_out_of_range", f"{value!r:.60}, accepted: up to 200 of a-z 0-9 _ : , and blanks"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "metric_type_mismatch", f"{value!r:.60}, accepted: a number"
    if not math.isfinite(value):
        return "value_out_of_range", f"{value!r}, accepted: a finite number"
    return None


def _live_value(value: Any, kind: MetricType | None) -> Any:
    """Return a value as the live state holds it: an instant as one, a text that is not known as an empty one."""
    if kind is MetricType.DATETIME:
        return instant_of_ms(value)
    return "" if value is None and kind is MetricType.STRING else value


def _is_unstored(name: str, asset: str, is_birth: bool) -> bool:
    if asset:
        return is_birth and (name in NAMEPLATE_NAMES or "/" in name)
    return name in NODE_UNSTORED or (is_birth and "/" in name)


def _live_name(name: str, asset: str) -> str | None:
    """Return the column of the live state that a metric fills, or None."""
    if not asset:
        return name if name in _LIVE else None
    if name == "power_kw":
        column = f"{asset}_kw"
        return column if column in _LIVE else None
    if asset == "battery" and name in {"soc_ratio", "temperature_c"}:
        return name
    return "genset_running" if (asset, name) == ("genset", "running") else None


def ms_of(at: datetime) -> int:
    """Return an instant as whole milliseconds since 1970."""
    return (at - EPOCH) // _MILLISECOND


def _clean(text: str, length: int) -> str:
    """Return a text as both databases store it: cut, without NUL and lone surrogates."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()[:length]
