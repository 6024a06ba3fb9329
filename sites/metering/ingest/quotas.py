"""What one site may send: budgets that fill up with time, and a gate that shuts when one is overdrawn. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sites.wire.errors import WireError
from sites.wire.topics import parse_topic

MAX_TOPICS: Final = 500_000
"""Topics whose gate is remembered; beyond them they are read again."""
NOBODY: Final = ""
"""Stands for everything that names no site."""

MESSAGES: Final = "messages"
BYTES: Final = "bytes"
BIRTHS: Final = "births"
REFUSALS: Final = "refusals"


@dataclass(frozen=True, slots=True)
class Quota:
    """The budget of each site, and how long it must keep to it before it is heard again."""

    messages_per_s: float
    bytes_per_s: float
    births_per_min: float
    refusals_per_min: float
    burst_s: float
    """Budgets may be saved up for so long: what a site sends at once after an outage."""
    quiet_s: float


@dataclass(slots=True)
class Gate:
    """One site's budgets. They go on being counted while it is shut, by topic and size alone."""

    site_id: str
    messages: float
    size: float
    births: float
    refusals: float
    at_s: float
    shut_by: str = ""
    """The overdrawn budget; empty: the site is heard."""
    over_at_s: float = 0.0
    """When a budget was last overdrawn."""
    dropped: int = 0
    """Messages dropped since it was last asked for."""
    is_told: bool = False
    """Whether the shutting was written down."""


@dataclass(slots=True)
class Gates:
    """The gates of all sites that were heard."""

    quota: Quota
    _gates: dict[str, Gate] = field(default_factory=dict)
    _by_topic: dict[str, tuple[Gate, bool]] = field(default_factory=dict)
    _shut: dict[str, Gate] = field(default_factory=dict)

    def admits(self, topic: str, size: int, now_s: float) -> bool:
        """Draw a message from its site's budgets; False when it must be dropped unread."""
        gate, is_birth = self._by_topic.get(topic) or self._of_topic(topic, now_s)
        quota = self.quota
        elapsed_s = now_s - gate.at_s
        if elapsed_s > 0.0:
            gate.at_s = now_s
            burst_s = quota.burst_s
            gate.messages = min(gate.messages + elapsed_s * quota.messages_per_s, burst_s * quota.messages_per_s)
            gate.size = min(gate.size + elapsed_s * quota.bytes_per_s, burst_s * quota.bytes_per_s)
            births, refusals = quota.births_per_min / 60.0, quota.refusals_per_min / 60.0
            gate.births = min(gate.births + elapsed_s * births, _at_least_one(burst_s * births))
            gate.refusals = min(gate.refusals + elapsed_s * refusals, _at_least_one(burst_s * refusals))
        gate.messages -= 1.0
        gate.size -= size
        gate.births -= is_birth
        if gate.messages < 0.0 or gate.size < 0.0 or gate.births < 0.0:
            self._overdrawn(gate, MESSAGES if gate.messages < 0.0 else BYTES if gate.size < 0.0 else BIRTHS, now_s)
        if gate.shut_by:
            gate.dropped += 1
            return False
        return True

    def refused(self, topic: str, now_s: float) -> None:
        """Draw one refused message from its site's budget."""
        gate, _ = self._by_topic.get(topic) or self._of_topic(topic, now_s)
        gate.refusals -= 1.0
        if gate.refusals < 0.0:
            self._overdrawn(gate, REFUSALS, now_s)

    def shut(self, site_id: str, reason: str, now_s: float) -> None:
        """Shut a gate that another worker or an earlier start of this one had shut."""
        gate = self._of_site(site_id, now_s)
        gate.shut_by, gate.over_at_s, gate.is_told = reason, now_s, True
        self._shut[site_id] = gate

    def open(self, site_id: str, now_s: float) -> None:
        """Hear a site again, with full budgets."""
        gate = self._shut.pop(site_id, None)
        if gate is not None:
            self._fill(gate, now_s)
            gate.shut_by, gate.is_told = "", False

    def forget(self, site_ids: Iterable[str]) -> None:
        """Forget sites that are another worker's by now."""
        gone = set(site_ids)
        for site_id in gone:
            self._gates.pop(site_id, None)
            self._shut.pop(site_id, None)
        self._by_topic = {topic: entry for topic, entry in self._by_topic.items() if entry[0].site_id not in gone}

    @property
    def shut_gates(self) -> list[Gate]:
        """The gates that are shut."""
        return list(self._shut.values())

    def quiet(self, now_s: float) -> list[Gate]:
        """Return the shut gates whose sites have kept to their budgets for long enough."""
        return [gate for gate in self._shut.values() if now_s - gate.over_at_s >= self.quota.quiet_s]

    def _overdrawn(self, gate: Gate, reason: str, now_s: float) -> None:
        gate.over_at_s = now_s
        # Not below nothing: what was dropped must not be owed.
        gate.messages, gate.size = max(gate.messages, 0.0), max(gate.size, 0.0)
        gate.births, gate.refusals = max(gate.births, 0.0), max(gate.refusals, 0.0)
        if not gate.shut_by:
            gate.shut_by = reason
            self._shut[gate.site_id] = gate

    def _of_topic(self, topic: str, now_s: float) -> tuple[Gate, bool]:
        try:
            parsed = parse_topic(topic)
        except WireError:
            return self._of_site(NOBODY, now_s), False
        if len(self._by_topic) >= MAX_TOPICS:
            self._by_topic.clear()
        found = self._by_topic[topic] = (self._of_site(parsed.site_id, now_s), parsed.kind == "NBIRTH")
        return found

    def _of_site(self, site_id: str, now_s: float) -> Gate:
        gate = self._gates.get(site_id)
        if gate is None:
            if len(self._gates) >= MAX_TOPICS:
                # Names without end are one nobody: no name may cost another's budget.
                return self._gates.setdefault(NOBODY, Gate(NOBODY, 0.0, 0.0, 0.0, 0.0, now_s))
            gate = self._gates[site_id] = Gate(site_id, 0.0, 0.0, 0.0, 0.0, now_s)
            self._fill(gate, now_s)
        return gate

    def _fill(self, gate: Gate, now_s: float) -> None:
        quota = self.quota
        gate.at_s = now_s
        gate.messages, gate.size = quota.burst_s * quota.messages_per_s, quota.burst_s * quota.bytes_per_s
        gate.births = _at_least_one(quota.burst_s * quota.births_per_min / 60.0)
        gate.refusals = _at_least_one(quota.burst_s * quota.refusals_per_min / 60.0)


def _at_least_one(budget: float) -> float:
    return max(1.0, budget)
