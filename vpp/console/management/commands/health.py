"""Ask every process of this machine's platform how it is: the first command at three in the morning."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

ANSWERS_WITHIN_S = 5.0


class Command(BaseCommand):
    """``manage.py health``."""

    help = "Ask the /healthz of every process that runs here; ends with 1 when one is not well or none is there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take where the processes say on which port they are."""
        parser.add_argument("--folder", type=Path, default=settings.OBSERVE_DIR, help="of VPP_RUNTIME_DIR: observe")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line for each process, the reason after its name."""
        files = sorted(options["folder"].glob("*.json"))
        if not files:
            self.stdout.write(f"no process says in {options['folder']} that it runs")
            sys.exit(1)
        states = {path.stem: _state(path) for path in files}
        for name, reasons in states.items():
            self.stdout.write(f"{name:<24} {'; '.join(reasons) or 'well'}")
        if any(states.values()):
            sys.exit(1)


def _state(path: Path) -> list[str]:
    """Return what a process misses; empty while it is well."""
    try:
        target = str(json.loads(path.read_text())[0]["targets"][0])
    except (OSError, ValueError, LookupError, TypeError):
        return [f"{path.name} cannot be read"]
    try:
        with urllib.request.urlopen(f"http://{target}/healthz", timeout=ANSWERS_WITHIN_S) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as refusal:
        try:
            told = json.load(refusal)
        except ValueError:
            return [f"answers with {refusal.code}"]
    except (OSError, ValueError) as error:
        return [f"does not answer on {target}: {getattr(error, 'reason', error)}"]
    return [f"{name}: {reason}" for name, reason in told.get("gone", {}).items()]
