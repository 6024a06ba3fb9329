from __future__ import annotations

import re
from pathlib import Path

import pytest

from sites.wire import metrics
from sites.wire.errors import ERRORS, WireError
from sites.wire.metrics import MetricDeclaration
from sites.wire.topics import DEVICE_KINDS, NODE_KINDS

TEXT = (Path(__file__).parents[4] / "docs/wire.md").read_text()
DECLARED: tuple[MetricDeclaration, ...] = (
    *metrics.NODE_DECLARED.values(),
    *metrics.ASSET_DECLARED.values(),
    *metrics.CONTROL_DECLARED.values(),
    *metrics.NODE_COMMANDS,
    *metrics.CONTROL_COMMANDS,
)


@pytest.mark.parametrize("declaration", DECLARED, ids=lambda declaration: declaration.name)
def test_each_metric_is_described_with_its_type_unit_and_choices(declaration: MetricDeclaration) -> None:
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in TEXT.splitlines()
        if line.startswith(f"| `{declaration.name}` |")
    ]
    kind = declaration.type.name.lower().replace("_", "")
    matching = [row for row in rows if row[1].lower() == kind and row[2] == declaration.unit]
    assert matching, rows
    assert all(choice in matching[0][3] for choice in declaration.choices)


def test_nothing_is_described_that_is_not_declared() -> None:
    rows = re.findall(
        r"^\| `([^`]+)` \| (?:Double|Int64|Int32|UInt64|Boolean|String|DateTime|Bytes|StringArray|Int64Array) \|",
        TEXT,
        re.M,
    )
    assert len(rows) > 50
    assert set(rows) == {declaration.name for declaration in DECLARED}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.name)
def test_each_error_is_described(error: type[WireError]) -> None:
    assert f"| `{error.name}` |" in TEXT


def test_every_error_is_listed_once() -> None:
    assert set(ERRORS) == set(WireError.__subclasses__())
    assert len({error.name for error in ERRORS}) == len(ERRORS)


@pytest.mark.parametrize("kind", [*NODE_KINDS, *DEVICE_KINDS])
def test_each_topic_is_described(kind: str) -> None:
    assert f"spBv1.0/VPP-pp/{kind}/" in TEXT
