"""Keeps a broker's files as the registry says: writes what changed, reloads, ends revoked sites' sessions."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from sites.core import observe
from sites.identity import queries
from sites.identity.authority import LIST_VALID_FOR, Authority, Revoked
from sites.identity.brokers.texts import emqx_acl, mosquitto_acl, nats_users
from sites.identity.files import write_if_changed
from sites.identity.rights import service_rights
from sites.mqtt.address import BrokerAddress
from sites.mqtt.connection import Connection

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
    """The listener for services, on which a connection under a site's client id ends that site's session."""


@dataclass
class Keeper:
    """One round after another; what was revoked before the start is ended in the first rounds too."""

    config: KeeperConfig
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
    connection = Connection(
        replace(broker, client_id=site_id), name="vpp-broker", on_message=lambda *_: None, on_up=is_up.set
    )
    running = asyncio.create_task(connection.run())
    try:
        async with asyncio.timeout(END_WITHIN_S):
            await is_up.wait()
        await connection.finish(within_s=1.0)
    except TimeoutError:
        logger.warning("session of %s could not be ended: %s", site_id, connection.down_reason)
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


async def keep(keeper: Keeper, *, every_s: float, now: Callable[[], datetime], stop: asyncio.Event) -> None:
    """Run rounds until stopped; each reads the registry in a thread of its own."""
    since = datetime(2000, 1, 1, tzinfo=UTC)
    while not stop.is_set():
        at = now()
        revoked = await asyncio.to_thread(queries.sites_revoked_since, since=since, at=at)
        await asyncio.to_thread(keeper.round, at=at)
        keeper.note_revoked(revoked)
        await keeper.end_sessions()
        # A transaction that began before this round may commit after it.
        since = at - timedelta(seconds=10)
        try:
            async with asyncio.timeout(every_s):
                await stop.wait()
        except TimeoutError:
            continue
