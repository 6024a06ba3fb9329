"""Be a grid operator for a trial: play a scripted day to a VEN, and tell what came back."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from markets.openadr.grid_operator import transport_fault
from markets.openadr.operator_day import DayFailed, OperatorSide, Side20b, Told, play, require_playable
from markets.openadr.operator_desk3 import Side3
from markets.openadr.operator_script import BUILT_IN, MAX_SCRIPT_BYTES, Script, ScriptInvalid, read_script
from markets.openadr.operators import VERSIONS, ConfigurationInvalid, Ven3Config
from markets.openadr.ven3.client import Ven3Client

MAX_SPEED = 100_000.0
SECRET = "VPP_OPERATOR_SECRET"  # noqa: S105 - the name of a setting


class Command(BaseCommand):
    """`manage.py operator_sim`."""

    help = "Play a grid operator's scripted day to a VEN and print what was sent and what came back as JSON lines."
    # They import every page: 1.5 s of a processor at each start.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Read the script, the speed, and where the VEN is met."""
        parser.add_argument("--script", help="TOML file; without one the built-in day")
        parser.add_argument("--print-script", action="store_true", help="print the built-in day and end")
        parser.add_argument("--speed", type=float, default=1.0, help="the day's clock runs so many times as fast")
        parser.add_argument(
            "--openadr", choices=(*VERSIONS, "3"), default="2.0b", help="3 is 3.1.0; 2.0b serves a VTN of its own"
        )
        parser.add_argument("--stay-s", type=float, default=5.0, help="stay so long after the last window [s]")
        parser.add_argument("--wait-s", type=float, default=60.0, help="wait so long for the VEN [s]")
        served = parser.add_argument_group("OpenADR 2.0b: a VTN of its own")
        served.add_argument("--host", default="127.0.0.1")
        served.add_argument("--port", type=int, default=0, help="0: any free one, told in the ready line")
        served.add_argument("--ven-name", default="open-vpp")
        served.add_argument("--vtn-id", default="grid-Operator")
        served.add_argument("--poll-s", type=int, default=1, help="poll period asked of the VEN [s]")
        served.add_argument("--plain", action="store_true", help="HTTP without TLS, on 127.0.0.1 only")
        for name in ("cert", "key", "ca", "ven-fingerprint"):
            served.add_argument(f"--{name}", default="")
        desk = parser.add_argument_group(f"OpenADR 3: at a VTN, as business logic; the client's secret is {SECRET}")
        desk.add_argument("--url", default="", help="such as http://127.0.0.1:8000/openadr3/3.1.0")
        desk.add_argument("--client-id", default="")
        desk.add_argument("--target", action="append", default=[], help="whom the events are for; none: everybody")
        desk.add_argument("--payload-type", default="DISPATCH_SETPOINT", help="what an event's power is sent as")

    def handle(self, *args: Any, **options: Any) -> None:
        """Play the day to its end."""
        if options["print_script"]:
            self.stdout.write(BUILT_IN)
            return
        for name, low, high in (("speed", 1e-3, MAX_SPEED), ("stay_s", 0.0, 3600.0), ("wait_s", 0.0, 86_400.0)):
            if not math.isfinite(options[name]) or not low <= options[name] <= high:
                raise CommandError(f"--{name.replace('_', '-')} is {options[name]:g}, accepted: {low:g} to {high:g}")
        logging.getLogger("openleadr").setLevel(logging.ERROR)
        given = argparse.Namespace(**options)
        # openleadr prints banners; stdout carries JSON lines only.
        out, sys.stdout = sys.stdout, sys.stderr
        told = Told(out, timezone.now)
        try:
            script = _script(given)
            side = self._side(given, told, script)
            asyncio.run(play(script, side, told, speed=given.speed, stay_s=given.stay_s, now=timezone.now), debug=False)
        except (ScriptInvalid, DayFailed) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{given.host}:{given.port}: {error.strerror or error}") from None
        finally:
            sys.stdout = out

    def _side(self, given: argparse.Namespace, told: Told, script: Script) -> OperatorSide:
        if given.openadr != "2.0b":
            version = "3.1.0" if given.openadr == "3" else given.openadr
            try:
                config = Ven3Config(
                    url=given.url.rstrip("/"), ven_name="operator-sim", client_id=given.client_id,
                    client_secret=os.environ.get(SECRET, ""), version=version, ca=given.ca,
                )  # fmt: skip
            except ConfigurationInvalid as error:
                raise CommandError(f"{error} ({SECRET} holds the client's secret)") from None
            return Side3(Ven3Client(config), told, script, given.payload_type, tuple(given.target))
        fault = transport_fault(given)
        if fault:
            raise CommandError(fault)
        return Side20b(given, told, script, given.wait_s)


def _script(given: argparse.Namespace) -> Script:
    name = given.script or "built-in day"
    content = BUILT_IN.encode()
    if given.script:
        try:
            with Path(given.script).open("rb") as file:
                content = file.read(MAX_SCRIPT_BYTES + 1)
        except OSError as error:
            raise ScriptInvalid(f"{name}: cannot be read: {error.strerror or error}") from None
    script = read_script(content, name)
    require_playable(script, given.speed, name)
    return script
