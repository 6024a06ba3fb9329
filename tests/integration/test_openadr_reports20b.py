"""Our reports to a VTN of OpenADR 2.0b: our VEN and our VTN as real processes on loopback, each with its database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from support.metered_minutes import meter
from support.openadr import ROOT, PlatformProcesses
from support.vtn20b import OurVtnProcess

# Half a minute of processes; the operator's scripted day covers telemetry over the wire in every run.
pytestmark = pytest.mark.long

POWER, BASELINE, SERVICE, UP, STORED = (
    f"neso-dc-low/{name}" for name in ("power", "baseline", "service", "up_available", "stored_energy")
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Yield a VTN that wants telemetry each second, and a platform with three sites whose VEN is there."""
    folder = tmp_path_factory.mktemp("reports")
    vtn = OurVtnProcess(folder / "vtn", None)
    platform = PlatformProcesses(folder)
    try:
        platform.add_sites(3)
        live(platform, pcc_kw=-20.0, service_kw=25.0, soc_ratio=0.5)
        vtn.manage("vtn_vens", "add", "open-vpp", "--open")
        vtn.start()
        platform.start_ven(vtn.url)
        yield vtn, platform
    finally:
        platform.stop_ven()
        vtn.stop()


def live(platform, **values):
    """Set values of all sites' newest reading."""
    with closing(sqlite3.connect(platform.database, timeout=20)) as connection, connection:
        words = ", ".join(f"{name} = ?" for name in values)
        connection.execute(f"UPDATE metering_livestate SET {words}", tuple(values.values()))  # noqa: S608


def newest(vtn, r_id, after=""):
    """Return the newest value of a point that arrived, measured after an instant."""
    rows = vtn.rows(
        "SELECT v.*, r.report_request_id AS order_id, r.report_name FROM markets_reportedvalue v "
        "JOIN markets_requestedreport r ON r.id = v.request_id WHERE v.r_id = ? AND v.at > ? "
        "ORDER BY v.at DESC LIMIT 1",
        r_id, after,
    )  # fmt: skip
    return rows[0] if rows else None


def now_text(later_s=0.0):
    return (datetime.now(UTC) + timedelta(seconds=later_s)).strftime("%Y-%m-%d %H:%M:%S.%f")


def desk(vtn, code):
    """Run code at the VTN's desk."""
    env = {**os.environ, **vtn.env, "DJANGO_SETTINGS_MODULE": "vpp.settings"}
    head = "import django; django.setup()\nfrom datetime import *\nfrom markets.openadr.vtn20b import reports\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_telemetry_arrives_at_the_rate_asked_for_with_the_protocol_sign(pair):
    vtn, platform = pair
    vtn.wait_until(lambda: newest(vtn, POWER))
    after = now_text()
    vtn.wait_until(lambda: newest(vtn, POWER, after) and newest(vtn, UP, after))
    # Three sites give 20 kW each to the grid: less than no consumption. Without the service they would take 5 kW.
    assert newest(vtn, POWER, after)["value"] == -60.0
    assert newest(vtn, BASELINE, after)["value"] == 15.0
    assert newest(vtn, SERVICE, after)["value"] == -75.0
    assert newest(vtn, POWER, after)["quality"] == "Quality Good - Non Specific"
    # 50 kW each, 100 kWh last longer than 15 min; the platform keeps a margin for sites that drop out.
    assert 0.0 < newest(vtn, UP, after)["value"] < 150.0
    assert newest(vtn, STORED, after)["value"] == 300.0
    status = vtn.wait_until(lambda: newest(vtn, "neso-dc-low/status"))
    assert (status["is_online"], status["value"], status["report_name"]) == (1, None, "TELEMETRY_STATUS")
    # Each second once.
    vtn.wait_until(
        lambda: (
            vtn.rows("SELECT count(*) AS n FROM markets_reportedvalue WHERE r_id = ? AND at > ?", POWER, after)[0]["n"]
            >= 4
        )
    )
    instants = [
        row["at"] for row in vtn.rows("SELECT at FROM markets_reportedvalue WHERE r_id = ? AND at > ?", POWER, after)
    ]
    assert all(datetime.fromisoformat(one).microsecond == 0 for one in instants)
    live(platform, pcc_kw=20.0, service_kw=-25.0)
    after = now_text(0.5)
    vtn.wait_until(lambda: newest(vtn, POWER, after))
    assert (newest(vtn, POWER, after)["value"], newest(vtn, SERVICE, after)["value"]) == (60.0, 75.0)


def test_a_killed_ven_goes_on_with_the_same_reports(pair):
    vtn, platform = pair
    before = vtn.wait_until(lambda: newest(vtn, POWER))["order_id"]
    platform.kill_ven()
    after = now_text()
    platform.start_ven(vtn.url)
    assert vtn.wait_until(lambda: newest(vtn, POWER, after))["order_id"] == before
    assert len(vtn.rows("SELECT id FROM markets_requestedreport WHERE report_name = 'TELEMETRY_USAGE'")) == 1


def test_silent_sites_are_told_as_missing_and_not_as_zero(pair):
    vtn, platform = pair
    platform.set_measured_at("2020-01-01 00:00:00+00:00")
    after = now_text(1.0)
    missing = vtn.wait_until(lambda: newest(vtn, POWER, after))
    assert (missing["value"], missing["quality"]) == (None, "No Quality - No Value")
    offline = vtn.wait_until(lambda: newest(vtn, "neso-dc-low/status", after))
    assert (offline["is_online"], offline["quality"]) == (None, "No Quality - No Value")
    platform.set_measured_at(now_text() + "+00:00")


def test_a_stretch_of_history_comes_from_the_meter_book(pair):
    vtn, platform = pair
    hour = datetime(2026, 3, 1, 12, tzinfo=UTC)
    meter(platform, "site-0001", hour, minutes=30, into_uwh=10**9)
    meter(platform, "site-0002", hour, minutes=30, out_uwh=3 * 10**9)
    meter(platform, "site-0003", hour, minutes=15, into_uwh=10**9)
    request = (
        "from django.utils import timezone\n"
        f"asked = reports.request_history(name='open-vpp', report_specifier_id='history-usage', "
        f"starts_at=datetime.fromisoformat('{hour.isoformat()}'), duration_s=2700, granularity_s=900, "
        "at=timezone.now())\nprint(asked.report_request_id)"
    )
    order_id = desk(vtn, request)
    rows = vtn.wait_until(
        lambda: vtn.rows(
            "SELECT v.* FROM markets_reportedvalue v JOIN markets_requestedreport r ON r.id = v.request_id "
            "WHERE r.report_request_id = ? AND v.r_id = 'neso-dc-low/energy' ORDER BY v.at", order_id,
        )
    )  # fmt: skip
    # 15 kWh in, 45 kWh out, 15 kWh in; then the third site's meter is silent; then all are.
    assert [(row["value"], row["duration_s"]) for row in rows] == [(-15.0, 900), (-30.0, 900), (None, 900)]
    assert [row["quality"] for row in rows] == [
        "Quality Good - Non Specific", "Quality Uncertain - Non Specific", "No Quality - No Value",
    ]  # fmt: skip
    done = platform.wait_until(
        lambda: platform.rows(
            "SELECT state FROM markets_reportorder WHERE order_id = ? AND state <> 'running'", order_id
        )
    )
    assert done[0]["state"] == "done"


def test_what_we_do_not_make_is_refused_by_name_and_asked_for_once(pair):
    vtn, platform = pair
    asked = (
        "from django.utils import timezone\n"
        "from markets.openadr.vtn20b.models import RequestedReport\n"
        "from markets.openadr.vtn20b.operations import queue_message, ven_named\n"
        "at, ven = timezone.now(), ven_named('open-vpp')\n"
        "for name, point, step, length in (('steam', 'neso-dc-low/steam', 60, 3600), "
        "('fast', 'neso-dc-low/energy', 10, 3600), ('endless', 'neso-dc-low/energy', 3600, 2_000_000_000)):\n"
        "    RequestedReport.objects.create(ven=ven, report_request_id=name, report_specifier_id='history-usage', "
        "report_name='HISTORY_USAGE', r_ids=[[point, 'Summed']], granularity_s=step, report_back_s=0, "
        "starts_at=at.replace(minute=0, second=0, microsecond=0), duration_s=length, created_at=at)\n"
        "    queue_message(ven.pk, 'oadrCreateReport', {'report_request_ids': [name]}, at)"
    )
    desk(vtn, asked)
    for name in ("report_point_unknown", "rate_too_fast", "duration_endless"):
        platform.wait_until(lambda name=name: f"error={name}: " in platform.log_path.read_text())
    vtn.wait_until(lambda: not vtn.rows("SELECT 1 FROM markets_queuedmessage WHERE kind = 'oadrCreateReport'"))
    assert not platform.rows("SELECT 1 FROM markets_reportorder WHERE order_id IN ('steam', 'fast', 'endless')")


@pytest.mark.long
def test_samples_of_the_time_in_which_the_vtn_was_away_come_later(pair):
    vtn, _ = pair
    vtn.wait_until(lambda: newest(vtn, UP))
    vtn.kill()
    begin = datetime.now(UTC)
    vtn.start()
    end = datetime.now(UTC)
    after = now_text()
    vtn.wait_until(lambda: newest(vtn, UP, after))
    rows = vtn.rows(
        "SELECT at, value FROM markets_reportedvalue WHERE r_id = ? AND at > ? AND at < ? ORDER BY at",
        UP, begin.strftime("%Y-%m-%d %H:%M:%S.%f"), end.strftime("%Y-%m-%d %H:%M:%S.%f"),
    )  # fmt: skip
    # Each second once; a machine that stands still may miss one, and says so by a value that is none.
    assert len(rows) >= int((end - begin).total_seconds()) - 1
    assert sum(row["value"] is None for row in rows) <= len(rows) // 4


def test_a_new_registration_brings_new_reports(pair):
    vtn, platform = pair
    before = newest(vtn, POWER)["order_id"]
    vtn.manage("vtn_vens", "dismiss", "open-vpp")
    vtn.wait_until(lambda: newest(vtn, POWER)["order_id"] != before)
    states = {
        row["order_id"]: row["state"]
        for row in platform.rows("SELECT order_id, state FROM markets_reportorder WHERE specifier = 'telemetry-usage'")
    }
    assert states[before] == "replaced"
    assert list(states.values()).count("running") == 1


def test_a_report_taken_back_ends(pair):
    vtn, platform = pair
    order_id = vtn.wait_until(lambda: newest(vtn, "neso-dc-low/status"))["order_id"]
    desk(
        vtn,
        f"from django.utils import timezone\nreports.cancel_report(report_request_id='{order_id}', at=timezone.now())",
    )
    vtn.wait_until(
        lambda: vtn.rows(
            "SELECT 1 FROM markets_requestedreport WHERE report_request_id = ? AND state = 'cancelled'", order_id
        )
    )
    states = platform.rows("SELECT state FROM markets_reportorder WHERE order_id = ?", order_id)
    assert states[0]["state"] == "cancelled"
