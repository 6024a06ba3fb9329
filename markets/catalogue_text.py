"""The catalogue for people and machines: a table, one product's lines, JSON."""

from __future__ import annotations

from typing import Any

from markets.core.products import Product


def as_table(rows: list[Product]) -> str:
    """Return one line a row: name, kind, in force, certainty of each group, title."""
    groups = list(rows[0].groups) if rows else []
    head = (
        f"{'name':<22} {'kind':<11} {'from':<10} {'to':<10} " + " ".join(f"{group:<8}" for group in groups) + " title"
    )
    lines = [
        f"{row.name:<22} {row.kind.value:<11} {row.effective_from or '-'!s:<10} {row.effective_to or '-'!s:<10} "
        + " ".join(f"{rule.certainty.value:<8}" for rule in row.groups.values())
        + f" {row.title}"
        for row in rows
    ]
    legend = "V read in a primary or cited page, M from memory or second-hand, U unsure; nothing M or U is settled live"
    return "\n".join((head, *lines, "", legend))


def as_lines(row: Product) -> str:
    """Return one product in words."""
    until = f" until {row.effective_to}" if row.effective_to else ""
    since = f"from {row.effective_from}" if row.effective_from else "from a day that is not known"
    lines = [
        f"{row.name}: {row.title}",
        f"  kind        {row.kind.value}, {row.direction.value}, "
        f"{f'{row.nominal_hz:g} Hz' if row.nominal_hz else '50 or 60 Hz'}, in force {since}{until}",
    ]
    for name, rule in row.groups.items():
        lines.append(f"  {name:<11} {rule.text}")
        lines.append(f"  {'':<11} [{rule.certainty.value}: {rule.certainty.in_words}] {rule.source}")
    lines += [
        f"  gaps        {row.data.missing}",
        f"  source      {row.source}",
        f"  certainty   {row.certainty.value} as a whole; "
        + ("read in the primary document" if row.is_primary else "the primary document was not read at its source")
        + ("" if row.is_settled_live else "; live settlement refused"),
    ]
    return "\n".join(lines)


def as_json(row: Product) -> dict[str, Any]:
    """Return a row as JSON values."""
    return {
        "name": row.name,
        "title": row.title,
        "kind": row.kind.value,
        "direction": row.direction.value,
        "nominal_hz": row.nominal_hz,
        "curve": [list(point) for point in row.curve.points] if row.curve_name else None,
        "signal_period_s": row.signal_period_s,
        "full_within_s": row.full_within_s,
        "sustain_s": row.sustain_s,
        "data_rate_hz": row.data.rate_hz,
        "missing_data": row.data.missing,
        "score_rule": row.score.name,
        "currency": row.currency,
        "settlement_period_s": row.price.settlement_period_s,
        "minimum_kw": row.size.power_kw,
        "effective_from": row.effective_from.isoformat() if row.effective_from else None,
        "effective_to": row.effective_to.isoformat() if row.effective_to else None,
        "certainty": row.certainty.value,
        "is_primary": row.is_primary,
        "settled_live": row.is_settled_live,
        "source": row.source,
        "groups": {
            name: {"text": rule.text, "certainty": rule.certainty.value, "source": rule.source}
            for name, rule in row.groups.items()
        },
    }
