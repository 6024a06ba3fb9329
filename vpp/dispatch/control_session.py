"""The host's side of the ``control`` devices: births give aliases their names, data is read by them; no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from sites.wire.errors import AliasUnknown, MetricUnknown, TimestampInFuture, TooManySites, TopicInvalid, WireError
from sites.wire.metrics import COMMAND, CONTROL_DECLARED, CONTROL_DEVICE, DESIRED, DESIRED_STREAM, REBIRTH, MetricType
from sites.wire.metrics import KEYS as KEYS_COMMAND
from sites.wire.payload import Metric, Payload, decode_payload, encode_payload, typed_value
from sites.wire.sealed import sealed_command
from sites.wire.topics import NAMESPACE, device_topic, node_topic, parse_topic
from vpp.dispatch.plain_answers import plain_answer
from vpp.dispatch.reports import CURVE, FIELDS, KEYS, ReportInvalid, SiteReport, report_from

SUBSCRIPTIONS: Final = (f"{NAMESPACE}/+/DBIRTH/+/{CONTROL_DEVICE}", f"{NAMESPACE}/+/DDATA/+/{CONTROL_DEVICE}")
MAX_SITES: Final = 100_000
"""Most sites held in memory; a sender of made-up ids cannot fill it."""
REBIRTH_EVERY_S: Final = 5.0
"""A site is asked for its births at most so often [s]."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A site said what it holds."""

    reports: tuple[SiteReport, ...]
    """One for each kind of assignment that the message speaks of."""
    is_birth: bool


@dataclass(frozen=True, slots=True)
class BirthNeeded:
    """Data came by an alias that no birth named; the site is to be asked for its births."""

    site_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that says nothing usable."""

    topic: str
    error: str
    """Its name for logs and counters."""
    detail: str


class ControlSession:
    """Reads the control devices of all sites. Other devices' messages are the ingest's business."""

    def __init__(self, *, max_bytes: int, max_clock_ahead_s: float) -> None:
        self._max_bytes = max_bytes
        self._max_ahead = timedelta(seconds=max_clock_ahead_s)
        self._names: dict[str, dict[int, str]] = {}
        self._reports: dict[str, dict[str, SiteReport]] = {}
        self._asked_at: dict[str, datetime] = {}
        self._data_sites: dict[str, str] = {}
        """Site by the topic of its data: a topic is read once."""

    def knows(self, site_id: str) -> bool:
        """Tell whether the site's control device was born for us."""
        return site_id in self._names

    def forget(self) -> None:
        """Drop all births: after a lost connection some may have been missed."""
        self._names.clear()
        self._reports.clear()

    def expect(self, site_ids: Iterable[str]) -> None:
        """Note how the topics of enrolled sites read, before their answers come thick and fast."""
        known = set(self._data_sites.values())
        for site_id in site_ids:
            if site_id not in known and len(self._data_sites) < MAX_SITES:
                self._data_sites[device_topic("DDATA", site_id, CONTROL_DEVICE)] = site_id
                _command_topic(site_id)

    def may_ask(self, site_id: str, *, at: datetime) -> bool:
        """Tell whether a site may be asked for its births now, and note that it is."""
        if len(self._asked_at) >= MAX_SITES:
            self._asked_at.clear()
        asked_at = self._asked_at.get(site_id)
        if asked_at is not None and at - asked_at < timedelta(seconds=REBIRTH_EVERY_S):
            return False
        self._asked_at[site_id] = at
        return True

    def receive(self, topic: str, payload: bytes, *, received_at: datetime) -> Reported | BirthNeeded | Refused:
        """Read one message of a control device."""
        return self._receive_plain(topic, payload, received_at) or self._receive(topic, payload, received_at)

    def _receive_plain(self, topic: str, payload: bytes, received_at: datetime) -> Reported | None:
        """Read an answer that is written as nearly all are; None for any other message."""
        site_id = self._data_sites.get(topic)
        if site_id is None or len(payload) > self._max_bytes or len(self._reports) >= MAX_SITES:
            return None
        answer = plain_answer(payload)
        if answer is None or answer.at_ms / 1000.0 - received_at.timestamp() > self._max_ahead.total_seconds():
            return None
        of_site = self._reports.setdefault(site_id, {})
        before = of_site.get(CURVE) or SiteReport(site_id, received_at)
        report = before.holding(answer.state, answer.held_hash, answer.held_sequence, received_at=received_at)
        of_site[CURVE] = report
        return Reported((report,), False)

    def _receive(self, topic: str, payload: bytes, received_at: datetime) -> Reported | BirthNeeded | Refused:
        try:
            parsed = parse_topic(topic)
            if parsed.device != CONTROL_DEVICE or parsed.kind not in ("DBIRTH", "DDATA"):
                raise TopicInvalid(f"topic is {topic!r}, accepted: DBIRTH and DDATA of {CONTROL_DEVICE}")
            if parsed.site_id not in self._reports and len(self._reports) >= MAX_SITES:
                raise TooManySites(f"site {parsed.site_id!r} is one too many, accepted: up to {MAX_SITES}")
            message = decode_payload(payload, max_bytes=self._max_bytes)
            self._check_clock(message, received_at)
            is_birth = parsed.kind == "DBIRTH"
            if is_birth:
                names = {m.alias: m.name for m in message.metrics if m.alias is not None and m.name is not None}
            else:
                names = self._names.get(parsed.site_id, {})
            values = _values(message, names)
            before = {} if is_birth else self._reports.get(parsed.site_id, {})
            reports = {
                kind: report_from(
                    values, site_id=parsed.site_id, received_at=received_at, kind=kind, before=before.get(kind)
                )
                for kind, fields in FIELDS.items()
                # A site that says nothing of its keys takes no announcement.
                if (is_birth and kind != KEYS) or not fields.keys().isdisjoint(values)
            }
        except AliasUnknown:
            return BirthNeeded(parsed.site_id)
        except WireError as error:
            return Refused(_printable(topic), error.name, str(error))
        except ReportInvalid as error:
            return Refused(_printable(topic), "report_invalid", str(error))
        if is_birth:
            self._names[parsed.site_id] = names
        self._reports[parsed.site_id] = before | reports
        return Reported(tuple(reports.values()), is_birth)

    def _check_clock(self, message: Payload, received_at: datetime) -> None:
        if message.timestamp_ms is None:
            return
        ahead_s = message.timestamp_ms / 1000.0 - received_at.timestamp()
        if ahead_s > self._max_ahead.total_seconds():
            raise TimestampInFuture(
                f"the payload is {ahead_s:.1f} s ahead, accepted: up to {self._max_ahead.total_seconds():g} s"
            )


def _printable(topic: str) -> str:
    """Return a topic for a log line: a line break in it would forge one."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in topic[:200])


def desired_message(site_id: str, envelope: bytes, *, at: datetime, kind: str = "curve") -> tuple[str, bytes]:
    """Return topic and payload that ask a site to hold the assignment of a kind in a sealed envelope."""
    return _command_topic(site_id), sealed_command(
        DESIRED_STREAM if kind == "stream" else DESIRED, envelope, now_ms=_ms(at)
    )


def keys_message(site_id: str, envelope: bytes, *, at: datetime) -> tuple[str, bytes]:
    """Return topic and payload that announce keys in an envelope that the key authority sealed."""
    return _command_topic(site_id), sealed_command(KEYS_COMMAND, envelope, now_ms=_ms(at))


def command_message(site_id: str, envelope: bytes, *, at: datetime) -> tuple[str, bytes]:
    """Return topic and payload that ask a site for the request in a sealed envelope."""
    return _command_topic(site_id), sealed_command(COMMAND, envelope, now_ms=_ms(at))


def rebirth_message(site_id: str, *, at: datetime) -> tuple[str, bytes]:
    """Return topic and payload that ask a site for all its births."""
    metric = Metric(name=REBIRTH, type=MetricType.BOOLEAN, value=True)
    return node_topic("NCMD", site_id), encode_payload(Payload(timestamp_ms=_ms(at), seq=None, metrics=[metric]))


@lru_cache(MAX_SITES)
def _command_topic(site_id: str) -> str:
    return device_topic("DCMD", site_id, CONTROL_DEVICE)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _values(message: Payload, names: dict[int, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for metric in message.metrics:
        name = metric.name if metric.name is not None else names.get(metric.alias or 0)
        if name is None:
            raise AliasUnknown(f"alias {metric.alias} has no birth")
        declaration = CONTROL_DECLARED.get(name)
        if declaration is None:
            raise MetricUnknown(f"metric {name[:80]!r}, accepted: {', '.join(CONTROL_DECLARED)}")
        value = typed_value(metric, declaration.type)
        if value is not None:
            values[name] = value
    return values
