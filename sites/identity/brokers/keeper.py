"""Keeps a broker's files as the registry says: writes what changed, reloads, ends revoked sites' sessions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from django.db import connection
from django.db.utils import DatabaseError, InterfaceError

from sites.core import observe
from sites.identity import operations, queries
from sites.identity.authority import LIST_VALID_FOR, Authority, Revoked
from sites.identity.brokers.sessions import LOG_TOPIC, BrokerSilent, ConnectionLog, Seen, nats_sessions
from sites.identity.brokers.texts import emqx_acl, mosquitto_acl, nats_users
from sites.identity.files import write_if_changed
from sites.identity.rights import service_rights
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection
from sites.observability.health import Health

logger = logging.getLogger(__name__)

WRITERS: Final = {
    "mosquitto": ("vpp.acl", mosquitto_acl),
    "nats": ("vpp-users.conf", nats_users),
    "emqx": ("vpp-acl.conf", emqx_acl),
}
"""Broker -> (name of its file, what writes the file's text)."""
REVOCATION_LIST: Final = "sites.crl"
HAS_LIST: Final = ("mosquitto", "emqx")
"""Brokers that read a revocation list; NATS has users by identity instead."""
END_ROUNDS: Final = 3
"""A broker may load its list a moment after the first try, and let the site in again until then."""
END_WITHIN_S: Final = 5.0
RELOAD_WITHIN_S: Final = 30.0
REGISTRY_WITHIN_S: Final = 60.0
"""A registry that was not read through for so long is gone, or a broker's reload hangs [s]."""


class KeeperError(Exception):
    """A broker that cannot be kept; the message says what is missing and what is accepted."""


@dataclass(frozen=True, slots=True)
class KeeperConfig:
    """Which broker is kept, where and how."""

    kind: str
    folder: Path
    host_id: str
    authority: Authority | None
    """Signs the revocation list; a broker with one needs it."""
    pid_file: Path | None = None
    """The process in it gets SIGHUP after a change: Mosquitto and nats-server read their files again."""
    reload_command: tuple[str, ...] = ()
    broker: BrokerAddress | None = None
    """The listener for services, on which a connection under a site's client id ends that site's session, and on
    which Mosquitto tells who comes."""
    monitors: tuple[str, ...] = ()
    """NATS: the nodes' monitors, ``http://host:port``, which tell who is and was connected."""


@dataclass
class Keeper:
    """One round after another; what was revoked before the start is ended in the first rounds too."""

    config: KeeperConfig
    sessions: ConnectionLog = field(default_factory=ConnectionLog)
    _to_end: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.config.kind in HAS_LIST and self.config.authority is None:
            raise KeeperError(f"{self.config.kind} needs a revocation list, accepted: VPP_SITE_CA_CERT and _KEY set")

    def round(self, *, at: datetime) -> list[str]:
        """Write what changed and reload; return the names of the files that were written."""
        config = self.config
        revoked = queries.revoked_certificates(at=at)
        name, text_of = WRITERS[config.kind]
        text = text_of(service_rights(config.host_id), queries.live_sites(at=at), queries.shut_out_sites(at=at))
        written = [name] if write_if_changed(config.folder / name, text.encode(), mode=0o640) else []
        if config.kind in HAS_LIST and config.authority is not None:
            path = config.folder / REVOCATION_LIST
            if not _is_current(path, revoked, at):
                write_if_changed(path, config.authority.revocation_list(revoked, at=at), mode=0o644)
                written.append(REVOCATION_LIST)
        if written:
            logger.info("%s broker=%s files=%s", observe.BROKER_FILES_WRITTEN, config.kind, ",".join(written))
            self._reload()
        return written

    def note_revoked(self, site_ids: Iterable[str]) -> None:
        """Have the sessions of these sites ended in the next rounds."""
        self._to_end |= dict.fromkeys(site_ids, END_ROUNDS)

    async def end_sessions(self) -> list[str]:
        """End the sessions that are due; return whose."""
        broker = self.config.broker
        if self.config.kind != "mosquitto" or broker is None:
            self._to_end.clear()
            return []
        due = list(self._to_end)
        for site_id in due:
            await end_session(broker, site_id)
            self._to_end[site_id] -= 1
            if not self._to_end[site_id]:
                del self._to_end[site_id]
        return due

    def locate_alarms(self, *, at: datetime) -> None:
        """Ask the broker from where the sites with a new sign of a clone came, and keep what it tells."""
        for alarm, identity in queries.unlocated_alarms():
            try:
                seen = self._sessions_of(alarm.site.site_id, identity)
            except BrokerSilent as error:
                logger.warning("sessions of %s are not told: %s", alarm.site.site_id, error)
                seen = []
            operations.note_addresses(alarm=alarm, seen=seen, at=at)

    def _sessions_of(self, site_id: str, identity: str) -> list[Seen]:
        if self.config.kind == "mosquitto":
            return self.sessions.of(site_id)
        if self.config.kind == "nats" and identity:
            return nats_sessions(self.config.monitors, identity)
        return []

    @contextlib.asynccontextmanager
    async def listening(self, *, now: Callable[[], datetime]) -> AsyncIterator[Connection | None]:
        """Hear Mosquitto's notices of who comes while the context lasts; other brokers are asked when it matters."""
        if self.config.kind != "mosquitto" or self.config.broker is None:
            yield None
            return
        listener = Connection(
            self.config.broker,
            name="vpp-broker",
            on_message=lambda _topic, line: self.sessions.note(line, at=now()),
        )
        # Optional: lists of an earlier version do not grant it, and the keeper's work does not hang on it.
        listener.subscribe_to([(LOG_TOPIC, 0)], optional=[LOG_TOPIC])
        running = asyncio.create_task(listener.run())
        try:
            yield listener
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def _reload(self) -> None:
        if self.config.pid_file is not None:
            try:
                os.kill(int(self.config.pid_file.read_text().strip()), signal.SIGHUP)
            except (OSError, ValueError) as error:
                # A broker that is down reads the new files when it starts.
                logger.warning("broker %s was not reloaded: %s", self.config.kind, error)
        if self.config.reload_command:
            done = subprocess.run(
                self.config.reload_command, capture_output=True, text=True, timeout=RELOAD_WITHIN_S, check=False
            )
            if done.returncode:
                logger.warning("broker %s was not reloaded: %s", self.config.kind, (done.stderr or done.stdout)[-300:])


async def end_session(broker: BrokerAddress, site_id: str) -> bool:
    """Take over a site's session and leave: its client id is its id there. Tells whether the broker let us."""
    is_up = asyncio.Event()
    intruder = Connection(
        replace(broker, client_id=site_id), name="vpp-broker", on_message=lambda *_: None, on_up=is_up.set
    )
    running = asyncio.create_task(intruder.run())
    try:
        async with asyncio.timeout(END_WITHIN_S):
            await is_up.wait()
        await intruder.finish(within_s=1.0)
    except TimeoutError:
        logger.warning("session of %s could not be ended: %s", site_id, intruder.down_reason)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return is_up.is_set()


def _is_current(path: Path, revoked: Sequence[Revoked], at: datetime) -> bool:
    """Tell whether a list names exactly these certificates and has half its life before it."""
    try:
        held = x509.load_pem_x509_crl(path.read_bytes())
    except (OSError, ValueError):
        return False
    ends_at = held.next_update_utc
    serials = {f"{row.serial_number:x}" for row in held}
    is_young = ends_at is not None and ends_at - at > LIST_VALID_FOR / 2
    return is_young and serials == {row.serial for row in revoked}


async def keep(
    keeper: Keeper, *, every_s: float, now: Callable[[], datetime], stop: asyncio.Event, health: Health
) -> None:
    """Run rounds until stopped, each in a thread; a database that is away is waited for.

    What was heard of sessions would be lost with the process.
    """
    is_done = health.expect_beat("registry", within_s=REGISTRY_WITHIN_S + every_s)
    since = datetime(2000, 1, 1, tzinfo=UTC)
    async with keeper.listening(now=now) as listener:
        if listener is not None:
            health.watch("broker", lambda: listener.down_reason)
        while not stop.is_set():
            at = now()
            if await asyncio.to_thread(_one_round, keeper, since, at):
                is_done()
                # A transaction that began before this round may commit after it.
                since = at - timedelta(seconds=10)
            await keeper.end_sessions()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await stop.wait()


def _one_round(keeper: Keeper, since: datetime, at: datetime) -> bool:
    """Do what the registry asks for; False when it cannot be read."""
    try:
        revoked = queries.sites_revoked_since(since=since, at=at)
        keeper.round(at=at)
        keeper.note_revoked(revoked)
        keeper.locate_alarms(at=at)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("the registry cannot be read: %s", error)
        with contextlib.suppress(DatabaseError, InterfaceError):
            connection.close()
        return False
    return True
