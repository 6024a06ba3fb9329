"""What one settlement run says otherwise than the one before: lines, terms, assets, and which rows were revised.

Both runs come as the facts of their fleet entries, so that a difference is as fixed as the two entries.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from markets.core.lines import amounts_by_site, lines_of
from markets.core.settlement import in_form_of

PINS: Final = ("records", "intervals")
"""Which rows a share was computed from: chunks of the high-rate record, and numbered intervals."""
NO_FIGURES: Final = frozenset({*PINS, "site_id", "weight"})
NOUGHT: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class LineChange:
    """One line in both runs; None where a run has no such line."""

    name: str
    unit: str
    quantity_before: Decimal | None
    quantity_now: Decimal | None
    amount_before: Decimal
    amount_now: Decimal

    @property
    def difference(self) -> Decimal:
        """What the line changed the run's amount by."""
        return self.amount_now - self.amount_before

    @property
    def is_changed(self) -> bool:
        """Tell whether the two runs say something else of it."""
        return self.difference != 0 or self.quantity_before != self.quantity_now


@dataclass(frozen=True, slots=True)
class FigureChange:
    """One figure that differs, as it was booked; None where a run does not tell it."""

    name: str
    before: Any
    now: Any


@dataclass(frozen=True, slots=True)
class RowChange:
    """Consecutive numbered rows of one site that the later run took in another revision, anew, or not any more."""

    kind: str
    """``records`` or ``intervals``."""
    first: int
    last: int
    revision_before: int | None
    """None: the run before had no such row."""
    revision_now: int | None


@dataclass(frozen=True, slots=True)
class AssetChange:
    """One asset whose figures, money or rows differ."""

    site_id: str
    amount_before: Decimal
    amount_now: Decimal
    figures: tuple[FigureChange, ...]
    rows: tuple[RowChange, ...]

    @property
    def difference(self) -> Decimal:
        """What the asset gets more, or less, than by the run before."""
        return self.amount_now - self.amount_before


@dataclass(frozen=True, slots=True)
class RunDifference:
    """All of it. The lines' differences add up to the amount's, and so do the assets'."""

    amount_before: Decimal
    amount_now: Decimal
    lines: tuple[LineChange, ...]
    """Every line of either run, changed or not."""
    terms: tuple[FigureChange, ...]
    fleet: tuple[FigureChange, ...]
    assets: tuple[AssetChange, ...]
    """By site; those for which anything differs."""

    @property
    def difference(self) -> Decimal:
        """What the run changed."""
        return self.amount_now - self.amount_before


def run_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> RunDifference:
    """Return what a run changed against the one before, from the facts of both fleet entries."""
    return RunDifference(
        amount_before=Decimal(before["amount"]),
        amount_now=Decimal(now["amount"]),
        lines=tuple(_lines(before, now)),
        terms=tuple(_figures(before["terms"] | _prices(before), now["terms"] | _prices(now), {"run"})),
        fleet=tuple(_figures(before["fleet"], now["fleet"], frozenset())),
        assets=tuple(_assets(before, now)),
    )


def _lines(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[LineChange]:
    old = {line.name: line for line in lines_of(before)}
    new = {line.name: line for line in lines_of(now)}
    for name in [*new, *(name for name in old if name not in new)]:
        was, is_ = old.get(name), new.get(name)
        yield LineChange(
            name=name,
            unit=(is_ or was).unit,  # type: ignore[union-attr]  # one of the two is there
            quantity_before=was.quantity if was else None,
            quantity_now=is_.quantity if is_ else None,
            amount_before=was.amount if was else NOUGHT,
            amount_now=is_.amount if is_ else NOUGHT,
        )


def _figures(before: Mapping[str, Any], now: Mapping[str, Any], left_out: Iterable[str]) -> Iterable[FigureChange]:
    old, new = _flat(before), _flat(now)
    names = [name for name in dict.fromkeys([*new, *old]) if name not in left_out]
    return [FigureChange(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures with those of an object within as ``object.figure``."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        within = value if isinstance(value, Mapping) else None
        flat |= {name: value} if within is None else {f"{name}.{inner}": part for inner, part in within.items()}
    return flat


def _prices(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return prices from outside by name and the instant from which each holds."""
    return {f"price {row['name']} from {row['starts_at']}": row["value"] for row in facts.get("prices", ())}


def _assets(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[AssetChange]:
    old = {share["site_id"]: share for share in before["shares"]}
    new = {share["site_id"]: in_form_of(old.get(share["site_id"], {}), share) for share in now["shares"]}
    was = amounts_by_site(before)
    is_ = amounts_by_site(now)
    for site_id in sorted({*old, *new}):
        change = AssetChange(
            site_id=site_id,
            amount_before=was.get(site_id, NOUGHT),
            amount_now=is_.get(site_id, NOUGHT),
            figures=tuple(_figures(old.get(site_id, {}), new.get(site_id, {}), NO_FIGURES)),
            rows=tuple(
                row for kind in PINS for row in row_changes(kind, _pins(old, site_id, kind), _pins(new, site_id, kind))
            ),
        )
        if change.difference or change.figures or change.rows:
            yield change


def _pins(shares: Mapping[str, Mapping[str, Any]], site_id: str, kind: str) -> Iterable[tuple[int, int, int]]:
    return [(first, last, revision) for first, last, revision in shares.get(site_id, {}).get(kind, ())]


def row_changes(
    kind: str, before: Iterable[tuple[int, int, int]], now: Iterable[tuple[int, int, int]]
) -> list[RowChange]:
    """Return the rows whose revision differs, as spans by number.

    Spans are (first number, last number, revision), without overlap, as an entry pins them.

    >>> row_changes("intervals", [(1, 6, 1)], [(1, 2, 1), (3, 4, 2), (5, 7, 1)])
    [RowChange(kind='intervals', first=3, last=4, revision_before=1, revision_now=2), \
RowChange(kind='intervals', first=7, last=7, revision_before=None, revision_now=1)]
    """
    old, new = list(before), list(now)
    # Between two neighboring edges nothing changes: so that a day of rows costs its spans, not its rows.
    edges = sorted({edge for first, last, _ in (*old, *new) for edge in (first, last + 1)})
    changes: list[RowChange] = []
    for first, end in itertools.pairwise(edges):
        was, is_ = _revision(old, first), _revision(new, first)
        if was == is_:
            continue
        if (
            changes
            and changes[-1].last + 1 == first
            and (changes[-1].revision_before, changes[-1].revision_now)
            == (
                was,
                is_,
            )
        ):
            first = changes.pop().first
        changes.append(RowChange(kind, first, end - 1, was, is_))
    return changes


def _revision(spans: Iterable[tuple[int, int, int]], number: int) -> int | None:
    return next((revision for first, last, revision in spans if first <= number <= last), None)
