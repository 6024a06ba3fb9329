"""What the platform asks of one site: assignments, grants, signals and commands, judged, handed on and reported."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from sites.core import observe
from sites.core.assignments import Assignment
from sites.core.curves import Direction
from sites.core.envelope import OperatingEnvelope
from sites.core.requests import ANSWERED_WITHIN_S
from sites.core.streams import SignalRefusal, StreamGrant
from sites.edge.control.exchange import Answer, Ask, ControllerPort, Setpoint
from sites.edge.link.answering import Answering
from sites.edge.link.fallback import must_release
from sites.edge.link.following import Following
from sites.edge.link.holding import CurveHolding, StreamHolding
from sites.edge.link.outbox import Outbox
from sites.edge.link.platform_keys import PlatformKeys
from sites.edge.link.presence import Presence
from sites.edge.link.profile import SiteProfile
from sites.edge.link.site_values import known, mode_of
from sites.wire.edge_session import EdgeSession, Message
from sites.wire.metrics import COMMAND, CONTROL_DEVICE, DESIRED, DESIRED_STREAM, KEYS
from sites.wire.topics import signal_topic

HELD: Final = "held"
GRANTED: Final = "granted"
ANSWERED: Final = "answered"

log = logging.getLogger(__name__)


class SiteOrders:
    """The platform's orders to one site, and the answers on its device ``control``."""

    def __init__(
        self,
        profile: SiteProfile,
        *,
        index: int,
        platform_keys: PlatformKeys,
        outbox: Outbox,
        port: ControllerPort,
        session: EdgeSession,
        presence: Presence,
        refuse: Callable[[str, str], None],
    ) -> None:
        """``refuse`` counts what was refused by name, with its detail."""
        self.profile = profile
        self.site_id = profile.site_id
        self._index = index
        self._outbox = outbox
        self._port = port
        self._session = session
        self._presence = presence
        self._refuse = refuse
        self.keys = platform_keys
        self.holding = CurveHolding(self.site_id, self.keys.ring)
        self.granted = StreamHolding(self.site_id, self.keys.ring)
        self.following = Following(self.keys.ring)
        self.answering = Answering(self.site_id, self.keys.ring)
        self._asks: list[Ask] = []
        self.measured: np.void | None = None
        """The last measurements: what there is room for, and whether the site serves."""

    @property
    def refused_count(self) -> int:
        """Assignments, grants and commands refused since the start."""
        holdings = self.holding.refused_count + self.granted.refused_count
        return holdings + self.answering.refused_count + self.keys.refused_count

    def restore(self, *, now_ms: int) -> None:
        """Take up keys, the held assignment, the grant and the last answer where the last process left them."""
        self.keys.restore()
        if (envelope := self._outbox.kept(self.site_id, HELD)) is not None:
            held = self.holding.restore(envelope, at=_instant(now_ms))
            if held is not None:
                self._port.request(self._index, held)
        if (envelope := self._outbox.kept(self.site_id, GRANTED)) is not None:
            grant = self.granted.restore(envelope, at=_instant(now_ms))
            if grant is not None:
                self._port.request_stream(self._index, grant)
        if (kept := self._outbox.kept(self.site_id, ANSWERED)) is not None:
            self.answering.restore(kept)

    def reported(self) -> dict[str, str | int]:
        """Return the whole reported state by metric name, as births carry it."""
        held = {**self.holding.reported(), **self.granted.reported()}
        return {**held, **self.answering.reported(), **self.keys.reported()}

    # --- what the platform says ----------------------------------------------------------------

    def take_command(self, device: str, values: dict[str, Any], now_ms: int) -> list[Message]:
        """Take what the platform says to a device: a desired assignment, a command, or both."""
        known_ones = {name: value for name, value in values.items() if isinstance(value, bytes)}
        if device != CONTROL_DEVICE or not known_ones.keys() & {DESIRED, DESIRED_STREAM, COMMAND, KEYS}:
            accepted = f"{CONTROL_DEVICE}: {DESIRED}, {DESIRED_STREAM}, {COMMAND}, {KEYS}"
            self._refuse("command_unknown", f"{device}: {', '.join(values)}, accepted: {accepted}")
            return []
        messages = self._take_keys(known_ones[KEYS], now_ms) if KEYS in known_ones else []
        if self.measured is None:
            # Nobody knows yet what there is room for, and a refusal would be for good; the platform repeats.
            known_ones = {name: value for name, value in known_ones.items() if name == COMMAND}
        if DESIRED in known_ones:
            messages += self._take_desired(known_ones[DESIRED], now_ms)
        if DESIRED_STREAM in known_ones:
            messages += self._take_grant(known_ones[DESIRED_STREAM], now_ms)
        return messages + (self._take_request(known_ones[COMMAND], now_ms) if COMMAND in known_ones else [])

    def follow(self, stream: str, envelope: bytes, now_ms: int) -> None:
        """Hand a stream's value to the controller, for as long as the grant lets it be held."""
        grant = self.granted.held
        found = self.following.receive(stream, envelope, grant=grant, at=_instant(now_ms))
        if isinstance(found, SignalRefusal) or grant is None:
            # Counted; a line each would be one in two seconds for each site.
            log.debug("signal.refused site_id=%s stream=%s refusal=%s", self.site_id, stream, found)
            return
        valid_s = min(grant.max_age_s, found.valid_until.timestamp() - now_ms / 1000.0)
        until_ns = time.monotonic_ns() + round(valid_s * 1e9)
        ramp_kw_per_s = grant.ramp_per_s * grant.power_kw
        self._port.setpoint(self._index, Setpoint(grant.target_kw(found.value), ramp_kw_per_s, until_ns))

    def extra_subscriptions(self) -> list[tuple[str, int]]:
        """Return the filters to subscribe to beside the session's: the signal of the stream that is granted."""
        grant = self.granted.held
        return [] if grant is None or grant.power_kw == 0.0 else [(signal_topic(grant.stream), 0)]

    # --- what the controller says --------------------------------------------------------------

    def confirm(self, held_hash: str, *, now_ms: int) -> list[Message]:
        """Take what the controller says it holds; return the report when that changed."""
        if held_hash == self.holding.confirmed_hash:
            return []
        self.holding.confirmed_hash = held_hash
        return self._report(now_ms)

    def confirm_stream(self, held_hash: str, *, now_ms: int) -> list[Message]:
        """Take what the controller says it holds of stream grants; return the report when that changed."""
        if held_hash == self.granted.confirmed_hash:
            return []
        self.granted.confirmed_hash = held_hash
        return self._report_stream(now_ms)

    def take_asks(self) -> list[Ask]:
        """Hand over what the controller is to be asked, once what was noted of it is committed."""
        taken, self._asks = self._asks, []
        return taken

    def take_answer(self, answer: Answer, *, now_ms: int) -> list[Message]:
        """Take the controller's answer to a command; return the report."""
        if not self.answering.answer(answer.number, answer.refusal):
            return []
        return self._report_answer(now_ms)

    def check_answer(self, *, now_ms: int) -> list[Message]:
        """Return the answer of a controller that has been silent for too long, nothing otherwise."""
        return self._report_answer(now_ms) if self.answering.give_up(at=_instant(now_ms)) else []

    def check_link(self, *, now_ms: int) -> None:
        """Give up the armed assignment where the site stands still, or its policy wants that on a lost link."""
        if self.measured is not None and self.holding.suspend(locked_out=self._is_locked_out()):
            held = self.holding.held
            serves = not self.holding.is_suspended and not self.holding.is_released
            log.info("assignment.suspended site_id=%s suspended=%s", self.site_id, self.holding.is_suspended)
            self._port.request(self._index, held if serves else None)
        away_s = self._presence.away_s(now_ms=now_ms)
        if not self.holding.is_released and must_release(
            self.profile.policy, armed=self.holding.is_armed, away_s=away_s
        ):
            log.warning("assignment.released site_id=%s away_s=%.1f", self.site_id, away_s)
            self.holding.is_released = True
            self._port.request(self._index, None)

    def record_window_us(self) -> tuple[int, int] | None:
        """Return (starts, ends) of what is armed, as its high-rate record covers it; None for nothing."""
        held: Assignment | None = self.holding.held
        if held is None or held.power_kw == 0.0 or self.holding.is_released:
            return None
        return _micros(held.starts_at), _micros(held.ends_at)

    # --- inside --------------------------------------------------------------------------------

    def _take_request(self, envelope: bytes, now_ms: int) -> list[Message]:
        shown = self.answering.shown
        command = self.answering.receive(envelope, at=_instant(now_ms))
        if command is None:
            # A repeat of the one that the controller still thinks about has no answer yet.
            is_news = self.answering.shown is not shown or not self.answering.is_waiting
            return self._report_answer(now_ms) if is_news else []
        log.info(
            "%s site_id=%s request=%s by=%s sequence=%d",
            observe.COMMAND_TAKEN, self.site_id, command.request, command.issued_by, command.sequence,
        )  # fmt: skip
        # Kept before it is asked: after a crash in between it is answered as interrupted, and not done twice.
        self._outbox.keep(self.site_id, ANSWERED, self.answering.to_bytes())
        until_us = now_ms * 1000 + round(ANSWERED_WITHIN_S * 1e6)
        self._asks.append(Ask(self._index, command.sequence, command.request, until_us))
        return []

    def _report_answer(self, now_ms: int) -> list[Message]:
        self._outbox.keep(self.site_id, ANSWERED, self.answering.to_bytes())
        shown = self.answering.shown
        log.info("%s site_id=%s state=%s error=%s", observe.COMMAND_ANSWERED, self.site_id, shown.state, shown.error)
        if not self._presence.is_born:
            return []
        return [self._session.device_data(now_ms, CONTROL_DEVICE, dict(self.answering.reported()))]

    def _take_keys(self, envelope: bytes, now_ms: int) -> list[Message]:
        """Take an announcement of keys, and let go of what a withdrawn one had signed: it comes again under another."""
        if self.keys.receive(envelope, at=_instant(now_ms)):
            if self.holding.let_go_of(self.keys.ring.withdrawn):
                self._port.request(self._index, None)
            if self.granted.let_go_of(self.keys.ring.withdrawn):
                self._port.request_stream(self._index, None)
        if not self._presence.is_born:
            return []
        return [self._session.device_data(now_ms, CONTROL_DEVICE, dict(self.keys.reported()))]

    def _take_desired(self, envelope: bytes, now_ms: int) -> list[Message]:
        before, signed_by = self.holding.held, self.holding.signed_by
        was_released = self.holding.is_released
        assignment = self.holding.receive(
            envelope,
            operating=self._operating(now_ms, beside=self.granted.held),
            locked_out=self._is_locked_out(),
            at=_instant(now_ms),
        )
        if assignment is None:
            self._tell_refused(self.holding)
            return self._report(now_ms)
        if self.holding.signed_by != signed_by:
            self._outbox.keep(self.site_id, HELD, envelope)
        if assignment == before and not was_released:
            # A repeat: the platform has not heard the report, or the controller has not confirmed yet.
            if self.holding.confirmed_hash == assignment.content_hash:
                return self._report(now_ms)
        else:
            self._outbox.keep(self.site_id, HELD, envelope)
        self._port.request(self._index, assignment)
        return []

    def _take_grant(self, envelope: bytes, now_ms: int) -> list[Message]:
        before, signed_by = self.granted.held, self.granted.signed_by
        grant = self.granted.receive(
            envelope,
            operating=self._operating(now_ms, beside=self.holding.held),
            locked_out=self._is_locked_out(),
            at=_instant(now_ms),
        )
        if grant is None:
            self._tell_refused(self.granted)
            return self._report_stream(now_ms)
        if self.granted.signed_by != signed_by:
            self._outbox.keep(self.site_id, GRANTED, envelope)
        if grant == before:
            if self.granted.confirmed_hash == grant.content_hash:
                return self._report_stream(now_ms)
        else:
            self._outbox.keep(self.site_id, GRANTED, envelope)
        self._port.request_stream(self._index, grant)
        return []

    def _tell_refused(self, holding: CurveHolding | StreamHolding) -> None:
        log.warning(
            "%s site_id=%s of=%s refusal=%s sequence=%d",
            observe.ASSIGNMENT_REFUSED, self.site_id, holding.prefix, holding.refusal, holding.refused_sequence,
        )  # fmt: skip

    def _report_stream(self, now_ms: int) -> list[Message]:
        if not self._presence.is_born:
            return []
        return [self._session.device_data(now_ms, CONTROL_DEVICE, dict(self.granted.news()))]

    def _report(self, now_ms: int) -> list[Message]:
        if not self._presence.is_born:
            return []
        return [self._session.device_data(now_ms, CONTROL_DEVICE, dict(self.holding.news()))]

    def _operating(self, now_ms: int, *, beside: Assignment | StreamGrant | None) -> OperatingEnvelope:
        """Return the room for one kind of assignment: what the one of the other kind leaves."""
        measured = self.measured
        up_kw, down_kw = _taken_kw(beside, _instant(now_ms))

        def room(name: str) -> float:
            value = known(measured[name]) if measured is not None else None
            return max(0.0, value or 0.0)

        return OperatingEnvelope(
            self.site_id,
            _instant(now_ms),
            max(0.0, room("discharge_kw") - up_kw),
            max(0.0, room("charge_kw") - down_kw),
            room("usable_energy_kwh"),
            room("absorbable_energy_kwh"),
        )

    def _is_locked_out(self) -> bool:
        return self.measured is not None and mode_of(self.measured) in ("lockout", "maintenance")


def _taken_kw(held: Assignment | StreamGrant | None, at: datetime) -> tuple[float, float]:
    """Return what a held assignment may take of the headroom, into and out of the bus [kW]."""
    if held is None or held.ends_at <= at:
        return 0.0, 0.0
    if isinstance(held, StreamGrant):
        return held.up_kw, held.down_kw
    sides = {Direction.LOW: (1.0, 0.0), Direction.HIGH: (0.0, 1.0), Direction.BOTH: (1.0, 1.0)}[held.direction]
    return held.power_kw * sides[0], held.power_kw * sides[1]


def _instant(now_ms: int) -> datetime:
    return datetime.fromtimestamp(now_ms / 1000.0, UTC)


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)
