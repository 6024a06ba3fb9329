"""What a birth taught the host: names, types and ranges behind aliases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from sites.wire.errors import AliasUnknown, MetricUnknown, PayloadMalformed, WireError
from sites.wire.judging import MetricValue, judged
from sites.wire.metrics import Declarations, MetricDeclaration
from sites.wire.payload import Metric
from sites.wire.plain import PlainReader


@dataclass(eq=False, slots=True, weakref_slot=True)
class BirthTable:
    """One birth's metrics. Equal births share one table, so that 10,000 sites of few kinds cost little."""

    by_alias: Mapping[int, MetricDeclaration | None]
    """None: born under a name that the contract does not have."""
    by_name: Declarations
    plain: PlainReader = field(init=False)
    """Reads messages that keep to this birth in every respect."""

    def __post_init__(self) -> None:
        self.plain = PlainReader(self.by_alias)


class BirthTables:
    """The tables in use, each once."""

    def __init__(self) -> None:
        self._tables: WeakValueDictionary[tuple[object, ...], BirthTable] = WeakValueDictionary()

    def of_birth(self, metrics: Sequence[Metric], declared: Declarations) -> BirthTable:
        """Return the table of a birth's metrics."""
        key = (id(declared), *((metric.name, metric.alias) for metric in metrics))
        table = self._tables.get(key)
        if table is None:
            by_alias: dict[int, MetricDeclaration | None] = {}
            names: Declarations = {}
            for metric in metrics:
                declaration = declared.get(metric.name) if metric.name is not None else None
                if metric.alias is not None:
                    if metric.alias in by_alias:
                        raise PayloadMalformed(f"alias {metric.alias} is born twice")
                    by_alias[metric.alias] = declaration
                if declaration is not None:
                    names[declaration.name] = declaration
            table = BirthTable(by_alias, names)
            self._tables[key] = table
        return table

    def __len__(self) -> int:
        return len(self._tables)


def resolve(
    metrics: Sequence[Metric],
    table: BirthTable | None,
    streams: Declarations,
    *,
    at_ms: int,
    latest_ms: int,
    refused: list[WireError],
) -> dict[str, MetricValue]:
    """Return the accepted values of a data message by name; errors of the others are put into ``refused``.

    ``table`` None is a site without a (trusted) birth: only metrics of numbered streams, by name,
    are taken. ``latest_ms`` is the latest instant accepted.
    """
    values: dict[str, MetricValue] = {}
    by_alias = table.by_alias if table is not None else {}
    for metric in metrics:
        try:
            declaration = by_alias.get(metric.alias) if metric.alias is not None else None
            if declaration is None:
                declaration = _declaration_of(metric, table, streams)
            values[declaration.name] = judged(metric, declaration, at_ms=at_ms, latest_ms=latest_ms)
        except WireError as error:
            refused.append(error)
    return values


def _declaration_of(metric: Metric, table: BirthTable | None, streams: Declarations) -> MetricDeclaration:
    """Return the declaration of a metric that no known alias names."""
    if metric.name is None:
        if table is None:
            raise AliasUnknown(f"alias {metric.alias} came before a birth")
        if metric.alias in table.by_alias:
            raise MetricUnknown(f"alias {metric.alias} was born under a name that is not declared")
        raise AliasUnknown(f"alias {metric.alias} is not in the birth")
    declaration = streams.get(metric.name) or (table.by_name.get(metric.name) if table is not None else None)
    if declaration is None:
        where = "in the birth or the streams" if table is not None else "among the streams, and no birth came before"
        raise MetricUnknown(f"metric {metric.name!r} is not {where}")
    return declaration
