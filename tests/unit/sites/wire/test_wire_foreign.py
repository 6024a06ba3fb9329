"""Somebody else's gateway: what its rules name becomes ours, in our units; what they do not name is told apart."""

from __future__ import annotations

from typing import Any

import pytest

from sites.wire.foreign import MapError, Unmapped, rules_from
from sites.wire.host_events import DeviceData, HostEvent, NodeBorn, NodeData, RebirthNeeded, Refused
from sites.wire.host_session import HostSession
from sites.wire.metrics import MetricType
from sites.wire.payload import Metric, Payload, encode_payload
from sites.wire.topics import device_topic, node_topic

SITE, NOW = "plant-7", 1_772_366_400_000
RULES: list[dict[str, Any]] = [
    {"device": "Inverter 1".replace(" ", "-"), "metric": "AC/P", "asset": "pv", "as": "power_kw", "unit": "W"},
    {"device": "BMS", "metric": "SoC", "asset": "battery", "as": "soc_ratio"},
    {"device": "BMS", "metric": "P_chg", "asset": "battery", "as": "power_kw", "factor": -1},
    {"device": "BMS", "metric": "T", "asset": "battery", "as": "temperature_c", "unit": "K"},
    {"device": "", "metric": "f", "asset": "", "as": "frequency_hz", "unit": "mHz"},
    {"device": "", "metric": "state", "asset": "", "as": "mode", "words": {"1": "grid_tied", "2": "islanded"}},
]  # fmt: skip
F, I32, STR = MetricType.FLOAT, MetricType.INT32, MetricType.STRING


class Gateway:
    def __init__(self, rules: list[dict[str, Any]] | None = None) -> None:
        self.host = HostSession(100_000, 60.0)
        self.host.use_gateways({SITE: rules_from(RULES if rules is None else rules)})
        self.seq = 0

    def say(self, kind: str, device: str | None, *metrics: Metric) -> list[HostEvent]:
        topic = node_topic(kind, SITE) if device is None else device_topic(kind, SITE, device)
        payload = encode_payload(Payload(NOW, self.seq, list(metrics)))
        self.seq = (self.seq + 1) % 256
        assert self.host.receive_plain(topic, payload, NOW) is None
        return self.host.receive(topic, payload, NOW)

    def bear(self) -> list[HostEvent]:
        self.seq = 0
        events = self.say(
            "NBIRTH", None,
            Metric("bdSeq", type=MetricType.INT64, value=3),
            Metric("Node Control/Rebirth", type=MetricType.BOOLEAN, value=False),
            Metric("f", 1, I32, 49_980), Metric("state", 2, I32, 1), Metric("firmware", 3, STR, "9.1\n"),
        )  # fmt: skip
        events += self.say("DBIRTH", "Inverter-1", Metric("AC/P", 10, F, 1500.0, properties={"engUnit": "W"}))
        return events + self.say(
            "DBIRTH", "BMS",
            Metric("SoC", 20, F, 61.0, properties={"engUnit": "%"}),
            Metric("P_chg", 21, F, 4.0, properties={"engUnit": "kW"}),
            Metric("T", 22, F, 298.15),
            Metric("cells", 23, I32, 14, properties={"engUnit": "1"}),
        )  # fmt: skip


def values_of(events: list[HostEvent]) -> dict[str, object]:
    found: dict[str, object] = {}
    for event in events:
        if isinstance(event, DeviceData | NodeData):
            where = f"{event.device}/" if isinstance(event, DeviceData) else ""
            found |= {where + name: metric.value for name, metric in event.values.items()}
    return found


def test_births_give_our_names_and_units_and_the_rest_apart() -> None:
    events = Gateway().bear()
    assert isinstance(events[0], NodeBorn)
    assert values_of(events) == pytest.approx(
        {"frequency_hz": 49.98, "mode": "grid_tied", "pv/power_kw": 1.5, "battery/soc_ratio": 0.61,
         "battery/power_kw": -4.0, "battery/temperature_c": 25.0}
    )  # fmt: skip
    unmapped = [metric for event in events if isinstance(event, Unmapped) for metric in event.metrics]
    assert unmapped == [("", "firmware", "STRING", "", "9.1\ufffd"), ("BMS", "cells", "INT32", "1", "14")]
    assert not any(isinstance(event, Refused) for event in events)


def test_data_by_alias_or_name_is_read_by_its_birth() -> None:
    gateway = Gateway()
    gateway.bear()
    events = gateway.say("DDATA", "BMS", Metric(alias=20, type=F, value=50.0), Metric("P_chg", type=F, value=-2.0))
    assert values_of(events) == {"battery/soc_ratio": 0.5, "battery/power_kw": 2.0}
    assert values_of(gateway.say("NDATA", None, Metric(alias=2, type=I32, value=2))) == {"mode": "islanded"}
    (seen,) = gateway.say("DDATA", "BMS", Metric(alias=23, type=I32, value=15))
    assert isinstance(seen, Unmapped)
    assert seen.metrics[0].value == "15"


@pytest.mark.parametrize(
    ("device", "metric", "error"),
    [
        ("BMS", Metric(alias=20, type=F, value=161.0), "value_out_of_range"),
        ("BMS", Metric(alias=20, type=F, value=float("nan")), "value_out_of_range"),
        ("BMS", Metric(alias=99, type=F, value=1.0), "alias_unknown"),
        ("BMS", Metric("unborn", type=F, value=1.0), "alias_unknown"),
        ("BMS", Metric("SoC", type=STR, value="full"), "metric_type_mismatch"),
        (None, Metric(alias=2, type=I32, value=9), "metric_type_mismatch"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(device: str | None, metric: Metric, error: str) -> None:
    gateway = Gateway()
    gateway.bear()
    events = gateway.say("NDATA" if device is None else "DDATA", device, metric)
    assert [event.error_name for event in events if isinstance(event, Refused)] == [error]
    assert values_of(events) == {}


def test_a_unit_that_its_rule_does_not_expect_is_refused() -> None:
    gateway = Gateway()
    gateway.bear()
    gateway.seq = 3
    events = gateway.say("DBIRTH", "Inverter-1", Metric("AC/P", 10, F, 1.5, properties={"engUnit": "kW"}))
    assert [event.error_name for event in events if isinstance(event, Refused)] == ["unit_mismatch"]


def test_nothing_unmapped_passes_as_ours_even_under_our_own_name() -> None:
    gateway = Gateway(rules=[])
    gateway.say("NBIRTH", None, Metric("bdSeq", type=MetricType.UINT64, value=1))
    metrics = [Metric("power_kw", 1, MetricType.DOUBLE, 99_000.0), Metric("interval/number", 2, MetricType.INT64, 1)]
    events = gateway.say("DBIRTH", "battery", *metrics)
    assert values_of(events) == {}
    (seen,) = [event for event in events if isinstance(event, Unmapped)]
    assert [metric.name for metric in seen.metrics] == ["power_kw", "interval/number"]


def test_other_rules_ask_for_births_again() -> None:
    gateway = Gateway(rules=[])
    gateway.bear()
    gateway.host.use_gateways({SITE: rules_from(RULES)})
    events = gateway.say("DDATA", "BMS", Metric(alias=20, type=F, value=50.0))
    assert any(isinstance(event, RebirthNeeded) for event in events)
    assert values_of(gateway.bear())["battery/soc_ratio"] == pytest.approx(0.61)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"as": "interval/number"}, "accepted: a live metric"),
        ({"as": "rated_kw"}, "accepted: a live metric"),
        ({"as": "no_such"}, "accepted: a live metric"),
        ({"unit": "V"}, "accepted for power_kw: W, kW, MW"),
        ({"factor": 0}, "accepted: 1e-9 to 1e9"),
        ({"factor": True}, "accepted: 1e-9 to 1e9"),
        ({"scale": 2}, "is not a field"),
        ({"metric": ""}, "accepted: a text"),
        ({"meter_class": "B"}, "meter_class is 'B', accepted: .* of register_into_kwh"),
        ({"as": "register_into_kwh", "unit": "Wh", "meter_class": "best"}, "meter_class is 'best', accepted: 0.1S"),
        ({"as": "register_into_kwh", "unit": "kW"}, "accepted for register_into_kwh: Wh, kWh, MWh"),
        ({"as": "register_into_kwh", "unit": "Wh", "factor": -1}, "accepted for a register: above 0"),
        ({"as": "register_into_kwh", "unit": "Wh", "asset": ""}, "accepted: a live metric"),
        ({"words": {"1": "on"}}, "accepted: an object"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(MapError, match=named):
        rules_from([RULES[0] | change])


@pytest.mark.parametrize("raw", [{}, None, [1], [RULES[0], RULES[0]], [RULES[0], RULES[0] | {"metric": "other"}]])
def test_a_list_that_cannot_be_used_is_named(raw: object) -> None:
    with pytest.raises(MapError, match="accepted"):
        rules_from(raw)


def test_a_register_becomes_a_reading_in_our_unit() -> None:
    registers = [
        {"device": "BMS", "metric": "E_dis", "asset": "battery", "as": "register_into_kwh", "meter_class": "B"},
        {"device": "BMS", "metric": "E_chg", "asset": "battery", "as": "register_from_kwh", "unit": "Wh"},
    ]
    rules = rules_from(registers)
    assert [rule.meter_class for rule in rules.values()] == ["B", ""]
    gateway = Gateway(rules=registers)
    gateway.say("NBIRTH", None, Metric("bdSeq", type=MetricType.UINT64, value=1))
    births = [
        Metric("E_dis", 1, MetricType.DOUBLE, 1.25, properties={"engUnit": "MWh"}),
        Metric("E_chg", 2, MetricType.INT64, 1_700_123),
    ]
    values = values_of(gateway.say("DBIRTH", "BMS", *births))
    assert values == {"battery/register_into_kwh": 1250.0, "battery/register_from_kwh": pytest.approx(1700.123)}


def test_our_own_edge_may_not_send_registers_that_way() -> None:
    gateway = Gateway()
    gateway.host.use_gateways({})
    gateway.say("NBIRTH", None, Metric("bdSeq", type=MetricType.UINT64, value=1))
    events = gateway.say("DBIRTH", "battery", Metric("register_into_kwh", 1, MetricType.DOUBLE, 1.0))
    assert [event.error_name for event in events if isinstance(event, Refused)] == ["metric_unknown"]
