"""Write a broker's access lists from the registry, again whenever the registry changes."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from sites.identity import configured
from sites.identity.authority import AuthorityError
from sites.identity.brokers.keeper import WRITERS, Keeper, KeeperConfig, KeeperError, keep
from sites.mqtt.address import BrokerAddress
from sites.observability.health import Health
from sites.observability.process import run_process

MONITOR = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+/?\Z")


class Command(BaseCommand):
    """``manage.py keep_broker mosquitto --folder /etc/mosquitto/vpp --pid-file /run/mosquitto/mosquitto.pid``."""

    help = "Keep a broker's users, rights and revocation list as the registry says; reload it after each change."
    # They import every page, which a service does not serve: 1.5 s of a processor at each start.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take which broker, where its files are and how it is reloaded."""
        parser.add_argument("broker", choices=sorted(WRITERS))
        parser.add_argument(
            "--folder", type=Path, required=True, help="where the files are written, each in one rename"
        )
        parser.add_argument("--pid-file", type=Path, help="the broker's; it gets SIGHUP (Mosquitto, nats-server)")
        parser.add_argument("--reload", nargs="+", default=(), metavar="WORD", help="a command that reloads it (EMQX)")
        parser.add_argument(
            "--monitor", action="append", default=[], metavar="URL",
            help="NATS: where a node tells who is connected, such as http://127.0.0.1:8222; once for each node",
        )  # fmt: skip
        parser.add_argument("--every-s", type=float, default=2.0, help="how often the registry is looked at")
        parser.add_argument("--once", action="store_true", help="one round, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT, or once."""
        every_s = options["every_s"]
        if not 0.1 <= every_s <= 3600.0:
            raise CommandError(f"--every-s is {every_s:g}, accepted: 0.1 to 3600")
        if not options["folder"].is_dir():
            raise CommandError(f"--folder {options['folder']} is not there, accepted: the broker's own folder")
        for monitor in options["monitor"]:
            if not MONITOR.match(monitor):
                raise CommandError(f"--monitor is {monitor!r}, accepted: http://host:port or https://host:port")
        try:
            keeper = Keeper(
                KeeperConfig(
                    kind=options["broker"],
                    folder=options["folder"],
                    host_id=settings.HOST_ID,
                    authority=configured.authority(),
                    pid_file=options["pid_file"],
                    reload_command=tuple(options["reload"]),
                    broker=BrokerAddress.of(settings.BROKER),
                    monitors=tuple(monitor.rstrip("/") for monitor in options["monitor"]),
                )
            )
        except (AuthorityError, KeeperError) as error:
            raise CommandError(str(error)) from None
        if options["once"]:
            written = keeper.round(at=timezone.now())
            self.stdout.write(f"written: {', '.join(written) or 'nothing, all is as it should be'}")
            return
        health = Health("keep_broker")
        run_process(
            health,
            lambda stop: keep(keeper, every_s=every_s, now=timezone.now, stop=stop, health=health),
            address=settings.OBSERVE_ADDRESS,
            folder=settings.OBSERVE_DIR,
        )
