"""docs/wire.md is the contract: every table of it says what the code does, no more and no less."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from support.site_bench import NOW, SITE, Bench

from sites.core.assignments import Refusal
from sites.core.key_ring import KeyRefusal
from sites.core.requests import RequestRefusal
from sites.core.streams import SignalRefusal
from sites.edge.link.outbox import OutboxError, OutboxFull
from sites.metering.streams import MAX_SERVED, STREAMS
from sites.wire import metrics
from sites.wire.commands import device_command, node_command
from sites.wire.errors import ERRORS, ValueOutOfRange, WireError
from sites.wire.host_events import DeviceData, NodeBorn, NodeData
from sites.wire.judging import judged
from sites.wire.metrics import MAX_TEXT_CHARS, RESEND_REFUSALS, MetricDeclaration, MetricType
from sites.wire.payload import Metric
from sites.wire.topics import DEVICE_KINDS, NODE_KINDS

ROOT = Path(__file__).parents[4]
TEXT = (ROOT / "docs/wire.md").read_text()
ARRAYS = {
    "interval/served": f"up to {MAX_SERVED}, each once",
    "interval/served_into_uwh": "0 and more",
    "interval/served_from_uwh": "0 and more",
    "resend/<stream>": "first and last, from 1",
}
"""What is accepted of an array is judged where it is used."""


def tables() -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield each table of the page: its head and its rows, cell by cell."""
    for block in re.findall(r"(?:^\|.*\n)+", TEXT, re.M):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|\n"))] for line in block.splitlines()]
        yield rows[0], rows[2:]


def named(cell: str) -> str:
    return cell.strip("`")


METRIC_TABLES = [rows for head, rows in tables() if head[0] == "metric"]
"""By their head: metric, type, unit, accepted, meaning."""
METERS = frozenset(metrics.METER_METRICS)
GROUPS: list[tuple[MetricDeclaration, ...]] = [
    metrics.SYSTEM_METRICS,
    metrics.NODE_METRICS,
    metrics.STANDING_METRICS,
    *(tuple(d for d in of_kind if d not in METERS) for of_kind in metrics.ASSET_METRICS.values()),
    metrics.METER_METRICS,
    (*metrics.INTERVAL_METRICS, *metrics.FORMER_METRICS),
    metrics.RECORD_METRICS,
    metrics.WAVEFORM_METRICS,
    metrics.NODE_COMMANDS,
    metrics.RESENT_METRICS,
    metrics.CONTROL_COMMANDS,
    tuple(d for d in metrics.CONTROL_METRICS if d.name.startswith("reported")),
    tuple(d for d in metrics.CONTROL_METRICS if d.name.startswith("answer/")),
    tuple(d for d in metrics.CONTROL_METRICS if d.name.startswith("keys/")),
]
"""All that is declared, in the order of the page."""


def bound(value: float) -> str:
    known = {2**53: "2^53", 2**63 - 1: "2^63 - 1", -(2**63 - 1): "-(2^63 - 1)"}
    return known.get(int(value), f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}")


def accepted(declaration: MetricDeclaration) -> str:
    if declaration.choices:
        return ", ".join(f"`{choice}`" if choice else "empty" for choice in declaration.choices)
    if declaration.low is not None and declaration.high is not None:
        return f"{bound(declaration.low)} to {bound(declaration.high)}"
    if declaration.names:
        return "up to 200 of `a-z 0-9 _ : ,` and blanks"
    return {
        MetricType.BOOLEAN: "true, false",
        MetricType.DATETIME: "now + 60 s at most",
        MetricType.BYTES: "any",
        MetricType.STRING: f"up to {MAX_TEXT_CHARS} characters",
    }.get(declaration.type) or ARRAYS[declaration.name]


def test_every_declared_metric_is_in_a_group_of_the_page() -> None:
    declared = {
        *metrics.NODE_DECLARED.values(), *metrics.ASSET_DECLARED.values(), *metrics.CONTROL_DECLARED.values(),
        *metrics.NODE_COMMANDS, *metrics.CONTROL_COMMANDS,
    }  # fmt: skip
    assert {declaration for group in GROUPS for declaration in group} == declared
    assert len(METRIC_TABLES) == len(GROUPS)


@pytest.mark.parametrize("index", range(len(GROUPS)), ids=lambda index: GROUPS[index][0].name)
def test_a_table_says_each_metric_s_type_unit_range_and_meaning(index: int) -> None:
    declared = [
        [f"`{d.name}`", d.type.name.lower().replace("_", ""), d.unit, accepted(d), d.text] for d in GROUPS[index]
    ]
    assert [[row[0], row[1].lower(), *row[2:]] for row in METRIC_TABLES[index]] == declared


RANGED = [row for rows in METRIC_TABLES for row in rows if re.match(r"-?\(?\d", row[3]) and " to " in row[3]]


@pytest.mark.parametrize("row", RANGED, ids=lambda row: named(row[0]))
def test_the_range_that_is_described_is_the_one_that_is_kept(row: list[str]) -> None:
    name, low, high = named(row[0]), *(whole(text) for text in row[3].split(" to "))
    (declaration,) = {d for group in GROUPS for d in group if d.name == name}
    number = float if declaration.type is MetricType.DOUBLE else int
    for value in (low, high):
        metric = Metric(name, type=declaration.type, value=number(value))
        assert judged(metric, declaration, at_ms=0, latest_ms=0).value == number(value)
    for value in (low - 1, high + 1):
        if declaration.type is MetricType.UINT64 and value < 0:
            continue
        with pytest.raises(WireError):
            judged(Metric(name, type=declaration.type, value=number(value)), declaration, at_ms=0, latest_ms=0)


def whole(text: str) -> int:
    return {"2^53": 2**53, "2^63 - 1": 2**63 - 1, "-(2^63 - 1)": -(2**63 - 1)}.get(text) or int(text)


def test_a_text_of_names_is_no_other_text() -> None:
    alarms = metrics.by_name(metrics.STANDING_METRICS)["alarms"]
    texts = {"fire,fault": True, "a" * 200: True, "a" * 201: False, "<b>": False, "Fire": False}
    for text, is_taken in texts.items():
        metric = Metric("alarms", type=MetricType.STRING, value=text)
        if is_taken:
            judged(metric, alarms, at_ms=0, latest_ms=0)
        else:
            with pytest.raises(ValueOutOfRange):
                judged(metric, alarms, at_ms=0, latest_ms=0)


def test_the_registers_that_a_rule_may_map_are_described() -> None:
    (rows,) = (rows for head, rows in tables() if head[0] == "as")
    assert rows == [[f"`{d.name}`", d.unit, f"0 to {d.high:.0f}", d.text] for d in metrics.MAPPED_REGISTERS]


# --- commands: to whom, what answers, what is refused ------------------------------------------------
(COMMAND_ROWS,) = (rows for head, rows in tables() if head[0] == "command")
COMMANDS = {named(row[0].removesuffix(" = true")): row[1:] for row in COMMAND_ROWS}
REFUSED: dict[str, type[StrEnum] | tuple[str, ...]] = {
    "Node Control/Rebirth": (),
    "stored_through/<stream>": ("stream_unknown", "stored_through_ahead"),
    "resend/<stream>": RESEND_REFUSALS[1:],
    "desired": Refusal,
    "desired_stream": Refusal,
    "command": RequestRefusal,
    "keys": KeyRefusal,
    "vpp/setpoint/<stream>": SignalRefusal,
}


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_command_is_described() -> None:
    declared = [d.name for d in (*metrics.NODE_COMMANDS, *metrics.CONTROL_COMMANDS)]
    assert list(COMMANDS) == [*declared, "vpp/setpoint/<stream>"]
    assert list(COMMANDS) == list(REFUSED)


@pytest.mark.parametrize("command", REFUSED)
def test_every_name_of_its_refusals_is_described_and_no_other(command: str) -> None:
    names = REFUSED[command]
    assert sorted(quoted(COMMANDS[command][2])) == sorted(str(name) for name in names)


def test_a_site_answers_each_command_by_the_metrics_that_are_described(tmp_path: Path) -> None:
    for command, (to, answer, _) in COMMANDS.items():
        if command.startswith("vpp/"):
            continue
        bench = Bench(tmp_path)
        bench.told(bench.come_online())
        declared = metrics.command_on(None if to == "node" else "control", command.replace("<stream>", "pcc"))
        assert declared is not None
        assert to == ("node" if declared in metrics.NODE_COMMANDS else "device `control`")
        value = {MetricType.BYTES: b"not an envelope", MetricType.INT64_ARRAY: [1, 2], MetricType.BOOLEAN: True}.get(
            declared.type, 0
        )
        values = {command.replace("<stream>", "pcc"): value}
        message = node_command(SITE, NOW, values) if to == "node" else device_command(SITE, "control", NOW, values)
        events = bench.told(bench.hear(message))
        told = {name for event in events if isinstance(event, NodeData | DeviceData) for name in event.values}
        if command == "Node Control/Rebirth":
            assert isinstance(events[0], NodeBorn)
            assert answer.startswith("NBIRTH")
        elif answer.startswith("none"):
            assert events == []
        else:
            prefix = quoted(answer)[0].removesuffix("…")
            assert {name for group in GROUPS for name in (d.name for d in group) if name.startswith(prefix)} == told


# --- errors ------------------------------------------------------------------------------------------
ERROR_TABLES = [[named(row[0]) for row in rows] for head, rows in tables() if head == ["name", "meaning"]]


def literals(folder: str) -> set[str]:
    """Return the names by which the code of a folder refuses and counts, as they are written in it."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        if "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and called(node) in {"refuse", "_refuse", "StreamRefused"}:
                first = next((key.value for key in node.keywords if key.arg == "error"), (node.args or [None])[0])
                found |= texts_of(first)
            elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
                found |= texts_of(node.slice) if node.value.attr == "counts" else set()
    return found


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def texts_of(node: ast.AST | None) -> set[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.JoinedStr):
        text = ast.unparse(node)
        if "_invalid" in text:
            return {f"{stream}_invalid" for stream in STREAMS}
        if "resend_" in text:
            return {f"resend_{refusal}" for refusal in RESEND_REFUSALS[1:]}
        raise AssertionError(f"{text} is not described as a name")
    return set()


def test_every_error_of_the_wire_is_described_with_its_meaning() -> None:
    rows = next(rows for head, rows in tables() if head == ["name", "meaning"])
    assert [(named(name), meaning) for name, meaning in rows] == [(e.name, (e.__doc__ or "").strip()) for e in ERRORS]


def test_every_name_that_the_platform_counts_is_described_and_no_other() -> None:
    assert set(ERROR_TABLES[1]) == literals("sites/metering") - {error.name for error in ERRORS}


def test_every_name_by_which_a_site_refuses_is_described_and_no_other() -> None:
    assert set(ERROR_TABLES[2]) == literals("sites/edge/link") | {OutboxError.name, OutboxFull.name}


def test_every_error_is_listed_once() -> None:
    assert set(ERRORS) == set(WireError.__subclasses__())
    assert len({error.name for error in ERRORS}) == len(ERRORS)
    assert all(len(names) == len(set(names)) for names in ERROR_TABLES)


@pytest.mark.parametrize("kind", [*NODE_KINDS, *DEVICE_KINDS])
def test_each_topic_is_described(kind: str) -> None:
    assert f"spBv1.0/VPP-pp/{kind}/" in TEXT
