"""The grid operator's side: a separate OpenADR 2.0b VTN process, driven by JSON lines; no Django.

    python -m markets.openadr.grid_operator --port 0 --cert vtn.pem --key vtn.key --ca ca.pem \
        --ven-name open-vpp --ven-fingerprint AA:BB:…

Commands on stdin, one JSON object a line: ``event`` (a known event_id makes a modification),
``cancel``, ``forget`` (drop from the list without a word), ``stop``; the end of stdin stops too.
Events on stdout: ``ready``, ``registered``, ``reports_offered``, ``event_delivered``, ``opt``, ``report``, ``error``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TextIO
from uuid import uuid4

from openleadr import OpenADRServer, utils
from openleadr.service import EventService

STATUS_CHECK_S = 0.5


class CommandInvalid(ValueError):
    """A command line that is not understood; the message says what is accepted."""


@dataclass
class GridOperator:
    """One VTN with one known VEN."""

    ven_name: str
    ven_fingerprint: str
    vtn_id: str
    out: TextIO
    report_s: int = 0
    """Telemetry is asked for this often [s]; 0: not at all."""
    registration_id: str | None = None
    sent_at: dict[str, float] = field(default_factory=dict)
    """Monotonic instant at which each event's newest version was given."""

    @property
    def ven_id(self) -> str:
        """The id we give our VEN; the same after a restart of this process."""
        return f"ven-{self.ven_name}"

    def say(self, event: str, **facts: Any) -> None:
        """Write one event line."""
        self.out.write(json.dumps({"event": event, **facts}) + "\n")
        self.out.flush()

    def start(self, arguments: argparse.Namespace) -> OpenADRServer:
        """Build the server; plain HTTP only where the arguments allowed it."""
        secure = not arguments.plain
        self.server = OpenADRServer(
            vtn_id=self.vtn_id,
            cert=arguments.cert if secure else None,
            key=arguments.key if secure else None,
            http_cert=arguments.cert if secure else None,
            http_key=arguments.key if secure else None,
            http_ca_file=arguments.ca if secure else None,
            http_host=arguments.host,
            http_port=arguments.port,
            requested_poll_freq=timedelta(seconds=arguments.poll_s),
            ven_lookup=self.ven_lookup,
            show_fingerprint=False,
        )
        self.server.add_handler("on_create_party_registration", self.register)
        self.server.add_handler("on_register_report", self.ask_for_report)
        _keep_answering_without_events(self.server.services["event_service"])
        return self.server

    def ven_lookup(self, ven_id: str) -> dict[str, Any] | None:
        """Tell openleadr what we know of a VEN; None makes it ask for a new registration."""
        if ven_id != self.ven_id or self.registration_id is None:
            return None
        return {
            "ven_id": self.ven_id,
            "ven_name": self.ven_name,
            "fingerprint": self.ven_fingerprint,
            "registration_id": self.registration_id,
        }

    async def register(self, payload: dict[str, Any]) -> tuple[str, str] | bool:
        """Accept our one VEN, by its name and, over TLS, by its certificate."""
        if payload.get("ven_name") != self.ven_name:
            self.say("registration_refused", ven_name=str(payload.get("ven_name")), why="unknown name")
            return False
        if "fingerprint" in payload and payload["fingerprint"] != self.ven_fingerprint:
            self.say("registration_refused", ven_name=self.ven_name, why="other certificate")
            return False
        self.registration_id = self.registration_id or f"reg-{uuid4()}"
        self.say("registered", ven_name=self.ven_name, ven_id=self.ven_id, registration_id=self.registration_id)
        return self.ven_id, self.registration_id

    async def ask_for_report(self, report: dict[str, Any]) -> list[tuple[Any, ...] | None] | None:
        """Ask for all points of a report of numbers that our VEN offers, each ``report_s``.

        A TELEMETRY_STATUS is not asked for: openleadr's VTN fails at a payload that is no number.
        """
        points = [description["r_id"] for description in report["report_descriptions"]]
        self.say("reports_offered", report_name=report["report_name"], points=points)
        if not self.report_s or report["report_name"] != "METADATA_TELEMETRY_USAGE":
            return None
        every = timedelta(seconds=self.report_s)
        return [(r_id, partial(self.reported, r_id), every, every) for r_id in points]

    def reported(self, r_id: str, values: Sequence[tuple[datetime, float]]) -> None:
        """Write what came for one point; a value that is missing is null."""
        for at, value in values:
            self.say("report", point=r_id, measured_at=at.isoformat(), value=value if math.isfinite(value) else None)

    def obey(self, command: dict[str, Any]) -> None:
        """Carry out one command; raises CommandInvalid."""
        verb = command.get("cmd")
        if verb == "event":
            self.issue(command)
        elif verb in ("cancel", "forget"):
            event_id = str(command.get("event_id"))
            if self.held(event_id) is None:
                raise CommandInvalid(f"event {event_id!r} is not held")
            self.sent_at[event_id] = time.monotonic()
            if verb == "cancel":
                self.server.cancel_event(self.ven_id, event_id)
            else:
                utils.pop_by(self.server.events[self.ven_id], "event_descriptor.event_id", event_id)
                self.server.events_updated[self.ven_id] = True
        else:
            raise CommandInvalid(f"cmd is {verb!r}, accepted: event, cancel, forget, stop")

    def held(self, event_id: str) -> dict[str, Any] | None:
        """Return the event in the queue, if any."""
        found: dict[str, Any] | None = utils.find_by(
            self.server.events.get(self.ven_id, []), "event_descriptor.event_id", event_id
        )
        return found or None

    def issue(self, command: dict[str, Any]) -> None:
        """Queue an event, or a modification of a held one."""
        event = event_dict(command, self.ven_id)
        event_id = event["event_descriptor"]["event_id"]
        before = self.held(event_id)
        if before is not None:
            if command.get("modification_number") is None:
                event["event_descriptor"]["modification_number"] = before["event_descriptor"]["modification_number"] + 1
            utils.pop_by(self.server.events[self.ven_id], "event_descriptor.event_id", event_id)
        self.sent_at[event_id] = time.monotonic()

        def delivered() -> None:
            self.say("event_delivered", event_id=event_id, latency_ms=self._latency_ms(event_id))

        def opted(ven_id: str, event_id: str, opt_type: str) -> None:
            self.say("opt", event_id=event_id, opt=opt_type, ven_id=ven_id, latency_ms=self._latency_ms(event_id))
            # openleadr forgets the callback at the first answer; later ones are worth seeing too.
            self.server.event_callbacks[event_id] = (event, opted)

        self.server.add_raw_event(self.ven_id, event, callback=opted, delivery_callback=delivered)

    def _latency_ms(self, event_id: str) -> float:
        return round((time.monotonic() - self.sent_at[event_id]) * 1000.0, 1)

    def refresh_statuses(self) -> None:
        """Mark the list as changed when an event walks from far to active to completed."""
        for event in self.server.events.get(self.ven_id, []):
            descriptor = event["event_descriptor"]
            if descriptor["event_status"] != "cancelled":
                status = utils.determine_event_status(event["active_period"])
                if status != descriptor["event_status"]:
                    self.server.events_updated[self.ven_id] = True


def event_dict(command: dict[str, Any], ven_id: str) -> dict[str, Any]:
    """Return an event as openleadr takes it; raises CommandInvalid.

    ``power_kw`` goes out as it stands, nonsense included: what becomes of it is the VEN's business.
    """
    try:
        starts_at = datetime.fromisoformat(str(command["starts_at"]))
        duration = timedelta(seconds=float(command["duration_s"]))
        event_id, power_kw = str(command["event_id"]), command["power_kw"]
    except (KeyError, ValueError, OverflowError) as error:
        raise CommandInvalid(
            f"event command: {error!r}, accepted: event_id, power_kw, starts_at (ISO 8601 with offset), duration_s"
        ) from None
    if starts_at.tzinfo is None:
        raise CommandInvalid(f"starts_at is {starts_at.isoformat()}, accepted: an instant with its offset")
    now = datetime.now(UTC)
    signal: dict[str, Any] = {
        "signal_name": command.get("signal_name", "LOAD_DISPATCH"),
        "signal_type": command.get("signal_type", "delta"),
        "signal_id": str(uuid4()),
        "intervals": [{"dtstart": starts_at, "duration": duration, "signal_payload": power_kw}],
    }
    if command.get("with_unit", True):
        signal["measurement"] = {
            "name": "powerReal",
            "description": "RealPower",
            "unit": "W",
            "scale": command.get("scale", "k"),
            "power_attributes": {"hertz": 50, "voltage": 230, "ac": True},
        }
    return {
        "event_descriptor": {
            "event_id": event_id,
            "modification_number": int(command.get("modification_number") or 0),
            "modification_date_time": now,
            "priority": 0,
            "market_context": command.get("market_context", ""),
            "created_date_time": now,
            "event_status": "far",
            "test_event": bool(command.get("test_event", False)),
            "vtn_comment": None,
        },
        "active_period": {"dtstart": starts_at, "duration": duration},
        "event_signals": [signal],
        "targets": [{"ven_id": ven_id}],
        "targets_by_type": {"ven_id": [ven_id]},
        "response_required": "always",
    }


def _keep_answering_without_events(service: EventService) -> None:
    # openleadr tells an empty list by an oadrResponse; the protocol's word is an empty
    # oadrDistributeEvent: some VENs fall over without it, and ours could not see that the last
    # event was taken off the list. Both ways to the list: the request itself, and the poll.
    request_event = service.request_event

    async def answer(payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        kind, content = await request_event(payload)
        return ("oadrDistributeEvent", {"events": []}) if kind == "oadrResponse" else (kind, content)

    service.handlers["oadrRequestEvent"] = answer
    service.request_event = answer


async def run(arguments: argparse.Namespace, out: TextIO) -> None:
    """Serve until ``stop`` or the end of stdin."""
    operator = GridOperator(
        arguments.ven_name, arguments.ven_fingerprint, arguments.vtn_id, out, report_s=arguments.report_s
    )
    server = operator.start(arguments)
    await server.run()
    host, port = server.app_runner.addresses[0][:2]
    scheme = "http" if arguments.plain else "https"
    operator.say("ready", url=f"{scheme}://{host}:{port}{server.http_path_prefix}", vtn_id=arguments.vtn_id)
    reader = asyncio.StreamReader(limit=1_000_000)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    line = asyncio.ensure_future(reader.readline())
    try:
        while True:
            await asyncio.wait({line}, timeout=STATUS_CHECK_S)
            operator.refresh_statuses()
            if not line.done():
                continue
            text = line.result().decode(errors="replace").strip()
            if line.result() == b"":
                return
            line = asyncio.ensure_future(reader.readline())
            if not text:
                continue
            try:
                command = json.loads(text)
                if not isinstance(command, dict):
                    raise CommandInvalid("the line is no JSON object")
                if command.get("cmd") == "stop":
                    return
                operator.obey(command)
            except ValueError as error:
                operator.say("error", error=str(error)[:300], line=text[:200])
    finally:
        line.cancel()
        await server.stop()


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line; plain HTTP needs ``--plain`` and a loopback address."""
    parser = argparse.ArgumentParser(prog="python -m markets.openadr.grid_operator")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, told in the ready line")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--vtn-id", default="grid-Operator", help="must not be all lower case (OpenADR 2.0b)")
    parser.add_argument("--ven-name", required=True)
    parser.add_argument("--ven-fingerprint", default="")
    parser.add_argument("--poll-s", type=int, default=1, help="poll period asked of the VEN [s]")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--ca")
    parser.add_argument("--plain", action="store_true", help="HTTP without TLS, on 127.0.0.1 only")
    parser.add_argument("--report-s", type=int, default=0, help="telemetry is asked for this often [s], 0: not at all")
    arguments = parser.parse_args(argv)
    fault = transport_fault(arguments)
    if fault:
        parser.error(fault)
    return arguments


def transport_fault(arguments: argparse.Namespace) -> str:
    """Return what is wrong with the transport that is asked for; empty when nothing is."""
    if arguments.plain and arguments.host != "127.0.0.1":
        return f"--plain on {arguments.host}, accepted: 127.0.0.1 only"
    # Without --ca openleadr would serve without checking client certificates, and say nothing.
    if not arguments.plain and not (arguments.cert and arguments.key and arguments.ca and arguments.ven_fingerprint):
        return "--cert, --key, --ca and --ven-fingerprint are needed, or --plain on 127.0.0.1"
    return ""


def main() -> None:
    """Run from the command line; stdout carries JSON lines only."""
    arguments = arguments_of(sys.argv[1:])
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("openleadr").setLevel(logging.WARNING)
    # openleadr prints banners.
    out, sys.stdout = sys.stdout, sys.stderr
    asyncio.run(run(arguments, out))


if __name__ == "__main__":
    main()
