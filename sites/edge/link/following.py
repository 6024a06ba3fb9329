"""Following a setpoint stream at one site: which signal counts, and what power it means. No clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sites.core.bodies import BodyError
from sites.core.streams import SetpointSignal, SignalRefusal, StreamGrant, judge_signal, signal_from_bytes
from sites.wire.errors import KeyWithdrawn, WireError
from sites.wire.signature import SIGNAL_MAGIC, open_envelope


@dataclass(slots=True)
class Following:
    """The last signal that a site followed, and what it refused by name."""

    platform_keys: Collection[bytes]
    last: SetpointSignal | None = None
    refused: Counter[str] = field(default_factory=Counter)

    def receive(
        self, stream: str, envelope: bytes, *, grant: StreamGrant | None, at: datetime
    ) -> SetpointSignal | SignalRefusal:
        """Judge a sealed signal; return it when it is to be followed, else why not.

        One for another stream is refused before its signature is looked at: it is not this site's business.
        """
        found = self._judged(stream, envelope, grant, at)
        if isinstance(found, SignalRefusal):
            self.refused[found.value] += 1
        else:
            self.last = found
        return found

    def _judged(
        self, stream: str, envelope: bytes, grant: StreamGrant | None, at: datetime
    ) -> SetpointSignal | SignalRefusal:
        if grant is None or stream != grant.stream:
            return SignalRefusal.FOREIGN
        try:
            signal = signal_from_bytes(open_envelope(envelope, self.platform_keys, magic=SIGNAL_MAGIC))
        except BodyError:
            return SignalRefusal.MALFORMED
        except KeyWithdrawn:
            return SignalRefusal.KEY_WITHDRAWN
        except WireError:
            return SignalRefusal.UNSIGNED
        # A sequence counts within its stream: that of another one says nothing.
        is_same = self.last is not None and self.last.stream == signal.stream
        last_sequence = self.last.sequence if is_same and self.last is not None else 0
        return judge_signal(signal, grant=grant, last_sequence=last_sequence, at=at) or signal
