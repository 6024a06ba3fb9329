"""docs/markets.md has the catalogue as it is: each row, each rule of scoring."""

from __future__ import annotations

from pathlib import Path

from markets.core.product import Product
from markets.core.products import ROWS
from markets.core.scores.registry import DELIVERY_RULES, SIGNAL_RULES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "markets.md"


def length(seconds: float) -> str:
    if seconds < 60.0:
        return f"{seconds:g} s"
    return f"{seconds / 60.0:g} min" if seconds < 7200.0 else f"{seconds / 3600.0:g} h"


def a_line(row: Product) -> str:
    rate = f"{row.data.rate_hz:g} Hz" if row.data.rate_hz >= 1.0 else f"every {length(1.0 / row.data.rate_hz)}"
    since, until = row.effective_from or "", row.effective_to or ""
    cells = (
        f"`{row.name}`",
        f"{row.kind.value}, {row.direction.value}",
        length(row.full_within_s),
        length(row.sustain_s),
        rate,
        f"`{row.score.name}`",
        f"{row.currency}, {length(row.price.settlement_period_s)}",
        f"{row.size.power_kw:g} kW",
        " ".join(rule.certainty.value for rule in row.groups.values()),
        f"{since} – {until}" if since or until else "–",
    )
    return f"| {' | '.join(cells)} |"


def test_the_table_is_the_catalogue():
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| `") and line.count("|") == 11]
    wanted = [a_line(row) for row in ROWS]
    assert shown == wanted, "the table as it should be:\n" + "\n".join(wanted)


def test_every_rule_is_told():
    text = PAGE.read_text()
    for name in (*DELIVERY_RULES, *SIGNAL_RULES):
        assert f"| `{name}` |" in text, name
