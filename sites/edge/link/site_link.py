"""One site's end of the wire without sockets: messages and measurements in, messages out.

Shared by ``vpp-edge uplink`` (one site) and ``vpp-edge simulate`` (many). The clock comes in as an
argument; rows, counters and the held assignment live in the outbox.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from sites.core import observe
from sites.core.assignments import Assignment
from sites.core.curves import Direction
from sites.core.envelope import OperatingEnvelope
from sites.core.readings import TimeQuality
from sites.core.requests import ANSWERED_WITHIN_S
from sites.core.streams import SignalRefusal, StreamGrant
from sites.edge.control.exchange import (
    LIMIT_NAMES,
    MODE_NAMES,
    Answer,
    Ask,
    Boundary,
    CapturedWaveform,
    ControllerPort,
    Counts,
    Float32Array,
    ServiceBegin,
    Setpoint,
)
from sites.edge.control.names import CAUSE_NAMES, PATH_NAMES, active_inputs, alarm_text, standing_alarms
from sites.edge.link.answering import Answering
from sites.edge.link.fallback import must_release
from sites.edge.link.following import Following
from sites.edge.link.holding import CurveHolding, StreamHolding
from sites.edge.link.meter import Meter
from sites.edge.link.outbox import (
    MAX_ASKED,
    RECORD_STREAM,
    WAVEFORM_STREAM,
    NoLongerKept,
    Outbox,
    OutboxError,
    OutboxFull,
    OutboxUnwritable,
    Row,
)
from sites.edge.link.profile import SiteProfile
from sites.edge.link.record_chunks import CHUNK_US, Chunk, RecordCutter
from sites.edge.link.stream_rows import (
    MAX_ROW_BYTES,
    device_of,
    interval_metrics,
    record_metrics,
    resent_metrics,
    waveform_metrics,
)
from sites.wire.edge_session import (
    DeviceCommand,
    EdgeSession,
    HostOffline,
    HostOnline,
    Message,
    NodeCommand,
    RebirthRequested,
    Refused,
    SignalReceived,
)
from sites.wire.metrics import (
    ASSET_METRICS,
    COMMAND,
    CONTROL_DEVICE,
    CONTROL_METRICS,
    DESIRED,
    DESIRED_STREAM,
    NAMEPLATE_NAMES,
    NODE_METRICS,
    RESEND,
    STANDING_METRICS,
    STORED_THROUGH,
)
from sites.wire.payload import Metric, Payload, decode_payload, encode_payload
from sites.wire.topics import signal_topic

LIVE_NAMES: Final = tuple(d.name for d in NODE_METRICS if d.name not in {"mode", "samples_late"})
HELD: Final = "held"
GRANTED: Final = "granted"
ANSWERED: Final = "answered"
METER: Final = "meter"
MAX_CHUNKS_WAITING: Final = 60
"""Chunks of the record that wait in memory for a full disk: ten minutes, then the oldest goes."""
MAX_NUMBER: Final = 2**53
ASK_MARKS_EVERY_MS: Final = 30_000
"""Births go out again after this time while the platform has not told how far a stream is stored."""

log = logging.getLogger(__name__)


class SiteLink:
    """Everything one site says and hears."""

    def __init__(
        self,
        profile: SiteProfile,
        *,
        index: int,
        host_id: str,
        platform_keys: Sequence[bytes],
        interval_s: int,
        outbox: Outbox,
        port: ControllerPort,
    ) -> None:
        self.profile = profile
        self.site_id = profile.site_id
        self._index = index
        self._outbox = outbox
        self._port = port
        devices = {asset.name: list(ASSET_METRICS[asset.kind]) for asset in profile.assets}
        devices[CONTROL_DEVICE] = list(CONTROL_METRICS)
        self._session = EdgeSession(self.site_id, host_id, [*NODE_METRICS, *STANDING_METRICS], devices)
        self.holding = CurveHolding(self.site_id, platform_keys)
        self.granted = StreamHolding(self.site_id, platform_keys)
        self.following = Following(platform_keys)
        self.answering = Answering(self.site_id, platform_keys)
        self._asks: list[Ask] = []
        self._meter = Meter([asset.name for asset in profile.assets], interval_s)
        # Sites of one process cut their chunks at different instants, or all would be packed at once.
        self._cutter = RecordCutter(phase_us=zlib.crc32(self.site_id.encode()) % CHUNK_US // 10_000 * 10_000)
        self._chunks: list[Chunk] = []
        self._chunks_put = 0
        """How many of them were put into the outbox by the transaction that runs."""
        self._measured: np.void | None = None
        self._measured_at_us = 0
        self._told_at_us = 0
        self._samples_late = 0
        self._bd_seq = -1
        self._counts = Counts()
        self._standing_told: dict[str, Any] = {}
        self.is_host_online = False
        self.is_born = False
        self._born_at_ms = 0
        self._streams = (*(asset.name for asset in profile.assets), RECORD_STREAM, WAVEFORM_STREAM)
        self._away_since_ms: int | None = None
        self.refused_count = 0
        """Messages refused by name since the start."""

    # --- start and connection ------------------------------------------------------------------

    def restore(self, *, now_ms: int) -> None:
        """Take up the meter and the held assignment where the last process left them."""
        self._away_since_ms = now_ms
        if (state := self._outbox.kept(self.site_id, METER)) is not None:
            self._meter.restore(state)
        if (envelope := self._outbox.kept(self.site_id, HELD)) is not None:
            held = self.holding.restore(envelope, at=_instant(now_ms))
            if held is not None:
                self._port.request(self._index, held)
        if (envelope := self._outbox.kept(self.site_id, GRANTED)) is not None:
            grant = self.granted.restore(envelope, at=_instant(now_ms))
            if grant is not None:
                self._port.request_stream(self._index, grant)
        if (kept := self._outbox.kept(self.site_id, ANSWERED)) is not None:
            self.answering.restore(kept)

    def go_back(self) -> None:
        """Forget what the meter closed in a transaction that the disk did not take."""
        kept = self._outbox.kept(self.site_id, METER)
        self._meter = Meter(self._meter.assets, self._meter.interval_s)
        if kept is not None:
            self._meter.restore(kept)
        self._chunks_put = 0
        while len(self._chunks) > MAX_CHUNKS_WAITING:
            chunk = self._chunks.pop(0)
            self._outbox.dropped_count += 1
            log.warning(
                "%s site_id=%s stream=record at_us=%d", observe.SAMPLES_DROPPED, self.site_id, chunk.starts_at_us
            )

    def will(self) -> Message:
        """Return the will for the next connection; each one carries a new birth number."""
        self._bd_seq = (max(self._bd_seq, self._outbox.counter(self.site_id, "bd_seq")) + 1) % 256
        with contextlib.suppress(OutboxUnwritable):
            # On a full disk it is new for this process at least.
            self._outbox.set_counter(self.site_id, "bd_seq", self._bd_seq)
        return self._session.will(self._bd_seq)

    def subscriptions(self) -> list[tuple[str, int]]:
        """Return the filters to subscribe to on a new connection."""
        return self._session.subscriptions()

    def farewell(self) -> list[Message]:
        """Return the death to publish before an orderly disconnect, for a broker then drops the will."""
        return [self._session.will(self._bd_seq)] if self.is_born else []

    def note_down(self, *, now_ms: int) -> None:
        """Note that the connection is gone; the host's state is unknown until it is told again."""
        self.is_host_online = self.is_born = False
        self._note_away(now_ms)
        # What was on its way when the connection broke may be lost: all of it counts as unsent.
        self._outbox.forget_sent(self.site_id)

    # --- what the platform says ----------------------------------------------------------------

    def receive(self, topic: str, payload: bytes, *, now_ms: int) -> list[Message]:
        """Take one message; return what to send at once. Faulty ones are refused by name and counted."""
        messages: list[Message] = []
        for event in self._session.receive(topic, payload, now_ms):
            match event:
                case HostOnline():
                    # The host may repeat that it is there; only news asks for births.
                    if not self.is_host_online:
                        log.debug("%s site_id=%s", observe.LINK_UP, self.site_id)
                        self.is_host_online = True
                        self._away_since_ms = None
                        messages += self._births(now_ms)
                case HostOffline():
                    self.is_host_online = self.is_born = False
                    self._note_away(now_ms)
                    self._outbox.forget_sent(self.site_id)
                case RebirthRequested():
                    if self.is_host_online:
                        messages += self._births(now_ms)
                case NodeCommand(metrics=values):
                    self._take_marks(values)
                    messages += self._take_asked(values, now_ms)
                case DeviceCommand(device=device, metrics=values):
                    messages += self._take_command(device, values, now_ms)
                case SignalReceived(stream=stream, envelope=envelope):
                    self._follow(stream, envelope, now_ms)
                case Refused(error_name=name, detail=detail):
                    self._refuse(name, detail)
        return messages

    def extra_subscriptions(self) -> list[tuple[str, int]]:
        """Return the filters to subscribe to beside the session's: the signal of the stream that is granted."""
        grant = self.granted.held
        return [] if grant is None or grant.power_kw == 0.0 else [(signal_topic(grant.stream), 0)]

    def confirm(self, held_hash: str, *, now_ms: int) -> list[Message]:
        """Take what the controller says it holds; return the report when that changed."""
        if held_hash == self.holding.confirmed_hash:
            return []
        self.holding.confirmed_hash = held_hash
        return self._report(now_ms)

    def take_asks(self) -> list[Ask]:
        """Hand over what the controller is to be asked, once what was noted of it is committed."""
        taken, self._asks = self._asks, []
        return taken

    def take_answer(self, answer: Answer, *, now_ms: int) -> list[Message]:
        """Take the controller's answer to a command; return the report."""
        if not self.answering.answer(answer.number, answer.refusal):
            return []
        return self._report_answer(now_ms)

    def check_answer(self, *, now_ms: int) -> list[Message]:
        """Return the answer of a controller that has been silent for too long, nothing otherwise."""
        return self._report_answer(now_ms) if self.answering.give_up(at=_instant(now_ms)) else []

    def confirm_stream(self, held_hash: str, *, now_ms: int) -> list[Message]:
        """Take what the controller says it holds of stream grants; return the report when that changed."""
        if held_hash == self.granted.confirmed_hash:
            return []
        self.granted.confirmed_hash = held_hash
        return self._report_stream(now_ms)

    def check_link(self, *, now_ms: int) -> None:
        """Give up the armed assignment where the site stands still, or its policy wants that on a lost link."""
        if self._measured is not None and self.holding.suspend(locked_out=self._is_locked_out()):
            held = self.holding.held
            serves = not self.holding.is_suspended and not self.holding.is_released
            log.info("assignment.suspended site_id=%s suspended=%s", self.site_id, self.holding.is_suspended)
            self._port.request(self._index, held if serves else None)
        away_s = 0.0 if self._away_since_ms is None else (now_ms - self._away_since_ms) / 1000.0
        if not self.holding.is_released and must_release(
            self.profile.policy, armed=self.holding.is_armed, away_s=away_s
        ):
            log.warning("assignment.released site_id=%s away_s=%.1f", self.site_id, away_s)
            self.holding.is_released = True
            self._port.request(self._index, None)

    # --- what the controller says --------------------------------------------------------------

    def measure(self, measured: np.void, *, at_us: int, counts: Counts) -> None:
        """Take the last measurements (one MEASURED_DTYPE row) and the loop's counters."""
        self._measured, self._measured_at_us, self._counts = measured, at_us, counts

    def live(self) -> list[Message]:
        """Return the 1 Hz live data; nothing while nobody listens or nothing new was measured."""
        if not self.is_born or self._measured is None or self._measured_at_us <= self._told_at_us:
            return []
        self._told_at_us = self._measured_at_us
        at_ms = self._measured_at_us // 1000
        standing = self._standing_values(self._measured)
        news = {name: value for name, value in standing.items() if self._standing_told.get(name) != value}
        self._standing_told = standing
        messages = [self._session.node_data(at_ms, self._node_values(self._measured) | news)]
        messages += [
            self._session.device_data(at_ms, asset.name, self._asset_values(asset.kind, self._measured))
            for asset in self.profile.assets
        ]
        return messages

    def begin_service(self, begin: ServiceBegin) -> None:
        """Count service for another dispatch from an instant on."""
        self._meter.begin_service(begin)

    def close_interval(
        self, boundary: Boundary, *, now_ms: int, time_quality: TimeQuality = TimeQuality.UNKNOWN
    ) -> list[Message]:
        """Close every asset's interval at a boundary: kept first, then sent."""
        closed = self._meter.close(
            epoch_us=boundary.epoch_us,
            at_us=boundary.at_us,
            registers=boundary.registers[self._index],
            time_quality=time_quality,
        )
        if not closed:
            return []
        messages = []
        for interval in closed:
            number = self._outbox.next_number(self.site_id, interval.asset)
            metrics = interval_metrics(interval, number)
            messages += self._keep(interval.asset, number, metrics, interval.ends_at_ms, now_ms)
        self._outbox.keep(self.site_id, METER, self._meter.to_bytes())
        return messages

    def add_records(self, *, first_us: int, rows: Float32Array, now_ms: int) -> list[Message]:
        """Add 100 Hz rows [n, columns]; keep and send the chunks that they complete."""
        self._chunks += self._cutter.add(first_us=first_us, rows=rows, window_us=self._record_window_us())
        return self.keep_chunks(now_ms=now_ms)

    def keep_chunks(self, *, now_ms: int) -> list[Message]:
        """Keep and send the chunks that are complete, also those that a full disk did not take before."""
        due, self._chunks_put = self._chunks[self._chunks_put :], len(self._chunks)
        return [message for chunk in due for message in self._keep_chunk(chunk, now_ms)]

    def settle(self) -> None:
        """Let go of what the last transaction kept."""
        del self._chunks[: self._chunks_put]
        self._chunks_put = 0

    def add_waveform(self, waveform: CapturedWaveform, *, now_ms: int) -> None:
        """Keep a captured waveform; it is sent with what waits, when the link has time for it."""
        number = self._outbox.next_number(self.site_id, WAVEFORM_STREAM)
        metrics = waveform_metrics(waveform, number)
        self._put(WAVEFORM_STREAM, number, metrics, waveform.trigger_at_us // 1000, now_ms)

    def resend(self, row: Row, *, now_ms: int) -> Message:
        """Return a kept row as a historical message."""
        payload = decode_payload(row.payload, max_bytes=MAX_ROW_BYTES)
        for metric in payload.metrics:
            if metric.name is not None and metric.name.endswith("/number"):
                # The row may have been kept before its final number was known.
                metric.value = row.number
        return self._session.stream_data(now_ms, device_of(row.stream), payload.metrics, True)

    # --- inside --------------------------------------------------------------------------------

    def _births(self, now_ms: int) -> list[Message]:
        if self._measured is None:
            # No measurement yet: a birth with made-up values would be a lie. `live` is not sent either.
            return []
        self.is_born, self._born_at_ms = True, now_ms
        device_values: dict[str, dict[str, Any]] = {
            CONTROL_DEVICE: {**self.holding.reported(), **self.granted.reported(), **self.answering.reported()}
        }
        for asset in self.profile.assets:
            nameplate = {
                name: getattr(asset, name)
                for name in (declaration.name for declaration in ASSET_METRICS[asset.kind])
                if name in NAMEPLATE_NAMES
            }
            device_values[asset.name] = self._asset_values(asset.kind, self._measured) | nameplate
        self._standing_told = self._standing_values(self._measured)
        values = self._node_values(self._measured) | self._standing_told
        return self._session.births(now_ms, values, device_values)

    def ensure_born(self, *, now_ms: int) -> list[Message]:
        """Return the births that had to wait for the first measurement, or must be answered once more."""
        if not self.is_host_online:
            return []
        # The answer to the births tells the marks; without them nothing numbered may go out.
        is_told = all(self._outbox.is_adopted(self.site_id, stream) for stream in self._streams)
        if self.is_born and (is_told or 0 <= now_ms - self._born_at_ms < ASK_MARKS_EVERY_MS):
            return []
        return self._births(now_ms)

    def _node_values(self, measured: np.void) -> dict[str, Any]:
        values: dict[str, Any] = {name: _known(measured[name]) for name in LIVE_NAMES}
        values["mode"] = MODE_NAMES[int(measured["mode"])]
        values["samples_late"] = self._counts.samples_late
        return values

    def _standing_values(self, measured: np.void) -> dict[str, Any]:
        alarms = standing_alarms(measured)
        decided_at_us = int(measured["decided_at_us"])
        return {
            "alarms": ",".join(alarm.name for alarm in alarms if alarm.is_latched),
            "warnings": ",".join(alarm.name for alarm in alarms if not alarm.is_latched),
            "lockout_cause": alarm_text(int(measured["alarm"])),
            "inputs": ",".join(active_inputs(measured)),
            "tiers_closed": int(measured["tiers_closed"]),
            "limited_by": LIMIT_NAMES[int(measured["limited_by"])],
            "decided_at": decided_at_us // 1000 if decided_at_us else None,
            "decision_cause": CAUSE_NAMES[int(measured["decided_cause"])],
            "decision_path": PATH_NAMES[int(measured["decided_path"])],
            "requests_refused": int(measured["refusals"]),
            "ticks_overrun": self._counts.overruns,
            "samples_caught_up": self._counts.samples_caught_up,
        }

    @staticmethod
    def _asset_values(kind: str, measured: np.void) -> dict[str, Any]:
        values: dict[str, Any] = {"power_kw": _known(measured[f"{kind}_kw"])}
        if kind == "battery":
            values["soc_ratio"] = _known(measured["soc_ratio"])
            values["temperature_c"] = _known(measured["temperature_c"])
        elif kind == "genset":
            values["running"] = bool(measured["genset_running"])
        return values

    def _take_marks(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            stream = name.removeprefix(STORED_THROUGH)
            if not name.startswith(STORED_THROUGH):
                continue
            if stream not in self._streams:
                self._refuse("stream_unknown", f"{name}, accepted: {', '.join(sorted(self._streams))}")
                continue
            try:
                if self._outbox.is_adopted(self.site_id, stream):
                    self._outbox.confirm(site_id=self.site_id, stream=stream, stored_through=int(value))
                elif self.is_born:
                    # Before our births it may be the mark of a batch that still is on its way to the database.
                    self._adopt(stream, int(value))
            except OutboxError as error:
                self._refuse(error.name, str(error))

    def _take_asked(self, values: dict[str, Any], now_ms: int) -> list[Message]:
        """Bring rows back that the platform asks for; return the answers. The rows go out like all that wait."""
        answers = []
        for name, value in values.items():
            if name.startswith(RESEND) and self.is_born:
                stream = name.removeprefix(RESEND)
                first, last, found, refusal = self._bring_back(stream, value)
                if refusal:
                    self._refuse(refusal, f"{name} {first} to {last}")
                answer = resent_metrics(stream=stream, first=first, last=last, found=found, refusal=refusal)
                answers.append(self._session.stream_data(now_ms, None, answer, False))
        return answers

    def _bring_back(self, stream: str, value: Any) -> tuple[int, int, int, str]:
        """Return (first, last, rows found, refusal)."""
        if not isinstance(value, list) or len(value) != 2 or not 1 <= value[0] <= value[1] <= MAX_NUMBER:
            return 0, 0, 0, "request_malformed"
        first, last = value
        if stream not in self._streams:
            return first, last, 0, "stream_unknown"
        last = min(last, first + MAX_ASKED - 1)
        try:
            found = self._outbox.ask_again(site_id=self.site_id, stream=stream, first=first, last=last)
        except NoLongerKept as error:
            return first, last, 0, error.name
        except OutboxError:
            return first, last, 0, "not_numbered_yet"
        return first, last, found, ""

    def _adopt(self, stream: str, stored_through: int) -> None:
        """Take up the first mark that this outbox hears of a stream."""
        moved = self._outbox.adopt(site_id=self.site_id, stream=stream, stored_through=stored_through)
        if stored_through:
            log.warning(
                "%s site_id=%s stream=%s stored_through=%d rows_moved=%d: the outbox is new, the site is not",
                observe.NUMBERING_ADOPTED, self.site_id, stream, stored_through, moved,
            )  # fmt: skip

    def _take_command(self, device: str, values: dict[str, Any], now_ms: int) -> list[Message]:
        """Take what the platform says to a device: a desired assignment, a command, or both."""
        known = {name: value for name, value in values.items() if isinstance(value, bytes)}
        if device != CONTROL_DEVICE or not known.keys() & {DESIRED, DESIRED_STREAM, COMMAND}:
            accepted = f"{CONTROL_DEVICE}: {DESIRED}, {DESIRED_STREAM}, {COMMAND}"
            self._refuse("command_unknown", f"{device}: {', '.join(values)}, accepted: {accepted}")
            return []
        messages = self._take_desired(known[DESIRED], now_ms) if DESIRED in known else []
        if DESIRED_STREAM in known:
            messages += self._take_grant(known[DESIRED_STREAM], now_ms)
        return messages + (self._take_request(known[COMMAND], now_ms) if COMMAND in known else [])

    def _take_request(self, envelope: bytes, now_ms: int) -> list[Message]:
        shown = self.answering.shown
        command = self.answering.receive(envelope, at=_instant(now_ms))
        if command is None:
            # A repeat of the one that the controller still thinks about has no answer yet.
            is_news = self.answering.shown is not shown or not self.answering.is_waiting
            return self._report_answer(now_ms) if is_news else []
        log.info(
            "%s site_id=%s request=%s by=%s sequence=%d",
            observe.COMMAND_TAKEN, self.site_id, command.request, command.issued_by, command.sequence,
        )  # fmt: skip
        # Kept before it is asked: after a crash in between it is answered as interrupted, and not done twice.
        self._outbox.keep(self.site_id, ANSWERED, self.answering.to_bytes())
        until_us = now_ms * 1000 + round(ANSWERED_WITHIN_S * 1e6)
        self._asks.append(Ask(self._index, command.sequence, command.request, until_us))
        return []

    def _report_answer(self, now_ms: int) -> list[Message]:
        self._outbox.keep(self.site_id, ANSWERED, self.answering.to_bytes())
        shown = self.answering.shown
        log.info("%s site_id=%s state=%s error=%s", observe.COMMAND_ANSWERED, self.site_id, shown.state, shown.error)
        if not self.is_born:
            return []
        return [self._session.device_data(now_ms, CONTROL_DEVICE, dict(self.answering.reported()))]

    def _take_desired(self, envelope: bytes, now_ms: int) -> list[Message]:
        before = self.holding.held
        was_released = self.holding.is_released
        assignment = self.holding.receive(
            envelope,
            operating=self._operating(now_ms, beside=self.granted.held),
            locked_out=self._is_locked_out(),
            at=_instant(now_ms),
        )
        if assignment is None:
            self._tell_refused(self.holding)
            return self._report(now_ms)
        if assignment == before and not was_released:
            # A repeat: the platform has not heard the report, or the controller has not confirmed yet.
            if self.holding.confirmed_hash == assignment.content_hash:
                return self._report(now_ms)
        else:
            self._outbox.keep(self.site_id, HELD, envelope)
        self._port.request(self._index, assignment)
        return []

    def _take_grant(self, envelope: bytes, now_ms: int) -> list[Message]:
        before = self.granted.held
        grant = self.granted.receive(
            envelope,
            operating=self._operating(now_ms, beside=self.holding.held),
            locked_out=self._is_locked_out(),
            at=_instant(now_ms),
        )
        if grant is None:
            self._tell_refused(self.granted)
            return self._report_stream(now_ms)
        if grant == before:
            if self.granted.confirmed_hash == grant.content_hash:
                return self._report_stream(now_ms)
        else:
            self._outbox.keep(self.site_id, GRANTED, envelope)
        self._port.request_stream(self._index, grant)
        return []

    def _follow(self, stream: str, envelope: bytes, now_ms: int) -> None:
        """Hand a stream's value to the controller, for as long as the grant lets it be held."""
        grant = self.granted.held
        found = self.following.receive(stream, envelope, grant=grant, at=_instant(now_ms))
        if isinstance(found, SignalRefusal) or grant is None:
            # Counted; a line each would be one in two seconds for each site.
            log.debug("signal.refused site_id=%s stream=%s refusal=%s", self.site_id, stream, found)
            return
        valid_s = min(grant.max_age_s, found.valid_until.timestamp() - now_ms / 1000.0)
        until_ns = time.monotonic_ns() + round(valid_s * 1e9)
        ramp_kw_per_s = grant.ramp_per_s * grant.power_kw
        self._port.setpoint(self._index, Setpoint(grant.target_kw(found.value), ramp_kw_per_s, until_ns))

    def _tell_refused(self, holding: CurveHolding | StreamHolding) -> None:
        log.warning(
            "%s site_id=%s of=%s refusal=%s sequence=%d",
            observe.ASSIGNMENT_REFUSED, self.site_id, holding.prefix, holding.refusal, holding.refused_sequence,
        )  # fmt: skip

    def _report_stream(self, now_ms: int) -> list[Message]:
        if not self.is_born:
            return []
        return [self._session.device_data(now_ms, CONTROL_DEVICE, dict(self.granted.news()))]

    def _report(self, now_ms: int) -> list[Message]:
        if not self.is_born:
            return []
        return [self._session.device_data(now_ms, CONTROL_DEVICE, dict(self.holding.news()))]

    def _operating(self, now_ms: int, *, beside: Assignment | StreamGrant | None) -> OperatingEnvelope:
        """Return the room for one kind of assignment: what the one of the other kind leaves."""
        measured = self._measured
        up_kw, down_kw = _taken_kw(beside, _instant(now_ms))

        def room(name: str) -> float:
            value = _known(measured[name]) if measured is not None else None
            return max(0.0, value or 0.0)

        return OperatingEnvelope(
            self.site_id,
            _instant(now_ms),
            max(0.0, room("discharge_kw") - up_kw),
            max(0.0, room("charge_kw") - down_kw),
            room("usable_energy_kwh"),
            room("absorbable_energy_kwh"),
        )

    def _is_locked_out(self) -> bool:
        return self._measured is not None and MODE_NAMES[int(self._measured["mode"])] in ("lockout", "maintenance")

    def _record_window_us(self) -> tuple[int, int] | None:
        held: Assignment | None = self.holding.held
        if held is None or held.power_kw == 0.0 or self.holding.is_released:
            return None
        return _micros(held.starts_at), _micros(held.ends_at)

    def _keep_chunk(self, chunk: Chunk, now_ms: int) -> list[Message]:
        number = self._outbox.next_number(self.site_id, RECORD_STREAM)
        metrics = record_metrics(chunk, number)
        return self._keep(RECORD_STREAM, number, metrics, chunk.starts_at_us // 1000, now_ms)

    def _keep(self, stream: str, number: int, metrics: list[Metric], at_ms: int, now_ms: int) -> list[Message]:
        """Keep a row in the outbox; return it as a message when the platform listens and its number is final."""
        if not self._put(stream, number, metrics, at_ms, now_ms):
            return []
        if not self.is_born or not self._outbox.is_adopted(self.site_id, stream):
            return []
        self._outbox.mark_sent([(self.site_id, stream, number)], at_ms=now_ms)
        return [self._session.stream_data(now_ms, device_of(stream), metrics, False)]

    def _put(self, stream: str, number: int, metrics: list[Metric], at_ms: int, now_ms: int) -> bool:
        """Keep a row in the outbox; tell whether it found room."""
        payload = encode_payload(Payload(at_ms, None, metrics))
        try:
            self._outbox.put(site_id=self.site_id, stream=stream, number=number, payload=payload, at_ms=now_ms)
        except OutboxFull as error:
            self._refuse(error.name, str(error))
            return False
        return True

    def _note_away(self, now_ms: int) -> None:
        if self._away_since_ms is None:
            self._away_since_ms = now_ms
            log.info("%s site_id=%s", observe.LINK_DOWN, self.site_id)

    def _refuse(self, name: str, detail: str) -> None:
        self.refused_count += 1
        log.warning("%s site_id=%s error=%s detail=%.300s", observe.MESSAGE_REFUSED, self.site_id, name, detail)


def _taken_kw(held: Assignment | StreamGrant | None, at: datetime) -> tuple[float, float]:
    """Return what a held assignment may take of the headroom, into and out of the bus [kW]."""
    if held is None or held.ends_at <= at:
        return 0.0, 0.0
    if isinstance(held, StreamGrant):
        return held.up_kw, held.down_kw
    sides = {Direction.LOW: (1.0, 0.0), Direction.HIGH: (0.0, 1.0), Direction.BOTH: (1.0, 1.0)}[held.direction]
    return held.power_kw * sides[0], held.power_kw * sides[1]


def _known(value: Any) -> float | None:
    """Return a measurement, or None where none is known: a NaN has no place on the wire."""
    number = float(value)
    return number if math.isfinite(number) else None


def _instant(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms / 1000.0, UTC)


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
