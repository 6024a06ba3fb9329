"""The fleet's live aggregates: one message read, several workers merged, ten minutes kept in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sites.core import bodies

TOPIC_PREFIX: Final = "vpp/live/"
MAX_BYTES: Final = 64_000
HISTORY_S: Final = 600.0
WORKER_STALE_S: Final = 5.0
"""A worker publishes once per second; one that is silent for longer counts no site as fresh."""
WORKER_FORGOTTEN_S: Final = 60.0
"""After this a silent worker is taken for one that was renamed or taken away."""
MAX_WORKERS: Final = 64
MAX_ISLANDED: Final = 50
MAX_COUNT: Final = 10**9
MAX_NUMBER: Final = 1e12


class AggregateMalformed(ValueError):
    """A live message that cannot be read; the text names the field and what is accepted."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What one ingest worker says of its sites at one instant."""

    worker: str
    at_s: float
    """When the worker summed up [s since the epoch]."""
    sites_total: int
    sites_fresh: int
    by_mode: Mapping[str, int]
    frequency_hz: float | None
    """Median over the worker's fresh sites; None without any."""
    service_kw: float
    required_kw: float
    islanded: tuple[str, ...]
    islanded_total: int
    """All of them; the names stop at MAX_ISLANDED."""


@dataclass(frozen=True, slots=True)
class FleetFrame:
    """The fleet over all workers, for the pages."""

    data_at_s: float | None
    """Oldest sum-up among the workers that are not silent [s since the epoch]; None without any."""
    frequency_hz: float | None
    service_kw: float
    required_kw: float
    sites_total: int
    sites_fresh: int
    by_mode: Mapping[str, int]
    islanded: tuple[str, ...]
    islanded_total: int
    workers: tuple[tuple[str, float], ...]
    """Name and age [s] of each worker's last message."""


def read_aggregate(topic: str, payload: bytes) -> Aggregate:
    """Read one live message.

    Raises AggregateMalformed naming what was wrong and what is accepted.
    """
    worker = topic.removeprefix(TOPIC_PREFIX)
    if worker == topic or not worker or "/" in worker or len(worker) > 64:
        raise AggregateMalformed(f"topic is {topic[:80]!r}, accepted: {TOPIC_PREFIX}<worker>")
    try:
        raw = bodies.object_from(payload, what="message", max_bytes=MAX_BYTES)
    except bodies.BodyError as error:
        raise AggregateMalformed(str(error)) from None
    by_mode = raw.get("by_mode")
    if not isinstance(by_mode, dict) or len(by_mode) > 20:
        raise AggregateMalformed("by_mode is not an object of up to 20 counts by mode")
    islanded = raw.get("islanded", [])
    if not isinstance(islanded, list) or not all(isinstance(site, str) and len(site) <= 64 for site in islanded):
        raise AggregateMalformed("islanded is not a list of site ids")
    return Aggregate(
        worker=worker,
        at_s=_instant(raw.get("at")),
        sites_total=_count(raw, "sites_total"),
        sites_fresh=_count(raw, "sites_fresh"),
        by_mode={str(mode)[:20]: _count(by_mode, mode) for mode in by_mode},
        frequency_hz=None if raw.get("frequency_hz") is None else _number(raw, "frequency_hz"),
        service_kw=_number(raw, "service_kw"),
        required_kw=_number(raw, "required_kw"),
        islanded=tuple(islanded[:MAX_ISLANDED]),
        islanded_total=_count(raw, "islanded_total") if "islanded_total" in raw else len(islanded),
    )


@dataclass
class FleetStore:
    """Latest aggregate per worker and a ring of the fleet's figures; nothing here outlives the process."""

    latest: dict[str, tuple[float, Aggregate]] = field(default_factory=dict)
    """Worker -> (received at [s since the epoch], aggregate)."""
    history: deque[tuple[float, float | None, float, float]] = field(default_factory=deque)
    """(instant [s], frequency [Hz], required [kW], delivered [kW]), oldest first."""
    refused: int = 0
    last_refusal: str = ""
    _has_news: bool = False

    def accept(self, topic: str, payload: bytes, *, at_s: float) -> None:
        """Take one live message; one that cannot be read is counted and told, and the rest goes on."""
        try:
            aggregate = read_aggregate(topic, payload)
            if aggregate.worker not in self.latest and len(self.latest) >= MAX_WORKERS:
                raise AggregateMalformed(f"{len(self.latest)} workers publish already, accepted: up to {MAX_WORKERS}")
        except AggregateMalformed as error:
            self.refused += 1
            self.last_refusal = str(error)
            return
        self.latest[aggregate.worker] = (at_s, aggregate)
        self._has_news = True

    def frame(self, *, at_s: float) -> FleetFrame:
        """Return the fleet over all workers as known at that instant."""
        for worker in [name for name, (seen_s, _) in self.latest.items() if at_s - seen_s > WORKER_FORGOTTEN_S]:
            del self.latest[worker]
        heard = [aggregate for seen_s, aggregate in self.latest.values() if at_s - seen_s <= WORKER_STALE_S]
        by_mode: dict[str, int] = {}
        for aggregate in heard:
            for mode, count in aggregate.by_mode.items():
                by_mode[mode] = by_mode.get(mode, 0) + count
        return FleetFrame(
            data_at_s=min((aggregate.at_s for aggregate in heard), default=None),
            frequency_hz=_weighted_frequency_hz(heard),
            service_kw=sum(aggregate.service_kw for aggregate in heard),
            required_kw=sum(aggregate.required_kw for aggregate in heard),
            sites_total=sum(aggregate.sites_total for _, aggregate in self.latest.values()),
            sites_fresh=sum(aggregate.sites_fresh for aggregate in heard),
            by_mode=by_mode,
            islanded=tuple(sorted({site for aggregate in heard for site in aggregate.islanded}))[:MAX_ISLANDED],
            islanded_total=sum(aggregate.islanded_total for aggregate in heard),
            workers=tuple(sorted((name, round(at_s - seen_s, 1)) for name, (seen_s, _) in self.latest.items())),
        )

    def keep_point(self, *, at_s: float) -> None:
        """Add the fleet's figures to the ring when something arrived since the last point."""
        while self.history and self.history[0][0] < at_s - HISTORY_S:
            self.history.popleft()
        if not self._has_news:
            return
        self._has_news = False
        frame = self.frame(at_s=at_s)
        # Drawn at the instant of the sum-up, not of this beat; a repeated one adds nothing.
        if frame.data_at_s is None or (self.history and frame.data_at_s <= self.history[-1][0]):
            return
        self.history.append((frame.data_at_s, frame.frequency_hz, frame.required_kw, frame.service_kw))


def _weighted_frequency_hz(aggregates: list[Aggregate]) -> float | None:
    """Return the workers' medians weighted by their fresh sites, or None when nobody measures."""
    measured = [(a.frequency_hz, a.sites_fresh) for a in aggregates if a.frequency_hz is not None and a.sites_fresh]
    weight = sum(fresh for _, fresh in measured)
    return sum(hz * fresh for hz, fresh in measured) / weight if weight else None


def _count(raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
        raise AggregateMalformed(f"{name} is {value!r:.40}, accepted: a whole number from 0 to {MAX_COUNT}")
    return value


def _number(raw: Mapping[str, Any], name: str) -> float:
    value = raw.get(name)
    # By comparison: a whole number beyond all floats would raise inside isfinite.
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MAX_NUMBER:
        raise AggregateMalformed(f"{name} is {value!r:.40}, accepted: a number of at most {MAX_NUMBER:g}")
    return float(value)


def _instant(value: Any) -> float:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise AggregateMalformed(f"at is {value!r:.40}, accepted: an ISO 8601 instant with a time zone")
    return instant.timestamp()
