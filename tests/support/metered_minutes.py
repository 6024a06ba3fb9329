"""Numbered one-minute intervals at a site's connection, written into a platform's own database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

from support.openadr import PlatformProcesses


def meter(
    platform: PlatformProcesses, site_id: str, starts_at: datetime, *, minutes: int, into_uwh: int = 0, out_uwh: int = 0
) -> None:
    """Write one-minute intervals at a site's connection."""
    with closing(sqlite3.connect(platform.database, timeout=20)) as connection, connection:
        asset = connection.execute(
            "SELECT a.id FROM registry_asset a JOIN registry_site s ON s.id = a.site_id "
            "WHERE s.site_id = ? AND a.kind = 'pcc'", (site_id,),
        ).fetchone()[0]  # fmt: skip
        for number in range(minutes):
            begin = starts_at + timedelta(minutes=number)
            row = {
                "asset_id": asset, "number": number + 1, "revision": 0, "starts_at": begin.isoformat(sep=" "),
                "ends_at": (begin + timedelta(minutes=1)).isoformat(sep=" "), "into_bus_uwh": into_uwh,
                "from_bus_uwh": out_uwh, "quality": "good", "time_quality": "synchronized",
                "received_at": begin.isoformat(sep=" "), "service_into_uwh": 0, "service_from_uwh": 0, "services": "[]",
                "fuel_ul": 0, "register_into_uwh": 0, "register_from_uwh": 0, "is_historical": 0,
            }  # fmt: skip
            connection.execute(
                f"INSERT INTO metering_meterinterval ({', '.join(row)}) "  # noqa: S608
                f"VALUES ({', '.join('?' * len(row))})", tuple(row.values()),
            )  # fmt: skip
