"""From wire events to the rows of a batch: what is taken, what is refused and why; no database, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sites.metering.batches import MAX_NUMBERED, Batch, LiveRow, Unseen
from sites.metering.instants import OLDEST, OLDEST_MS, instant_of, instant_of_ms, ms_of
from sites.metering.judging import (
    LIVE_TEXTS,
    NODE_DECLARED,
    STANDING,
    is_unstored,
    live_name,
    live_value,
    problem_with,
)
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
from sites.wire.host_events import DeviceBorn, DeviceData, NodeBorn, NodeData
from sites.wire.judging import MetricValue
from sites.wire.metrics import ASSET_DECLARED, CONTROL_DEVICE, RESENT, MetricType
from sites.wire.plain import PlainData
from sites.wire.topics import PARTITIONS, partition_of

RULES_AGAIN: Final = timedelta(seconds=10)
MAX_UNMAPPED: Final = 256
"""Metrics kept of one gateway that nobody mapped."""
NO_LONGER_KEPT: Final = "no_longer_kept"
MAX_PLANS: Final = 10_000
"""Combinations of asset and metrics whose plan is remembered."""
SAME_TICK: Final = timedelta(seconds=2)
_NAN: Final = float("nan")


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
        stored_at = tuple(i for i, name in enumerate(names) if declared[name].type not in LIVE_TEXTS)
        live = [(i, column) for i, name in enumerate(names) if (column := live_name(name, asset)) is not None]
        is_plain = bool(asset) or STANDING.isdisjoint(names)
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
            if is_unstored(name, asset, arrival.is_birth):
                continue
            metric = event.values[name]
            value = metric.value
            at_ms = event.at_ms if metric.timestamp_ms is None else metric.timestamp_ms
            if at_ms not in instants:
                instants[at_ms] = instant_of_ms(at_ms)
            at = instants[at_ms]
            problem = problem_with(name, value, asset, at, received_at, self.max_clock_ahead_s)
            if at is None or problem is not None:
                error, detail = problem or ("value_out_of_range", "no timestamp")
                arrival.refuse(error, f"site {event.site_id} {asset} {name}: {detail}")
                continue
            column = live_name(name, asset)
            kind = NODE_DECLARED[name].type if not asset else None
            if isinstance(value, int | float) and kind is not MetricType.DATETIME:
                readings.setdefault(at_ms, {})[name] = float(value)
            if metric.is_historical:
                continue
            if not asset and name in STANDING:
                standing[name] = live_value(value, kind)
                standing_at = max(standing_at, at)
            elif column is not None:
                newest[column] = live_value(value, kind)
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
