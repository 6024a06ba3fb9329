"""The MQTT side of an edge process: connections, outbox and control loop of one site or of many, joined.

One asyncio thread does everything here. Messages are noted by paho's callbacks and worked off in
one place, a whole batch in one transaction, so that a burst of assignments costs one commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import zlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sites.core import observe
from sites.edge.control.exchange import CapturedWaveform, ControllerPort, Image, RecordRows
from sites.edge.link.clock import ClockWatch
from sites.edge.link.event_folder import EventFolder
from sites.edge.link.identity import IdentityFolder
from sites.edge.link.outbox import DROP_ORDER, Backlog, Outbox
from sites.edge.link.outbox_file import OutboxUnwritable
from sites.edge.link.outbox_watch import OutboxFigures
from sites.edge.link.profile import SiteProfile
from sites.edge.link.renewal import keep_renewed
from sites.edge.link.silence import SilenceWatch
from sites.edge.link.site_link import SiteLink
from sites.edge.link.stream_rows import empty_payload
from sites.edge.link.uplink_settings import UplinkSettings
from sites.edge.link.waiting import Waiting
from sites.mqtt.connection import Connection
from sites.wire.edge_session import Message

POLL_S: Final = 0.005
SLOTS: Final = 50
"""A second has so many slots; each site has its own, so that a fleet's live data does not come in one burst."""
RESEND_EVERY_S: Final = 1.0
RESEND_ROWS: Final = 1000
"""Rows sent again in one go, so that a long backlog does not crowd out live data."""
MAX_QUEUED: Final = 20_000
"""Messages noted but not worked off; beyond it new ones are dropped and counted, the platform repeats."""
FAREWELL_S: Final = 3.0
FULL_PAUSE_S: Final = 1.0
OUTBOX_EVERY_S: Final = 20.0
"""How often the outbox is looked through: a year of minutes takes some tenths of a second."""

log = logging.getLogger(__name__)


class Uplink:
    """Runs the links of one process's sites."""

    def __init__(
        self,
        profiles: Sequence[SiteProfile],
        port: ControllerPort,
        settings: UplinkSettings,
        *,
        events: EventFolder | None = None,
        identities: Sequence[IdentityFolder] = (),
    ) -> None:
        """``events`` keeps each event as files beside what is sent; None keeps none.

        ``identities``, one for each profile in their order, are by whose certificates the sites connect.
        Raises IdentityError when one cannot be used.
        """
        self._identities = list(identities)
        self._port = port
        self._events = events
        self._settings = settings
        self._outbox = Outbox(
            settings.outbox_path,
            empty=empty_payload,
            max_bytes=settings.outbox_max_bytes,
            keep_stored_s=settings.keep_stored_s,
            reserve_bytes=settings.outbox_reserve_bytes,
        )
        self._executor = ThreadPoolExecutor(max_workers=16, thread_name_prefix="connect")
        self._notes: deque[tuple[int, str, str, bytes]] = deque()
        self._noted = asyncio.Event()
        self._image: Image | None = None
        self._waiting = [Waiting() for _ in profiles]
        self._house_due_s = self._outbox_due_s = 0.0
        self._epoch_us = 0
        """When the controller started whose boundaries come now."""
        self.clock = ClockWatch()
        self.dropped_count = 0
        """Messages dropped because the queue was full."""
        self.links = [
            SiteLink(
                profile,
                index=index,
                host_id=settings.host_id,
                platform_keys=settings.platform_keys,
                key_authority=settings.key_authority,
                keys_path=settings.outbox_path.with_name(f"{profile.site_id}.keys"),
                interval_s=settings.interval_s,
                outbox=self._outbox,
                port=port,
            )
            for index, profile in enumerate(profiles)
        ]
        self.connections = [self._connection(index, link) for index, link in enumerate(self.links)]
        self._extra: list[list[tuple[str, int]]] = [[] for _ in profiles]
        self._silences = [
            SilenceWatch(interval_s=settings.interval_s, spread=zlib.crc32(link.site_id.encode()) / 2**32)
            for link in self.links
        ]
        with self._outbox.transaction():
            for index, link in enumerate(self.links):
                link.restore(now_ms=_now_ms())
                self._listen(index, link)

    @property
    def born_count(self) -> int:
        """How many sites' births were sent on their present connection."""
        return sum(link.is_born for link in self.links)

    @property
    def refused_count(self) -> int:
        """Messages and assignments that were refused since the start."""
        return sum(link.refused_count + link.orders.refused_count for link in self.links)

    @property
    def measured_us(self) -> int:
        """Instant of the controllers' last values [us since the epoch]; 0 before the first."""
        return 0 if self._image is None else self._image.at_us

    @property
    def samples_late(self) -> int:
        """Late or overrun control ticks so far."""
        return 0 if self._image is None else self._image.counts.samples_late

    def waiting_rows(self) -> int:
        """Count the rows that are kept at the site; reads a table."""
        return self._outbox.depth()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until stopped; then say farewell and close. An error in any part ends the whole."""
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(connection.run()) for connection in self.connections]
                running += [tasks.create_task(work) for work in (self._work_off(), self._poll(), self._tick())]
                running.append(tasks.create_task(self._resend()))
                running.append(tasks.create_task(keep_renewed(self._identities, self._change_over, self._executor)))
                await stop.wait()
                await self._finish()
                for task in running:
                    task.cancel()
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._outbox.close()

    def _connection(self, index: int, link: SiteLink) -> Connection:
        broker = self._settings.broker
        if self._identities:
            broker = self._identities[index].address(broker)
        return Connection(
            broker,
            name=link.site_id,
            executor=self._executor,
            subscriptions=link.subscriptions(),
            will=link.will,
            on_down=lambda: self._note(index, "down"),
            on_message=lambda topic, payload: self._note(index, "message", topic, payload),
            backoff_s=self._settings.backoff_s,
        )

    def _note(self, index: int, what: str, topic: str = "", payload: bytes = b"") -> None:
        if what == "message" and len(self._notes) >= MAX_QUEUED:
            self.dropped_count += 1
            if self.dropped_count % 1000 == 1:
                # A flood must not become a flood of log lines.
                log.warning("%s count=%d topic=%s", observe.COMMANDS_DROPPED, self.dropped_count, topic)
            return
        self._notes.append((index, what, topic, payload))
        self._noted.set()

    async def _work_off(self) -> None:
        while True:
            await self._noted.wait()
            self._noted.clear()
            outgoing: list[tuple[int, Message]] = []
            touched: set[int] = set()
            with contextlib.suppress(OutboxUnwritable), self._outbox.transaction():
                while self._notes:
                    index, what, topic, payload = self._notes.popleft()
                    touched.add(index)
                    link = self.links[index]
                    if what == "message":
                        self._silences[index].hear()
                        outgoing += [(index, m) for m in link.receive(topic, payload, now_ms=_now_ms())]
                        self._listen(index, link)
                    else:
                        link.note_down(now_ms=_now_ms())
            # Sent and asked only after the commit: nothing is told or done that a crash could take back.
            for index in touched:
                for ask in self.links[index].orders.take_asks():
                    self._port.ask(ask)
            # Sent only after the commit: nothing is told that a crash could take back. On a full disk what was heard
            # still counts while this process lives; the platform repeats marks and assignments to the next one.
            self._send(outgoing)

    def _listen(self, index: int, link: SiteLink) -> None:
        """Subscribe to what a grant asks for, and to no more."""
        extra = link.orders.extra_subscriptions()
        if extra != self._extra[index]:
            self._extra[index] = extra
            # A broker that does not let the site hear the stream leaves it without; its curve goes on.
            topics = [topic for topic, _ in extra]
            self.connections[index].subscribe_to([*link.subscriptions(), *extra], optional=topics)

    async def _poll(self) -> None:
        """Take over what the controllers measured and confirmed."""
        held: tuple[str, ...] = ()
        streams: tuple[str, ...] = ()
        while True:
            update = self._port.poll()
            now_ms = _now_ms()
            outgoing: list[tuple[int, Message]] = []
            image = update.image
            if image is not None and image is not self._image:
                self._image = image
                if image.held != held:
                    held = image.held
                    for index, held_hash in enumerate(held):
                        outgoing += [(index, m) for m in self.links[index].orders.confirm(held_hash, now_ms=now_ms)]
                if image.streams != streams:
                    streams = image.streams
                    for index, held_hash in enumerate(streams):
                        outgoing += [
                            (index, m) for m in self.links[index].orders.confirm_stream(held_hash, now_ms=now_ms)
                        ]
            for boundary in update.boundaries:
                self._epoch_us = boundary.epoch_us
                for waiting in self._waiting:
                    waiting.boundaries.append(boundary)
            for begin in update.services:
                self._waiting[begin.index].services.append(begin)
            for records in update.records:
                self._take_records(records)
            if update.answers:
                with contextlib.suppress(OutboxUnwritable), self._outbox.transaction():
                    for answer in update.answers:
                        link = self.links[answer.index]
                        outgoing += [(answer.index, m) for m in link.orders.take_answer(answer, now_ms=now_ms)]
            self._send(outgoing)
            if update.waveforms and not self._take_waveforms(update.waveforms, now_ms):
                # The spool keeps them; not at every poll again.
                await asyncio.sleep(FULL_PAUSE_S)
            await asyncio.sleep(POLL_S)

    def _take_records(self, records: RecordRows) -> None:
        for index, waiting in enumerate(self._waiting):
            waiting.records.append((records.first_us, records.rows[:, index]))

    def _take_waveforms(self, waveforms: Sequence[CapturedWaveform], now_ms: int) -> bool:
        try:
            with self._outbox.transaction():
                for waveform in waveforms:
                    self.links[waveform.index].rows.add_waveform(waveform, now_ms=now_ms)
        except OutboxUnwritable:
            return False
        for waveform in waveforms:
            if self._events is not None:
                self._events.keep(waveform)
            self._port.settle_waveform(waveform)
        return True

    async def _tick(self) -> None:
        """Serve each site once a second in its own slot: live data, intervals, records, loss of link."""
        slot = 0
        next_s = time.monotonic()
        while True:
            next_s += 1.0 / SLOTS
            if (late_s := time.monotonic() - next_s) > 1.0:
                next_s += late_s
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))
            slot = (slot + 1) % SLOTS
            if step_s := self.clock.look(epoch_us=self._epoch_us):
                for link in self.links:
                    link.move_clock(by_ms=round(step_s * 1000))
                log.error("%s step_s=%.3f: instants are off until control starts again", observe.CLOCK_STEPPED, step_s)
            self._serve_all(range(slot, len(self.links), SLOTS))
            if slot == 0:
                self._keep_house()
                self._watch_outbox()

    def _serve_all(self, indexes: Sequence[int]) -> None:
        """Serve some sites in one transaction; on a full disk only what needs none of it."""
        outgoing: list[tuple[int, Message]] = []
        try:
            with self._outbox.transaction():
                for index in indexes:
                    outgoing += [(index, message) for message in self._tell(index)]
                    outgoing += [(index, message) for message in self._close(index)]
                    outgoing += [(index, message) for message in self._record(index)]
        except OutboxUnwritable as error:
            log.error("%s reason=%s: intervals wait in memory", observe.OUTBOX_FULL, error)
            for index in indexes:
                self.links[index].rows.go_back()
            # Live data needs no disk; what was numbered in vain must not go out.
            self._send([(index, message) for index in indexes for message in self._tell(index)])
            return
        for index in indexes:
            self.links[index].rows.settle()
            # Only now: what a full disk did not take is closed again at the next turn.
            self._waiting[index].settle()
        self._send(outgoing)

    def _keep_house(self) -> None:
        now_s = time.monotonic()
        if now_s < self._house_due_s:
            return
        self._house_due_s = now_s + 60.0
        with contextlib.suppress(OutboxUnwritable):
            self._outbox.prune_stored(at_ms=_now_ms())
        self._outbox.take_reserve()

    def _watch_outbox(self) -> None:
        """Look how much waits, and tell it with each site's live data."""
        if (now_s := time.monotonic()) < self._outbox_due_s:
            return
        self._outbox_due_s = now_s + OUTBOX_EVERY_S
        now_ms = _now_ms()
        backlogs = self._outbox.backlogs(at_ms=now_ms)
        for link in self.links:
            backlog = backlogs.get(link.site_id, Backlog())
            link.outbox_watch.look(self._outbox, backlog, at_ms=now_ms, at_s=now_s)

    def outbox_figures(self) -> OutboxFigures:
        """Return what all sites of the process have in their outbox."""
        watched = [link.outbox_watch.values for link in self.links if link.outbox_watch.values]
        oldest_ms = min((values["outbox_oldest_at"] for values in watched if values["outbox_oldest_at"]), default=None)
        return OutboxFigures(
            used_ratio=self._outbox.used_ratio,
            oldest_s=0.0 if oldest_ms is None else max(0.0, (_now_ms() - oldest_ms) / 1000.0),
            dropped={
                stream: sum(self._outbox.dropped(link.site_id, stream) for link in self.links) for stream in DROP_ORDER
            },
            is_unwritable=self._outbox.is_unwritable,
        )

    def _tell(self, index: int) -> list[Message]:
        link, now_ms = self.links[index], _now_ms()
        link.orders.check_link(now_ms=now_ms)
        # Asked even where there is one node only: the watch must not wake up with hours of silence behind it.
        connection = self.connections[index]
        if self._silences[index].is_due(time.monotonic(), is_connected=connection.is_up) and connection.can_change:
            connection.try_another("the platform answers nothing here")
        messages = link.orders.check_answer(now_ms=now_ms)
        if self._image is not None:
            image = self._image
            link.measure(image.measured[index], at_us=image.at_us, counts=image.counts)
            messages += link.ensure_born(now_ms=now_ms)
            if not self.connections[index].is_congested:
                messages += link.live()
        return messages

    def _close(self, index: int) -> list[Message]:
        """Close the intervals that are due."""
        link, now_ms = self.links[index], _now_ms()
        messages: list[Message] = []
        for services, boundary in self._waiting[index].due():
            for begin in services:
                link.rows.begin_service(begin)
            at_us = self._image.at_us if self._image is not None else boundary.at_us
            quality = self.clock.quality(epoch_us=boundary.epoch_us, controller_us=at_us)
            messages += link.rows.close_interval(boundary, now_ms=now_ms, time_quality=quality)
        return messages

    def _record(self, index: int) -> list[Message]:
        link, now_ms = self.links[index], _now_ms()
        messages = link.rows.keep_chunks(now_ms=now_ms)
        for first_us, rows in self._waiting[index].take_records():
            window_us = link.orders.record_window_us()
            messages += link.rows.add_records(first_us=first_us, rows=rows, window_us=window_us, now_ms=now_ms)
        return messages

    async def _resend(self) -> None:
        """Send rows that the platform has not confirmed, and waveforms at all, while it is there to take them."""
        by_site = {link.site_id: index for index, link in enumerate(self.links)}
        while True:
            await asyncio.sleep(RESEND_EVERY_S)
            now_ms = _now_ms()
            able = [
                link.site_id
                for link, connection in zip(self.links, self.connections, strict=True)
                if link.is_born and not connection.is_congested
            ]
            rows = self._outbox.due(
                sent_before_ms=now_ms - round(self._settings.resend_after_s * 1000),
                limit=RESEND_ROWS,
                site_ids=able,
                at_ms=now_ms,
                is_clock_right=bool(self.clock.synchronized()),
            )
            if not rows:
                continue
            # On a full disk they go out all the same: what the platform stores makes room.
            with contextlib.suppress(OutboxUnwritable), self._outbox.transaction():
                self._outbox.mark_sent([(row.site_id, row.stream, row.number) for row in rows], at_ms=now_ms)
            for row in rows:
                index = by_site[row.site_id]
                if self.links[index].is_born:
                    self._send([(index, self.links[index].rows.resend(row, now_ms=now_ms))])

    def _send(self, outgoing: Sequence[tuple[int, Message]]) -> None:
        for index, message in outgoing:
            self.connections[index].publish(message)

    async def _change_over(self, index: int) -> None:
        """Leave in order and come back with the new certificate; rows wait in the outbox meanwhile."""
        await self.connections[index].renew(self.links[index].farewell(), within_s=FAREWELL_S)

    async def _finish(self) -> None:
        pairs = zip(self.links, self.connections, strict=True)
        await asyncio.gather(*(c.finish(link.farewell(), within_s=FAREWELL_S) for link, c in pairs))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
