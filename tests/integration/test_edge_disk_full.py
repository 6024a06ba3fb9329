"""A full disk at the edge: samples go first, by count; no interval is lost, and none is counted twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio, json, resource, sys
from pathlib import Path

import numpy as np

from sites.edge.control.exchange import (
    MEASURED_DTYPE, REGISTER_DTYPE, Boundary, CapturedWaveform, Image, InProcessExchange,
)
from sites.edge.link.fallback import LinkLossPolicy, LossOfLink
from sites.edge.link.profile import AssetNameplate, SiteProfile
from sites.edge.link.uplink import Uplink
from sites.edge.link.uplink_settings import UplinkSettings
from sites.mqtt.address import BrokerAddress

WH_J, MINUTE_US, START_US = 3600.0, 60_000_000, 1_772_366_400_000_000
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
port = InProcessExchange()
assets = (AssetNameplate("pcc", "pcc", 20.0), AssetNameplate("battery", "battery", 10.0, capacity_kwh=20.0))
profile = SiteProfile("s", assets, LinkLossPolicy(LossOfLink.HOLD, 10.0))
settings = UplinkSettings(
    broker=BrokerAddress.parse("mqtt://127.0.0.1:9"), host_id="vpp", platform_keys=(), interval_s=60,
    outbox_path=folder / "outbox.sqlite3", outbox_reserve_bytes=100_000,
)
uplink = Uplink([profile], port, settings)
random = np.random.default_rng(1)
port.publish_image(Image(START_US, np.zeros(1, MEASURED_DTYPE), 0, ("",)))


def minute(number):
    registers = np.zeros(1, REGISTER_DTYPE)
    registers["pcc_into_j"], registers["battery_from_j"] = number * WH_J, number * 2 * WH_J
    port.publish_boundary(Boundary(START_US, START_US + number * MINUTE_US, registers))


def waveform(number):
    samples = random.random((2_000, 4)).astype(np.float32)
    port.publish_waveform(CapturedWaveform(0, number, number + 1, 1e4, "test", ("a", "b", "c", "d"), samples))


async def until(condition, what):
    for _ in range(2_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise SystemExit(f"{what} did not come")


async def main():
    stop = asyncio.Event()
    running = asyncio.create_task(uplink.run(stop))
    outbox = uplink._outbox
    for number in range(1, 11):
        waveform(number)
    await until(lambda: outbox.depth() == 10, "the first waveforms")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    for number in range(1, 1_501):
        minute(number)
        if number % 500 == 0:
            await asyncio.sleep(1.1)
    waveform(11)
    await until(lambda: outbox.unwritable_count, "the full disk")
    during = {"unwritable": outbox.unwritable_count, "dropped": outbox.dropped_count,
              "reserve": (folder / "outbox.sqlite3.reserve").exists()}
    await asyncio.sleep(3.0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    minute(1_501)
    await until(lambda: outbox.next_number("s", "pcc") == 1_502, "every interval")
    stop.set()
    await running
    print(json.dumps(during))


asyncio.run(main())
"""


def test_intervals_wait_for_room_and_samples_make_it(tmp_path: Path) -> None:
    import sqlite3

    from sites.wire.payload import decode_payload

    tests = Path(__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), "400000"],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    during = json.loads(found.stdout)
    assert during["unwritable"] > 0
    assert during["dropped"] > 0
    assert not during["reserve"]
    assert "outbox.full" in found.stderr
    assert "samples.dropped" in found.stderr

    database = sqlite3.connect(tmp_path / "outbox.sqlite3")
    for stream, energy, field in (("pcc", 1_000_000, "into_bus"), ("battery", 2_000_000, "from_bus")):
        rows = database.execute("SELECT number, payload FROM outbox WHERE stream = ? ORDER BY number", (stream,))
        numbers, booked, register = [], 0, 0
        for number, payload in rows:
            values = {m.name: m.value for m in decode_payload(payload, max_bytes=10_000).metrics}
            numbers.append(number)
            booked += int(values[f"interval/{field}_uwh"])  # type: ignore[arg-type]
            register = int(values[f"interval/register_{field.removesuffix('_bus')}_uwh"])  # type: ignore[arg-type]
        assert numbers == list(range(1, 1_502))
        assert booked == register == 1_501 * energy
