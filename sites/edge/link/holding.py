"""The assignment that one site holds: verified, judged, kept over a restart, armed and reported."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sites.core.assignments import (
    Assignment,
    AssignmentError,
    AssignmentState,
    Refusal,
    assignment_from_bytes,
    judge,
)
from sites.core.envelope import OperatingEnvelope
from sites.wire.errors import WireError
from sites.wire.signature import open_envelope

ENVELOPE_HEAD_BYTES = 4 + 8 + 64
"""Magic, key id and signature before the body."""


@dataclass(slots=True)
class Holding:
    """Desired, confirmed and refused state of one site."""

    site_id: str
    platform_keys: Sequence[bytes]
    held: Assignment | None = None
    """The last accepted assignment; its sequence is the floor for the next one even after its end."""
    confirmed_hash: str = ""
    """What the controller says it holds."""
    is_released: bool = False
    """Given up because the link was lost."""
    is_suspended: bool = False
    """Given up because the site stands still; taken up again by itself when it serves again."""
    refused_hash: str = ""
    refusal: str = ""
    refused_sequence: int = 0
    refused_count: int = 0
    _told_refusal: tuple[str, str, int] = ("", "", 0)

    def receive(
        self, envelope: bytes, *, operating: OperatingEnvelope, locked_out: bool, at: datetime
    ) -> Assignment | None:
        """Judge a signed envelope; return the assignment to hold, or None when it was refused."""
        body = envelope[ENVELOPE_HEAD_BYTES:]
        try:
            assignment = assignment_from_bytes(open_envelope(envelope, self.platform_keys))
        except AssignmentError:
            self._refuse(Refusal.MALFORMED, body, 0)
            return None
        except WireError:
            self._refuse(Refusal.UNSIGNED, body, 0)
            return None
        refusal = judge(assignment, held=self.held, envelope=operating, locked_out=locked_out, at=at)
        if refusal is not None:
            self._refuse(refusal, body, assignment.sequence)
            return None
        if self.is_suspended and assignment == self.held and assignment.power_kw > 0.0:
            # The held one again, while the site cannot serve it: no news, and no arming either.
            self._refuse(Refusal.LOCKED_OUT, body, assignment.sequence)
            return None
        self.held = assignment
        self.is_released = False
        self.refused_hash, self.refusal, self.refused_sequence = "", "", 0
        return assignment

    def suspend(self, *, locked_out: bool) -> bool:
        """Note whether the site stands still; tell whether the controller has to be asked anew."""
        if locked_out == self.is_suspended or (locked_out and not self.is_armed):
            return False
        self.is_suspended = locked_out
        if not locked_out and self.refusal == Refusal.LOCKED_OUT:
            self.refused_hash, self.refusal, self.refused_sequence = "", "", 0
        return True

    def restore(self, envelope: bytes, *, at: datetime) -> Assignment | None:
        """Take back what was held before a restart; return it when it has not ended."""
        try:
            self.held = assignment_from_bytes(open_envelope(envelope, self.platform_keys))
        except (AssignmentError, WireError):
            # Signed by a key that the platform has given up since, or a damaged file.
            self.held = None
            return None
        return self.held if self.held.ends_at > at else None

    @property
    def is_armed(self) -> bool:
        """Tell whether the controller serves the held assignment."""
        return self.held is not None and self.held.power_kw > 0.0 and self.confirmed_hash == self.held.content_hash

    def news(self) -> dict[str, str | int]:
        """Return what to tell now: what is held, and the last refusal where one stands or has just been cleared.

        A fleet that is armed at once answers with half the metrics.
        """
        told = self.reported()
        refusal = (self.refused_hash, self.refusal, self.refused_sequence)
        if refusal == self._told_refusal == ("", "", 0):
            for name in ("reported/refused_hash", "reported/refusal", "reported/refused_sequence"):
                del told[name]
        self._told_refusal = refusal
        return told

    def reported(self) -> dict[str, str | int]:
        """Return the whole reported state by metric name, as births carry it."""
        if self.is_armed:
            state = AssignmentState.ARMED
        else:
            state = AssignmentState.REFUSED if self.refusal else AssignmentState.IDLE
        return {
            "reported/state": state.value,
            "reported/hash": self.confirmed_hash,
            "reported/sequence": self.held.sequence if self.held is not None else 0,
            "reported/refused_hash": self.refused_hash,
            "reported/refusal": self.refusal,
            "reported/refused_sequence": self.refused_sequence,
        }

    def _refuse(self, refusal: Refusal, body: bytes, sequence: int) -> None:
        self.refused_hash = hashlib.sha256(body).hexdigest()
        self.refusal = refusal.value
        self.refused_sequence = sequence
        self.refused_count += 1
