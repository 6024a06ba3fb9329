"""Look at a dispatch again and again, each time as of one instant of the database, and tell the extremes.

Run as a program in the platform's environment, with the dispatch's id. It says ``ready``, looks until its standard
input is closed, and prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vpp.settings")

import django

EVERY_S = 0.05


def main(dispatch_id: str) -> None:
    """Watch until nobody holds the other end of standard input."""
    django.setup()
    from django.db import OperationalError, connection

    from vpp.dispatch import queries
    from vpp.dispatch.models import SiteAssignment

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    looks, upper_kw, limit_kw, sums_kw = 0, 0.0, 0.0, []
    print("ready", flush=True)
    while not ended.is_set():
        try:
            with connection.cursor() as cursor:
                # A reader's transaction: all queries see the same instant, and no writer waits.
                cursor.execute("BEGIN DEFERRED")
                try:
                    found = queries.dispatch_summary(dispatch_id=dispatch_id, at=datetime.now(UTC))
                    asked = SiteAssignment.objects.filter(dispatch__dispatch_id=dispatch_id, superseded=False)
                    sums_kw.append(sum(asked.values_list("power_kw", flat=True)))
                finally:
                    cursor.execute("COMMIT")
        except OperationalError:
            continue
        looks += 1
        upper_kw, limit_kw = max(upper_kw, found.upper_kw), found.limit_kw
        time.sleep(EVERY_S)
    told = {"looks": looks, "upper_kw": upper_kw, "limit_kw": limit_kw,
            "least_asked_kw": min(sums_kw), "most_asked_kw": max(sums_kw)}  # fmt: skip
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
