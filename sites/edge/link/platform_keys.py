"""Whose signatures one site takes: the keys of its configuration, until its key authority announces others."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sites.core import observe
from sites.core.bodies import BodyError
from sites.core.key_ring import KeyAnnouncement, KeyRefusal, announcement_from_bytes, judge_announcement
from sites.wire.errors import WireError
from sites.wire.signature import HEADER_BYTES, KEYS_MAGIC, KeyRing, key_id_of, open_envelope

log = logging.getLogger(__name__)


class PlatformKeys:
    """The ring of keys, and the announcement that it stands on, kept as it was signed.

    A key whose envelopes are taken can never change the ring: only the authority can, and its key lies on no server
    (docs/fleet.md, "Keys"). So nobody who stole a signing key can lock its owner out.
    """

    def __init__(
        self, site_id: str, configured: Sequence[bytes], *, authority: bytes | None = None, path: Path | None = None
    ) -> None:
        """``path`` is where the announcement is kept; without one, or without an authority, none is taken."""
        self.site_id = site_id
        self.ring = KeyRing(configured)
        self._configured = tuple(configured)
        self._authority = authority if path is not None else None
        self._path = path
        self.held: KeyAnnouncement | None = None
        self.refused_hash = ""
        self.refusal = ""
        self.refused_count = 0

    def restore(self) -> None:
        """Take up the announcement that was taken last; a file that the authority did not sign counts as none."""
        if self._path is None or self._authority is None or not self._path.exists():
            return
        try:
            body = open_envelope(self._path.read_bytes(), [self._authority], magic=KEYS_MAGIC)
            self._hold(announcement_from_bytes(body))
        except (OSError, BodyError, WireError) as error:
            log.error("%s site_id=%s file=%s reason=%s", observe.KEYS_REFUSED, self.site_id, self._path, error)

    def receive(self, envelope: bytes, *, at: datetime) -> bool:
        """Judge an announcement; tell whether the ring is another one now."""
        found = self._judged(envelope, at)
        if isinstance(found, KeyRefusal):
            self.refused_hash = hashlib.sha256(envelope[HEADER_BYTES:]).hexdigest()
            self.refusal = found.value
            self.refused_count += 1
            log.warning("%s site_id=%s refusal=%s", observe.KEYS_REFUSED, self.site_id, found.value)
            return False
        self.refused_hash, self.refusal = "", ""
        if found == self.held:
            return False
        self._hold(found)
        log.info(
            "%s site_id=%s generation=%d keys=%s",
            observe.KEYS_TAKEN, self.site_id, found.generation, self.reported()["keys/ids"],
        )  # fmt: skip
        return True

    def reported(self) -> dict[str, str | int]:
        """Return by metric name which keys the site takes, and what became of the last announcement."""
        return {
            "keys/ids": ",".join(key_id_of(key).hex() for key in self.ring),
            "keys/generation": 0 if self.held is None else self.held.generation,
            "keys/hash": "" if self.held is None else self.held.content_hash,
            "keys/refused_hash": self.refused_hash,
            "keys/refusal": self.refusal,
        }

    def _judged(self, envelope: bytes, at: datetime) -> KeyAnnouncement | KeyRefusal:
        if self._authority is None:
            return KeyRefusal.NO_AUTHORITY
        try:
            announcement = announcement_from_bytes(open_envelope(envelope, [self._authority], magic=KEYS_MAGIC))
        except BodyError:
            return KeyRefusal.MALFORMED
        except WireError:
            return KeyRefusal.UNSIGNED
        refusal = judge_announcement(announcement, held=self.held, at=at)
        if refusal is None and announcement != self.held and not self._keep(envelope):
            return KeyRefusal.NOT_KEPT
        return refusal or announcement

    def _hold(self, announcement: KeyAnnouncement) -> None:
        # What the configuration still lists and the authority does not is withdrawn, too.
        before = [key_id_of(key) for key in (*self._configured, *self.ring)]
        self.held = announcement
        self.ring.replace(announcement.keys, withdrawn=[*announcement.withdrawn, *before])

    def _keep(self, envelope: bytes) -> bool:
        """Keep what was signed, whole or not at all; false when the disk does not take it."""
        if self._path is None:
            return False
        draft = self._path.with_name(f".{self._path.name}.new")
        try:
            with draft.open("wb") as file:
                file.write(envelope)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            log.error("%s site_id=%s file=%s reason=%s", observe.KEYS_REFUSED, self.site_id, self._path, error)
            return False
        return True
