"""Run our OpenADR 2.0b VTN for the VENs below us."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from markets.openadr.vtn20b.push import Networks, Pusher
from markets.openadr.vtn20b.server import Door, ServerInvalid, Vtn, spare_tls_buffers
from markets.openadr.vtn20b.service import VtnConfig
from markets.openadr.vtn20b.xmldsig import KeyInvalid
from sites.observability.health import Health
from sites.observability.process import run_process


class Command(BaseCommand):
    """`manage.py run_vtn`."""

    help = "Serve OpenADR 2.0b to VENs below us (VPP_OWN_VTN_…): events, reports, opts; nothing is forgotten."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare where to listen and the plain mode for trials."""
        parser.add_argument("--listen", default=settings.OWN_VTN_LISTEN, help="HOST:PORT (VPP_OWN_VTN_LISTEN)")
        parser.add_argument(
            "--plain", action="store_true", help="plain HTTP on 127.0.0.1 for VENs of security open; for trials"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        try:
            door = _door(options["listen"], plain=options["plain"])
            config = VtnConfig(
                vtn_id=settings.OWN_VTN_ID,
                poll_s=float(settings.OWN_VTN_POLL_S),
                report_every_s=settings.OWN_VTN_REPORT_S,
            )
            networks = Networks.parsed(settings.OWN_VTN_PUSH_NETWORKS)
            vtn = Vtn(config, door)
        except (ServerInvalid, KeyInvalid, ValueError) as error:
            raise CommandError(str(error)) from None
        spare_tls_buffers()
        health = Health("vtn")
        health.watch("database", lambda: vtn.fault)

        async def work(stop: asyncio.Event) -> None:
            try:
                await vtn.start()
            except OSError as error:
                raise CommandError(f"--listen {options['listen']}: {error}") from None
            pusher = asyncio.create_task(Pusher(vtn, networks).run())
            try:
                await stop.wait()
            finally:
                pusher.cancel()
                await asyncio.gather(pusher, return_exceptions=True)
                await vtn.stop()

        run_process(health, work, address=settings.OBSERVE_ADDRESS, folder=settings.OBSERVE_DIR)


def _door(listen: str, *, plain: bool) -> Door:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise ServerInvalid(f"--listen is {listen!r}, accepted: HOST:PORT")
    if plain:
        return Door(host, int(port))
    files = (settings.OWN_VTN_CERT, settings.OWN_VTN_KEY, settings.OWN_VTN_CA)
    cert, key, ca = (Path(path) for path in files)
    return Door(host, int(port), cert, key, ca)
