"""Alert rules speak of figures that exist: a renamed one would be an alarm that never rings."""

import re
from pathlib import Path

from sites.observability.metrics import MQTT, REGISTRY

ALERTS = Path(__file__).resolve().parents[4] / "deploy" / "monitoring" / "alerts.yml"


def test_every_figure_of_an_alert_is_one_that_a_process_has(monkeypatch):
    # Told by a process alone whose connection has certificates.
    monkeypatch.setattr(MQTT, "certificate_ends_s", 1_800_000_000.0)
    known = set()
    for family in REGISTRY.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        known |= {family.name + suffix for suffix in suffixes}
    asked = set(re.findall(r"\bvpp_[a-z_]+", ALERTS.read_text()))
    assert len(asked) > 8
    assert asked <= known
