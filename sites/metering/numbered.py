"""Storing numbered streams: repeats are harmless, other content becomes a revision, marks never pass a hole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from django.db.models import Model, Q

from sites.core.readings import Quality
from sites.metering.copying import insert_rows
from sites.metering.models import HighRateRecord, MeterInterval, RefusedNumber, StreamMark, WaveformRecord
from sites.metering.streams import (
    RECORD,
    WAVEFORM,
    IntervalItem,
    NumberedItem,
    RecordItem,
    WaveformItem,
    same_content,
)

MAX_REVISION: Final = 15
"""Contents kept of one number beside the first; more are refused and counted."""
LOOK_AHEAD: Final = 2_000

StreamKey = tuple[int, str]
"""Site's key and stream's name."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """What an ingest worker remembers of one stream between batches."""

    stored_through: int = 0
    """Highest number below which nothing is missing; 0 when number 1 is missing."""
    has_above: bool | None = None
    """Whether numbers above the mark are stored, beyond a hole; None = not looked up since the start."""
    last: tuple[int, int, int] | None = None
    """Number and registers (into, from) [uWh] of the highest interval stored."""


@dataclass(slots=True)
class Outcome:
    """What storing the numbered items of a batch did."""

    stored: int = 0
    repeated: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    states: dict[StreamKey, StreamState] = field(default_factory=dict)
    """New state of every stream that the batch touched, also of those that only repeated."""


@dataclass(slots=True)
class _Version:
    """One stored content of a number."""

    revision: int
    content: tuple[Any, ...]
    quality: str = Quality.GOOD.value
    registers: tuple[int, int] = (0, 0)


Held = dict[tuple[StreamKey, int], list[_Version]]
Rows = dict[type[Model], list[dict[str, Any]]]


def store_numbered(
    *,
    items: list[NumberedItem],
    refused: dict[tuple[int, str, int], str],
    known: dict[StreamKey, StreamState],
    received_at: datetime,
) -> Outcome:
    """Insert what is new, keep other content as a revision, move the marks; inside the caller's transaction."""
    outcome = Outcome()
    groups: dict[StreamKey, list[NumberedItem]] = defaultdict(list)
    for item in items:
        groups[item.site_pk, item.stream].append(item)
    refused_by: dict[StreamKey, dict[int, str]] = defaultdict(dict)
    for (site_pk, stream, number), error in refused.items():
        refused_by[site_pk, stream][number] = error
    keys = set(groups) | set(refused_by)
    if not keys:
        return outcome
    states = _states_of(keys, known)
    held = _held_versions(groups, states)
    rows: Rows = defaultdict(list)
    for key, group in groups.items():
        states[key] = _add_group(key, group, states[key], held, rows, outcome)
    for model, of_model in rows.items():
        insert_rows(model, of_model)
    RefusedNumber.objects.bulk_create(
        [
            RefusedNumber(site_id=key[0], stream=key[1], number=number, error=error, received_at=received_at)
            for key, numbers in refused_by.items()
            for number, error in numbers.items()
            if number > states[key].stored_through
        ],
        ignore_conflicts=True,
    )
    moved = []
    for key in keys:
        numbers = {item.number for item in groups.get(key, ())} | set(refused_by.get(key, ()))
        before = states[key].stored_through
        states[key] = _advanced(key, states[key], numbers)
        if states[key].stored_through != before:
            moved.append(StreamMark(site_id=key[0], stream=key[1], stored_through=states[key].stored_through))
    StreamMark.objects.bulk_create(
        moved,
        update_conflicts=True,
        unique_fields=["site", "stream"],
        update_fields=["stored_through"],
        batch_size=500,
    )
    outcome.states = states
    outcome.stored = sum(map(len, rows.values()))
    return outcome


def _states_of(keys: set[StreamKey], known: dict[StreamKey, StreamState]) -> dict[StreamKey, StreamState]:
    """Return the state of each stream: remembered, or from its stored mark."""
    states = {key: known[key] for key in keys if key in known}
    missing = keys - set(states)
    for chunk in _chunks(sorted({site_pk for site_pk, _ in missing}), 500):
        for mark in StreamMark.objects.filter(site_id__in=chunk):
            key = (mark.site_id, mark.stream)
            if key in missing:
                states[key] = StreamState(stored_through=mark.stored_through)
    return {key: states.get(key, StreamState()) for key in keys}


def _held_versions(groups: dict[StreamKey, list[NumberedItem]], states: dict[StreamKey, StreamState]) -> Held:
    """Return what the tables hold under the numbers that may stand already.

    A number above the mark of a stream without holes is new for certain; asking for it would cost a
    query per batch in the normal case.
    """
    wanted: dict[type[NumberedItem], dict[StreamKey, set[int]]] = defaultdict(dict)
    for key, group in groups.items():
        state = states[key]
        numbers = {n.number for n in group if n.number <= state.stored_through or state.has_above is not False}
        kind = type(group[0])
        if numbers and kind is IntervalItem:
            # Their neighbors too, for the registers.
            numbers |= {number - 1 for number in numbers} | {number + 1 for number in numbers}
        if numbers:
            wanted[kind][key] = numbers
    held: Held = defaultdict(list)
    intervals = wanted.get(IntervalItem, {})
    asset_pks = {key: group[0].asset_pk for key, group in groups.items() if isinstance(group[0], IntervalItem)}
    key_of = {asset_pks[key]: key for key in intervals}
    for asset_chunk, number_chunk in _cross(key_of, {asset_pks[key]: numbers for key, numbers in intervals.items()}):
        for row in MeterInterval.objects.filter(asset_id__in=asset_chunk, number__in=number_chunk):
            content: tuple[Any, ...] = (
                row.starts_at, row.ends_at, row.into_bus_uwh, row.from_bus_uwh, row.service_into_uwh,
                row.service_from_uwh, tuple((name, into, out) for name, into, out in row.services), row.fuel_ul,
                row.register_into_uwh, row.register_from_uwh,
            )  # fmt: skip
            registers = (row.register_into_uwh, row.register_from_uwh)
            held[key_of[row.asset_id], row.number].append(_Version(row.revision, content, row.quality, registers))
    for key, numbers in wanted.get(RecordItem, {}).items():
        for record in HighRateRecord.objects.filter(site_id=key[0], number__in=sorted(numbers)):
            chunk = (record.starts_at, record.rate_hz, tuple(record.columns), bytes(record.samples))
            held[key, record.number].append(_Version(record.revision, chunk))
    for key, numbers in wanted.get(WaveformItem, {}).items():
        for wave in WaveformRecord.objects.filter(site_id=key[0], number__in=sorted(numbers)):
            shape = (
                wave.starts_at, wave.trigger_at, wave.rate_hz, wave.cause, tuple(wave.columns), bytes(wave.samples)
            )  # fmt: skip
            held[key, wave.number].append(_Version(wave.revision, shape))
    return held


def _cross(keys: Iterable[int], numbers: dict[int, set[int]]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield bounded pieces of keys x numbers that together hold every wanted pair."""
    for key_chunk in _chunks(sorted(keys), 100):
        union = sorted(set().union(*(numbers[key] for key in key_chunk)))
        for number_chunk in _chunks(union, 2_000):
            yield key_chunk, number_chunk


def _add_group(
    key: StreamKey, group: list[NumberedItem], state: StreamState, held: Held, rows: Rows, outcome: Outcome
) -> StreamState:
    """Append the rows of one stream that are new; return the state with the last registers."""
    last = state.last
    for item in sorted(group, key=lambda item: item.number):
        versions = held.setdefault((key, item.number), [])
        if any(same_content(item, version.content, version.quality) for version in versions):
            outcome.repeated += 1
            continue
        revision = max((version.revision for version in versions), default=-1) + 1
        if revision > MAX_REVISION:
            outcome.counts["revision_limit"] += 1
            continue
        if revision:
            outcome.counts["number_revised"] += 1
        version = _Version(revision, item.content)
        if isinstance(item, IntervalItem):
            version.registers = (item.register_into_uwh, item.register_from_uwh)
            version.quality = _judged_quality(item, last, key, held)
            if last is None or item.number >= last[0]:
                last = (item.number, *version.registers)
        versions.append(version)
        model, row = _row(item, version)
        rows[model].append(row)
    return replace(state, last=last)


def _judged_quality(item: IntervalItem, last: tuple[int, int, int] | None, key: StreamKey, held: Held) -> str:
    """Return the interval's quality: questionable when a register ran backward against a neighbor."""
    into, out = item.register_into_uwh, item.register_from_uwh
    before = [version.registers for version in held.get((key, item.number - 1), ())][-1:]
    if not before and last is not None and last[0] == item.number - 1:
        before = [last[1:]]
    after = [version.registers for version in held.get((key, item.number + 1), ())][-1:]
    ran_backward = any(into < r[0] or out < r[1] for r in before) or any(into > r[0] or out > r[1] for r in after)
    if ran_backward and item.quality == Quality.GOOD.value:
        return Quality.QUESTIONABLE.value
    return item.quality


def _row(item: NumberedItem, version: _Version) -> tuple[type[Model], dict[str, Any]]:
    common: dict[str, Any] = {
        "number": item.number,
        "revision": version.revision,
        "starts_at": item.starts_at,
        "received_at": item.received_at,
    }
    if isinstance(item, IntervalItem):
        return MeterInterval, dict(
            asset_id=item.asset_pk,
            ends_at=item.ends_at,
            into_bus_uwh=item.into_bus_uwh,
            from_bus_uwh=item.from_bus_uwh,
            service_into_uwh=item.service_into_uwh,
            service_from_uwh=item.service_from_uwh,
            services=[list(service) for service in item.services],
            fuel_ul=item.fuel_ul,
            register_into_uwh=item.register_into_uwh,
            register_from_uwh=item.register_from_uwh,
            quality=version.quality,
            time_quality=item.time_quality,
            is_historical=item.is_historical,
            **common,
        )
    common["site_id"] = item.site_pk
    if isinstance(item, RecordItem):
        return HighRateRecord, dict(
            ends_at=item.ends_at, rate_hz=item.rate_hz, columns=list(item.columns), samples=item.samples, **common
        )
    if isinstance(item, WaveformItem):
        return WaveformRecord, dict(
            trigger_at=item.trigger_at,
            rate_hz=item.rate_hz,
            cause=item.cause,
            columns=list(item.columns),
            samples=item.samples,
            **common,
        )
    raise TypeError(f"item is a {type(item).__name__}, accepted: an interval, a record or a waveform")


def _advanced(key: StreamKey, state: StreamState, numbers: set[int]) -> StreamState:
    """Return the state with its mark moved over the batch's numbers and, past a hole, over stored rows."""
    mark = state.stored_through
    while mark + 1 in numbers:
        mark += 1
    has_above = any(number > mark for number in numbers)
    if state.has_above is not False or has_above:
        mark, has_above = _mark_in_tables(key, mark)
    return replace(state, stored_through=mark, has_above=has_above)


def _mark_in_tables(key: StreamKey, mark: int) -> tuple[int, bool]:
    """Walk the stored numbers above a mark up to the first hole; tell whether any stands beyond it."""
    while True:
        above = numbers_above(key, mark)
        start = mark
        for number in above:
            if number != mark + 1:
                return mark, True
            mark = number
        if mark == start or len(above) < LOOK_AHEAD:
            return mark, False


def numbers_above(key: StreamKey, mark: int, *, limit: int = LOOK_AHEAD) -> list[int]:
    """Return the lowest stored or refused numbers above a mark, ascending, at most so many."""
    site_pk, stream = key
    if stream == RECORD:
        rows: Any = HighRateRecord.objects.filter(site_id=site_pk)
    elif stream == WAVEFORM:
        rows = WaveformRecord.objects.filter(site_id=site_pk)
    else:
        rows = MeterInterval.objects.filter(asset__site_id=site_pk, asset__name=stream)
    above = Q(number__gt=mark)
    found = set(rows.filter(above).order_by("number").values_list("number", flat=True).distinct()[:limit])
    settled = RefusedNumber.objects.filter(above, site_id=site_pk, stream=stream).order_by("number")
    found |= set(settled.values_list("number", flat=True)[:limit])
    # Both lists are cut at their lowest, so as many of the union are complete.
    return sorted(found)[:limit]


def _chunks(values: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
