"""A gateway that is not ours joins with only its own births: first seen, then mapped, then read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.brokers import mosquitto_broker, mosquitto_program
from support.foreign_site import foreign_site
from support.manifests import a_manifest
from support.platform_processes import a_platform, wait_until

SITE = "site-0001"
NODE = [
    {"name": "Node Control/Rebirth", "type": "Boolean", "value": False},
    {"name": "grid/f", "type": "Int32", "value": 49_970},
    {"name": "serial", "type": "String", "value": "X-1"},
]
DEVICES = {
    "BMS": [
        {"name": "SoC", "type": "Float", "value": 55.0,
         "properties": {"engUnit": {"type": "String", "value": "%"}}},
        {"name": "P", "type": "Float", "value": 2_500.0, "properties": {"engUnit": {"type": "String", "value": "W"}}},
        {"name": "cells", "type": "Int16", "value": -3},
        {"name": "Wh_dis", "type": "Int64", "value": 12_345_678},
    ],
    # Our own names, which say nothing here: nobody mapped them.
    "load": [{"name": "power_kw", "type": "Double", "value": -77.0}],
}  # fmt: skip
RULES = [
    {"device": "", "metric": "grid/f", "asset": "", "as": "frequency_hz", "unit": "mHz"},
    {"device": "BMS", "metric": "SoC", "asset": "battery", "as": "soc_ratio"},
    {"device": "BMS", "metric": "P", "asset": "battery", "as": "power_kw", "factor": -1},
    {"device": "BMS", "metric": "Wh_dis", "asset": "battery", "as": "register_into_kwh", "unit": "Wh"},
]
LIVE = f"[list(v) for v in LiveState.objects.filter(site__site_id='{SITE}').values_list('frequency_hz', 'battery_kw', 'soc_ratio', 'load_kw')]"  # noqa: E501
REGISTERS = "sorted({v for r in Reading.objects.filter(asset='battery') for n, v in zip(r.shape.names.split(','), r.values) if n == 'register_into_kwh'})"  # noqa: E501
SEEN = "{f'{m.device}/{m.name}': [m.type, m.unit, m.value, m.count] for m in UnmappedMetric.objects.all()}"


@pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed here")
def test_an_independent_client_is_seen_mapped_and_read(tmp_path: Path) -> None:
    with mosquitto_broker() as broker, a_platform(tmp_path, broker.url) as platform:
        platform.set_up(a_manifest(1))
        rules = tmp_path / "rules.json"
        rules.write_text("[]")
        platform.manage("map_gateway", "acme-bms", str(rules), "--site", SITE)
        platform.start("run_ingest")
        wait_until(lambda: "link.up" in platform.log_of("run_ingest"))
        with foreign_site(SITE, broker.edge_url, tmp_path / "client.log", node=NODE, devices=DEVICES) as client:
            seen = wait_until(lambda: len(found := platform.read(SEEN)) == 7 and found, 40.0)
            assert seen["BMS/SoC"][:3] == ["FLOAT", "%", "55.0"]
            assert seen["BMS/cells"][:3] == ["INT16", "", "-3"]
            assert seen["/serial"][:3] == ["STRING", "", "X-1"]
            assert platform.read(LIVE) == []

            # Another set of rules makes the platform ask for births, for what aliases mean is learned there.
            rules.write_text(json.dumps(RULES))
            platform.manage("map_gateway", "acme-bms", str(rules), "--site", SITE)
            live = wait_until(lambda: platform.read(LIVE), 60.0)
            assert live == [pytest.approx([49.97, -2.5, 0.55, None])]
            assert platform.read(REGISTERS) == [12_345.678]
            assert "ncmd Node Control/Rebirth" in (tmp_path / "client.log").read_text()
            assert client.poll() is None
        counts = platform.read("queries.refusals().counts")
        assert set(counts) <= {"alias_unknown"}, counts
        assert platform.read("Reading.objects.filter(asset='load').count()") == 0
        assert "Traceback" not in platform.log_of("run_ingest")
