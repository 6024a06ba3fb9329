"""The assignments that one site holds, one of each kind: verified, judged, kept, armed and reported."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from sites.core.assignments import Assignment, AssignmentState, Refusal, assignment_from_bytes, judge
from sites.core.bodies import BodyError
from sites.core.envelope import OperatingEnvelope
from sites.core.streams import StreamGrant, grant_from_bytes, judge_grant
from sites.wire.errors import KeyWithdrawn, WireError
from sites.wire.signature import key_id_in, open_envelope

ENVELOPE_HEAD_BYTES = 4 + 8 + 64
"""Magic, key id and signature before the body."""


Held = TypeVar("Held", Assignment, StreamGrant)


@dataclass
class Holding(Generic[Held]):
    """Desired, confirmed and refused state of one site for one kind of assignment."""

    prefix: ClassVar[str]
    """Of the metrics that report it."""
    read: ClassVar[Any]
    judge: ClassVar[Any]

    site_id: str
    platform_keys: Collection[bytes]
    held: Held | None = None
    """The last accepted assignment; its sequence is the floor for the next one even after its end."""
    signed_by: bytes = b""
    """Id of the key under which it came last."""
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

    def receive(self, envelope: bytes, *, operating: OperatingEnvelope, locked_out: bool, at: datetime) -> Held | None:
        """Judge a signed envelope; return the assignment to hold, or None when it was refused."""
        body = envelope[ENVELOPE_HEAD_BYTES:]
        try:
            assignment: Held = type(self).read(open_envelope(envelope, self.platform_keys))
        except BodyError:
            self._refuse(Refusal.MALFORMED, body, 0)
            return None
        except KeyWithdrawn:
            self._refuse(Refusal.KEY_WITHDRAWN, body, 0)
            return None
        except WireError:
            self._refuse(Refusal.UNSIGNED, body, 0)
            return None
        refusal = type(self).judge(assignment, held=self.held, envelope=operating, locked_out=locked_out, at=at)
        if refusal is not None:
            self._refuse(refusal, body, assignment.sequence)
            return None
        if self.is_suspended and assignment == self.held and assignment.power_kw > 0.0:
            # The held one again, while the site cannot serve it: no news, and no arming either.
            self._refuse(Refusal.LOCKED_OUT, body, assignment.sequence)
            return None
        self.held, self.signed_by = assignment, key_id_in(envelope)
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

    def restore(self, envelope: bytes, *, at: datetime) -> Held | None:
        """Take back what was held before a restart; return it when it has not ended."""
        try:
            held: Held = type(self).read(open_envelope(envelope, self.platform_keys))
        except (BodyError, WireError):
            # Signed by a key that the platform has given up since, or a damaged file.
            self.held = None
            return None
        self.held, self.signed_by = held, key_id_in(envelope)
        return held if held.ends_at > at else None

    def let_go_of(self, key_ids: Collection[bytes]) -> bool:
        """Forget what came last under one of these keys; tell whether the controller has to be asked anew.

        Its sequence goes too: a thief may have used the highest, and nothing could ever follow that.
        """
        if self.held is None or self.signed_by not in key_ids:
            return False
        self.held = None
        return True

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
            for name in ("refused_hash", "refusal", "refused_sequence"):
                del told[f"{self.prefix}/{name}"]
        self._told_refusal = refusal
        return told

    def reported(self) -> dict[str, str | int]:
        """Return the whole reported state by metric name, as births carry it."""
        if self.is_armed:
            state = AssignmentState.ARMED
        else:
            state = AssignmentState.REFUSED if self.refusal else AssignmentState.IDLE
        return {
            f"{self.prefix}/state": state.value,
            f"{self.prefix}/hash": self.confirmed_hash,
            f"{self.prefix}/sequence": self.held.sequence if self.held is not None else 0,
            f"{self.prefix}/refused_hash": self.refused_hash,
            f"{self.prefix}/refusal": self.refusal,
            f"{self.prefix}/refused_sequence": self.refused_sequence,
        }

    def _refuse(self, refusal: Refusal, body: bytes, sequence: int) -> None:
        self.refused_hash = hashlib.sha256(body).hexdigest()
        self.refusal = refusal.value
        self.refused_sequence = sequence
        self.refused_count += 1


class CurveHolding(Holding[Assignment]):
    """The armed response to the site's own frequency."""

    prefix = "reported"
    read = staticmethod(assignment_from_bytes)
    judge = staticmethod(judge)


class StreamHolding(Holding[StreamGrant]):
    """The granted part of a setpoint stream."""

    prefix = "reported_stream"
    read = staticmethod(grant_from_bytes)
    judge = staticmethod(judge_grant)
