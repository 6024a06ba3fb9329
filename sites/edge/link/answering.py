"""The commands that reach one site: verified, judged, asked of its controller once at most, answered and repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sites.core.commands import CommandError, SiteCommand, command_from_bytes, judge_command
from sites.core.requests import ANSWERED_WITHIN_S, RequestRefusal
from sites.edge.link.holding import ENVELOPE_HEAD_BYTES
from sites.wire.errors import KeyWithdrawn, WireError
from sites.wire.signature import open_envelope

NONE: Final = "none"
ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one command."""

    sequence: int = 0
    content_hash: str = ""
    state: str = NONE
    """NONE of a command that the controller has not answered."""
    error: str = ""


@dataclass(slots=True)
class Answering:
    """The last command of one site and the answer to it."""

    site_id: str
    platform_keys: Collection[bytes]
    last: Told = field(default_factory=Told)
    """The last one that was begun: its sequence is the floor for the next, also over a restart."""
    shown: Told = field(default_factory=Told)
    """What is reported: the last answer, also of a command that was none or came too late."""
    refused_count: int = 0
    _waits_until_s: float | None = None

    def receive(self, envelope: bytes, *, at: datetime) -> SiteCommand | None:
        """Judge a signed envelope; return the command that the controller is to be asked for, or None.

        None: ``shown`` says what became of it, unless the controller's answer is still to come.
        """
        body = envelope[ENVELOPE_HEAD_BYTES:]
        try:
            command = command_from_bytes(open_envelope(envelope, self.platform_keys))
        except CommandError:
            self._refuse(RequestRefusal.MALFORMED, hashlib.sha256(body).hexdigest())
            return None
        except KeyWithdrawn:
            self._refuse(RequestRefusal.KEY_WITHDRAWN, hashlib.sha256(body).hexdigest())
            return None
        except WireError:
            self._refuse(RequestRefusal.UNSIGNED, hashlib.sha256(body).hexdigest())
            return None
        refusal = judge_command(
            command,
            site_id=self.site_id,
            answered_sequence=self.last.sequence,
            answered_hash=self.last.content_hash,
            at=at,
        )
        if refusal in (RequestRefusal.EXPIRED, RequestRefusal.LOCAL_ONLY):
            self.last = Told(command.sequence, command.content_hash, REFUSED, refusal.value)
            self._refuse(refusal, command.content_hash)
            return None
        if refusal is not None:
            self._refuse(refusal, command.content_hash)
            return None
        if command.sequence == self.last.sequence:
            if not self.is_waiting:
                self.shown = self.last
            return None
        if self.is_waiting:
            self._refuse(RequestRefusal.BUSY, command.content_hash)
            return None
        self.last = Told(command.sequence, command.content_hash)
        self._waits_until_s = at.timestamp() + ANSWERED_WITHIN_S
        return command

    @property
    def is_waiting(self) -> bool:
        """Whether the controller has been asked and has not answered."""
        return self._waits_until_s is not None

    def answer(self, number: int, refusal: str) -> bool:
        """Take the controller's answer; false when it belongs to nothing that waits."""
        if not self.is_waiting or number != self.last.sequence:
            return False
        self._waits_until_s = None
        self.last = Told(number, self.last.content_hash, REFUSED if refusal else ACCEPTED, refusal)
        self.refused_count += bool(refusal)
        self.shown = self.last
        return True

    def give_up(self, *, at: datetime) -> bool:
        """Answer for a controller that has been silent for too long; tell whether it was."""
        if self._waits_until_s is None or at.timestamp() <= self._waits_until_s:
            return False
        return self.answer(self.last.sequence, RequestRefusal.CONTROLLER_SILENT.value)

    def reported(self) -> dict[str, str | int]:
        """Return the answer by metric name."""
        return {
            "answer/state": self.shown.state,
            "answer/hash": self.shown.content_hash,
            "answer/sequence": self.last.sequence,
            "answer/error": self.shown.error,
        }

    def to_bytes(self) -> bytes:
        """Return what is kept over a restart."""
        last = self.last
        return json.dumps([last.sequence, last.content_hash, last.state, last.error]).encode()

    def restore(self, kept: bytes) -> None:
        """Take back what was kept; one that was begun and not answered is never done again."""
        self.last = Told(*json.loads(kept))
        if self.last.sequence and self.last.state == NONE:
            self.last = Told(self.last.sequence, self.last.content_hash, REFUSED, RequestRefusal.INTERRUPTED.value)
        self.shown = self.last

    def _refuse(self, refusal: RequestRefusal, content_hash: str) -> None:
        self.refused_count += 1
        self.shown = Told(self.last.sequence, content_hash, REFUSED, refusal.value)
