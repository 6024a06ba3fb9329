"""A grid operator's desk at a VTN of OpenADR 3: its scripted day through the VTN's own API, as business logic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from markets.openadr.operator_day import DayFailed, Told
from markets.openadr.operator_script import Script, Step
from markets.openadr.ven3.client import RequestRefused, Ven3Client
from markets.openadr.ven3.mapping import ANSWER_TYPE
from markets.openadr.ven_session import MessageRefused, VtnUnreachable

ASKED_FOR: Final = ("READING", "UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE", "OPERATING_STATE")
"""Report payload types that are asked for at the end of each event, where the script wants reports."""
_CONFLICT: Final = 409


@dataclass
class Side3:
    """Programs, events and reports at one VTN."""

    client: Ven3Client
    told: Told
    script: Script
    payload_type: str
    targets: tuple[str, ...] = ()
    """Whom the events are for; none: everybody."""
    _programs: dict[str, str] = field(default_factory=dict)
    """Object id by programName."""
    _events: dict[str, str] = field(default_factory=dict)
    """Object id by the event's name in the script."""
    _bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was last sent of each event."""
    _seen: set[str] = field(default_factory=set)
    """Reports that have been told."""

    async def begin(self) -> None:
        """Find the script's programs at the VTN, and make those that are missing."""
        wanted = {step.program for step in self.script.steps}
        try:
            held = {str(row.get("programName")): str(row["id"]) for row in await self.client.listed("programs")}
            for name in sorted(wanted):
                if name not in held:
                    held[name] = str(
                        (await self.client.create("programs", self._targeted({"programName": name})))["id"]
                    )
        except (VtnUnreachable, MessageRefused, RequestRefused, KeyError) as error:
            raise DayFailed(f"{self.client.config.url}: {error}") from None
        self._programs = {name: held[name] for name in wanted}
        self.told.say("ready", url=self.client.config.url, programs=self._programs)

    async def send(self, step: Step, *, starts_at: datetime, duration: timedelta) -> None:
        """Make, replace or delete the event; a VTN that keeps an answered one (409) gets it emptied."""
        try:
            if step.verb == "cancel":
                await self._cancel(step.event)
                return
            body = self._body(step, starts_at, duration)
            self._bodies[step.event] = body
            if step.verb == "modify":
                await self.client.update("events", self._events[step.event], body)
            else:
                self._events[step.event] = str((await self.client.create("events", body))["id"])
        except (VtnUnreachable, MessageRefused, RequestRefused, KeyError) as error:
            self.told.say("error", event_id=step.event, line=step.line, error=str(error)[:300])

    async def look(self) -> None:
        """Tell the reports on our events that are new: answers and figures."""
        for name, object_id in self._events.items():
            try:
                rows = await self.client.listed("reports", eventID=object_id)
            except (VtnUnreachable, MessageRefused, RequestRefused) as error:
                self.told.say("error", event_id=name, error=str(error)[:300])
                return
            for row in rows:
                if str(row.get("id")) not in self._seen:
                    self._seen.add(str(row.get("id")))
                    self._tell(name, row)

    async def end(self) -> None:
        """Close the connections."""
        await self.client.close()

    def _tell(self, event: str, report: dict[str, Any]) -> None:
        kind = str(report.get("reportName") or "")
        for resource in report.get("resources") or []:
            point = f"{resource.get('resourceName')}/{kind}"
            for interval in resource.get("intervals") or []:
                payloads = {one.get("type"): one.get("values") or [None] for one in interval.get("payloads") or []}
                if ANSWER_TYPE in payloads:
                    opt, *reason = payloads[ANSWER_TYPE]
                    self.told.say("opt", event_id=event, opt=str(opt), reason=str(reason[0]) if reason else "")
                    continue
                quality = payloads.pop("DATA_QUALITY", [None])[0]
                value = next(iter(payloads.values()), [None])
                self.told.say(
                    "report", event_id=event, point=point, interval=interval.get("id"),
                    value=value[0] if len(value) == 1 else value, quality=quality,
                )  # fmt: skip

    async def _cancel(self, event: str) -> None:
        try:
            await self.client.remove("events", self._events[event])
        except RequestRefused as refused:
            if refused.status != _CONFLICT:
                raise
            emptied = {**self._bodies[event], "intervals": []}
            emptied.pop("reportDescriptors", None)
            await self.client.update("events", self._events[event], emptied)
            self.told.say("emptied", event_id=event, why=str(refused))

    def _body(self, step: Step, starts_at: datetime, duration: timedelta) -> dict[str, Any]:
        described: dict[str, Any] = {"payloadType": self.payload_type, "units": "KW"}
        if self.client.version != "3.0.1":
            described["objectType"] = "EVENT_PAYLOAD_DESCRIPTOR"
        payload = {"type": self.payload_type, "values": [step.payload_kw]}
        body: dict[str, Any] = {
            "programID": self._programs[step.program],
            "eventName": step.event,
            "intervalPeriod": {
                "start": starts_at.isoformat().replace("+00:00", "Z"),
                "duration": f"PT{duration.total_seconds():.15g}S",
            },
            "payloadDescriptors": [described],
            "intervals": [{"id": 0, "payloads": [payload]}],
        }
        if self.script.report_s:
            body["reportDescriptors"] = [{"payloadType": kind} for kind in ASKED_FOR]
        return self._targeted(body)

    def _targeted(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.targets:
            return body
        if self.client.version == "3.0.1":
            return {**body, "targets": [{"type": "GROUP", "values": list(self.targets)}]}
        return {**body, "targets": list(self.targets)}
