"""The numbered rows of one site: closed, kept, sent, sent again and given up as the platform says."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from typing import Any, Final

from sites.core import observe
from sites.core.readings import TimeQuality
from sites.edge.control.exchange import Boundary, CapturedWaveform, Float32Array, ServiceBegin
from sites.edge.link.meter import Meter
from sites.edge.link.outbox import (
    AHEAD_MS,
    MAX_ASKED,
    RECORD_STREAM,
    WAVEFORM_STREAM,
    NoLongerKept,
    Outbox,
    OutboxError,
    OutboxFull,
    Row,
)
from sites.edge.link.presence import Presence
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
from sites.wire.edge_session import EdgeSession, Message
from sites.wire.metrics import RESEND, STORED_THROUGH
from sites.wire.payload import Metric, Payload, decode_payload, encode_payload

METER: Final = "meter"
MAX_CHUNKS_WAITING: Final = 60
"""Chunks of the record that wait in memory for a full disk: ten minutes, then the oldest goes."""
MAX_NUMBER: Final = 2**53

log = logging.getLogger(__name__)


class SiteRows:
    """One site's intervals, record chunks and waveforms on their way to the platform."""

    def __init__(
        self,
        profile: SiteProfile,
        *,
        index: int,
        interval_s: int,
        outbox: Outbox,
        session: EdgeSession,
        presence: Presence,
        refuse: Callable[[str, str], None],
    ) -> None:
        """``refuse`` counts what was refused by name, with its detail."""
        self.site_id = profile.site_id
        self._index = index
        self._outbox = outbox
        self._session = session
        self._presence = presence
        self._refuse = refuse
        self._meter = Meter([asset.name for asset in profile.assets], interval_s)
        # Sites of one process cut their chunks at different instants, or all would be packed at once.
        self._cutter = RecordCutter(phase_us=zlib.crc32(self.site_id.encode()) % CHUNK_US // 10_000 * 10_000)
        self._chunks: list[Chunk] = []
        self._chunks_put = 0
        """How many of them were put into the outbox by the transaction that runs."""
        self._streams = (*(asset.name for asset in profile.assets), RECORD_STREAM, WAVEFORM_STREAM)

    def restore(self) -> None:
        """Take up the meter where the last process left it."""
        if (state := self._outbox.kept(self.site_id, METER)) is not None:
            self._meter.restore(state)

    @property
    def is_adopted(self) -> bool:
        """Tell whether the platform told its marks, so that numbers are final."""
        return all(self._outbox.is_adopted(self.site_id, stream) for stream in self._streams)

    # --- what the controller says --------------------------------------------------------------

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
            # By a clock that is right it would be refused as of the future; it goes out when its time has come.
            is_early = time_quality is TimeQuality.SYNCHRONIZED and interval.ends_at_ms > now_ms + AHEAD_MS
            messages += self._keep(interval.asset, number, metrics, interval.ends_at_ms, now_ms, is_early=is_early)
        self._outbox.keep(self.site_id, METER, self._meter.to_bytes())
        return messages

    def add_records(
        self, *, first_us: int, rows: Float32Array, window_us: tuple[int, int] | None, now_ms: int
    ) -> list[Message]:
        """Add 100 Hz rows [n, columns]; keep and send the chunks that they complete.

        ``window_us`` is the armed assignment's (starts, ends), None when nothing is armed.
        """
        self._chunks += self._cutter.add(first_us=first_us, rows=rows, window_us=window_us)
        return self.keep_chunks(now_ms=now_ms)

    def keep_chunks(self, *, now_ms: int) -> list[Message]:
        """Keep and send the chunks that are complete, also those that a full disk did not take before."""
        due, self._chunks_put = self._chunks[self._chunks_put :], len(self._chunks)
        return [message for chunk in due for message in self._keep_chunk(chunk, now_ms)]

    def add_waveform(self, waveform: CapturedWaveform, *, now_ms: int) -> None:
        """Keep a captured waveform; it is sent with what waits, when the link has time for it."""
        number = self._outbox.next_number(self.site_id, WAVEFORM_STREAM)
        metrics = waveform_metrics(waveform, number)
        self._put(WAVEFORM_STREAM, number, metrics, waveform.trigger_at_us // 1000, now_ms)

    def settle(self) -> None:
        """Let go of what the last transaction kept."""
        del self._chunks[: self._chunks_put]
        self._chunks_put = 0

    def go_back(self) -> None:
        """Forget what the meter closed in a transaction that the disk did not take."""
        kept = self._outbox.kept(self.site_id, METER)
        self._meter = Meter(self._meter.assets, self._meter.interval_s)
        if kept is not None:
            self._meter.restore(kept)
        self._chunks_put = 0
        while len(self._chunks) > MAX_CHUNKS_WAITING:
            chunk = self._chunks.pop(0)
            self._outbox.note_dropped(self.site_id, RECORD_STREAM)
            log.warning(
                "%s site_id=%s stream=record at_us=%d", observe.SAMPLES_DROPPED, self.site_id, chunk.starts_at_us
            )

    # --- what the platform says ----------------------------------------------------------------

    def take_marks(self, values: dict[str, Any]) -> None:
        """Take how far the platform has stored the streams."""
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
                elif self._presence.is_born:
                    # Before our births it may be the mark of a batch that still is on its way to the database.
                    self._adopt(stream, int(value))
            except OutboxError as error:
                self._refuse(error.name, str(error))

    def take_asked(self, values: dict[str, Any], now_ms: int) -> list[Message]:
        """Bring rows back that the platform asks for; return the answers. The rows go out like all that wait."""
        answers = []
        for name, value in values.items():
            if name.startswith(RESEND) and self._presence.is_born:
                stream = name.removeprefix(RESEND)
                first, last, found, refusal = self._bring_back(stream, value)
                if refusal:
                    self._refuse(refusal, f"{name} {first} to {last}")
                answer = resent_metrics(stream=stream, first=first, last=last, found=found, refusal=refusal)
                answers.append(self._session.stream_data(now_ms, None, answer, False))
        return answers

    def resend(self, row: Row, *, now_ms: int) -> Message:
        """Return a kept row as a historical message."""
        payload = decode_payload(row.payload, max_bytes=MAX_ROW_BYTES)
        for metric in payload.metrics:
            if metric.name is not None and metric.name.endswith("/number"):
                # The row may have been kept before its final number was known.
                metric.value = row.number
        return self._session.stream_data(now_ms, device_of(row.stream), payload.metrics, True)

    # --- inside --------------------------------------------------------------------------------

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

    def _keep_chunk(self, chunk: Chunk, now_ms: int) -> list[Message]:
        number = self._outbox.next_number(self.site_id, RECORD_STREAM)
        metrics = record_metrics(chunk, number)
        return self._keep(RECORD_STREAM, number, metrics, chunk.starts_at_us // 1000, now_ms)

    def _keep(
        self, stream: str, number: int, metrics: list[Metric], at_ms: int, now_ms: int, *, is_early: bool = False
    ) -> list[Message]:
        """Keep a row in the outbox; return it as a message when the platform listens and its number is final."""
        if not self._put(stream, number, metrics, at_ms, now_ms) or is_early:
            return []
        if not self._presence.is_born or not self._outbox.is_adopted(self.site_id, stream):
            return []
        self._outbox.mark_sent([(self.site_id, stream, number)], at_ms=now_ms)
        return [self._session.stream_data(now_ms, device_of(stream), metrics, False)]

    def _put(self, stream: str, number: int, metrics: list[Metric], at_ms: int, now_ms: int) -> bool:
        """Keep a row in the outbox; tell whether it found room."""
        payload = encode_payload(Payload(at_ms, None, metrics))
        try:
            self._outbox.put(
                site_id=self.site_id, stream=stream, number=number, payload=payload, at_ms=max(now_ms, at_ms)
            )
        except OutboxFull as error:
            self._outbox.note_dropped(self.site_id, stream)
            self._refuse(error.name, str(error))
            return False
        return True
