"""Read what the platform says of a dispatch over and over, from a process of its own, through the product's queries."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from support.platform_processes import CHECKOUT, Platform

EVERY_S = 0.25
FIELDS = ("promised_kw", "firm_kw", "upper_kw", "limit_kw", "armed", "acknowledged")


class FleetWatch:
    """Keeps every answer; ``newest`` is the last one."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._process: subprocess.Popen[str] | None = None
        self.seen: list[dict[str, Any]] = []

    @property
    def newest(self) -> dict[str, Any]:
        """The last answer; empty before the first."""
        return self.seen[-1] if self.seen else {}

    def start(self) -> None:
        """Start asking."""
        with (self._platform.folder / "watch.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__))],
                cwd=CHECKOUT, env=self._platform.environment | {"PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'tests'}"},
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10.0)

    def assert_consistent(self) -> None:
        """Firm power is never above the upper bound, and that never above what may be over-delivered."""
        for row in self.seen:
            assert 0.0 <= row["firm_kw"] <= row["upper_kw"] * (1.0 + 1e-9), row
            assert row["upper_kw"] <= row["limit_kw"] * (1.0 + 1e-9), row

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.seen.append(json.loads(line))


def _watch() -> None:
    """Print the newest dispatch's figures as JSON lines; what cannot be read while a database is away is left out."""
    import os

    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "vpp.settings"
    django.setup()
    from django.db import Error, close_old_connections, connection
    from django.utils import timezone

    from vpp.dispatch.models import Dispatch
    from vpp.dispatch.queries import dispatch_summary

    while True:
        at = timezone.now()
        try:
            for dispatch_id in Dispatch.objects.values_list("dispatch_id", flat=True):
                summary = dispatch_summary(dispatch_id=dispatch_id, at=at)
                figures = {name: getattr(summary, name) for name in FIELDS}
                sys.stdout.write(json.dumps({"at": at.timestamp(), **figures}) + "\n")
                sys.stdout.flush()
        except Error:
            connection.close()
        close_old_connections()
        time.sleep(EVERY_S)


if __name__ == "__main__":
    _watch()
