"""Sites behind a gateway of somebody else: its names, units and types, mapped to the contract's by rules.

A rule says which metric of which device becomes which of ours; nothing is guessed from a name. What no rule names
is told apart (``Unmapped``), for people to look at: it never becomes a value of the contract.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sites.core.readings import METER_CLASSES
from sites.wire.errors import AliasUnknown, MetricTypeMismatch, UnitMismatch, WireError
from sites.wire.judging import MetricValue, judged
from sites.wire.metrics import (
    MAPPED_REGISTERS,
    NAMEPLATE_NAMES,
    SYSTEM_METRICS,
    MetricDeclaration,
    MetricType,
    by_name,
    declared_on,
)
from sites.wire.payload import Metric, typed_value

MAX_RULES: Final = 500
MAX_TEXT: Final = 200
UNITS: Final[dict[str, tuple[str, float, float]]] = {
    "W": ("kW", 1e-3, 0.0), "kW": ("kW", 1.0, 0.0), "MW": ("kW", 1e3, 0.0),
    "Wh": ("kWh", 1e-3, 0.0), "kWh": ("kWh", 1.0, 0.0), "MWh": ("kWh", 1e3, 0.0),
    "Hz": ("Hz", 1.0, 0.0), "mHz": ("Hz", 1e-3, 0.0), "pu": ("pu", 1.0, 0.0),
    "%": ("1", 0.01, 0.0), "1": ("1", 1.0, 0.0),
    "Cel": ("Cel", 1.0, 0.0), "degC": ("Cel", 1.0, 0.0), "\N{DEGREE SIGN}C": ("Cel", 1.0, 0.0),
    "K": ("Cel", 1.0, -273.15), "s": ("s", 1.0, 0.0), "min": ("s", 60.0, 0.0), "h": ("s", 3600.0, 0.0),
}  # fmt: skip
"""Unit as gateways write it -> (ours, factor, offset added behind it)."""
UNIT_PROPERTIES: Final = ("engUnit", "Engineering Units", "unit")
RULE_FIELDS: Final = ("device", "metric", "asset", "as", "unit", "factor", "words", "meter_class")
REGISTERS: Final = by_name(MAPPED_REGISTERS)
SYSTEM_NAMES: Final = frozenset(declaration.name for declaration in SYSTEM_METRICS)
_NUMBERS: Final = frozenset(MetricType(index) for index in range(MetricType.INT8, MetricType.DOUBLE + 1))


class MapError(ValueError):
    """Rules that cannot be used; the message names the rule, the field and what is accepted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One metric of a gateway and what it becomes."""

    device: str
    """The gateway's device, "" for its node."""
    metric: str
    asset: str
    """The enrolled asset, "" for the site itself."""
    target: MetricDeclaration
    unit: str = ""
    """As the gateway writes it; "" takes the unit that its birth tells, else the target's."""
    factor: float = 1.0
    """-1 turns a sign; taken after the unit."""
    words: tuple[tuple[str, str], ...] = ()
    """Texts or whole numbers of the gateway and the text of ours for each."""
    meter_class: str = ""
    """Of a register: accuracy class of its meter, as the operator declares it; "" proves nothing."""


GatewayMap = Mapping[tuple[str, str], Rule]


class UnmappedMetric(NamedTuple):
    """A metric that no rule names, as it was seen."""

    device: str
    name: str
    type: str
    unit: str
    value: str
    """Cut; empty for null and in births without a value."""


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Metrics of a gateway that are not trusted because nobody mapped them."""

    site_id: str
    metrics: tuple[UnmappedMetric, ...]
    at_ms: int


class _Born(NamedTuple):
    name: str
    type: MetricType
    unit: str


@dataclass(slots=True)
class ForeignSite:
    """What a gateway's births taught: by device (None: its node) name, type and unit behind each alias."""

    by_alias: dict[str | None, dict[int, _Born]] = field(default_factory=dict)
    by_name: dict[str | None, dict[str, _Born]] = field(default_factory=dict)

    def learn(self, device: str | None, metrics: Sequence[Metric]) -> None:
        """Take up a birth."""
        aliases: dict[int, _Born] = {}
        names: dict[str, _Born] = {}
        for metric in metrics:
            if metric.name is None or metric.type is None:
                continue
            born = _Born(metric.name, metric.type, _unit_of(metric))
            names[metric.name] = born
            if metric.alias is not None:
                aliases[metric.alias] = born
        self.by_alias[device], self.by_name[device] = aliases, names

    def born(self, device: str | None, metric: Metric) -> _Born:
        """Return what a metric of a data message is; raise AliasUnknown before its birth."""
        found = (
            self.by_name.get(device, {}).get(metric.name)
            if metric.name is not None
            else self.by_alias.get(device, {}).get(metric.alias if metric.alias is not None else -1)
        )
        if found is None:
            raise AliasUnknown(f"metric {metric.name or metric.alias!r} of {device or 'the node'} was not born")
        return found


def rules_from(raw: object) -> GatewayMap:
    """Return the rules of a JSON list; raise MapError on the first field that is missing, unknown or wrong."""
    if not isinstance(raw, list) or len(raw) > MAX_RULES:
        raise MapError(f"rules are a {type(raw).__name__}, accepted: a list of up to {MAX_RULES} objects")
    rules: dict[tuple[str, str], Rule] = {}
    targets: set[tuple[str, str]] = set()
    for index, item in enumerate(raw):
        rule = _rule(item, f"rule number {index + 1}")
        if (rule.device, rule.metric) in rules:
            raise MapError(f"rule number {index + 1}: {rule.device}/{rule.metric} is mapped twice, accepted: once")
        if (rule.asset, rule.target.name) in targets:
            raise MapError(
                f"rule number {index + 1}: two metrics become {rule.asset}/{rule.target.name}, accepted: one"
            )
        targets.add((rule.asset, rule.target.name))
        rules[rule.device, rule.metric] = rule
    return rules


def translate(
    device: str | None,
    metrics: Sequence[Metric],
    known: ForeignSite,
    rules: GatewayMap,
    *,
    at_ms: int,
    latest_ms: int,
    refused: list[WireError],
) -> tuple[dict[str, dict[str, MetricValue]], tuple[UnmappedMetric, ...]]:
    """Return the accepted values by asset ("" for the site), and what no rule names; faulty ones go to ``refused``."""
    values: dict[str, dict[str, MetricValue]] = {}
    unmapped: list[UnmappedMetric] = []
    for metric in metrics:
        try:
            born = known.born(device, metric)
            if device is None and born.name in SYSTEM_NAMES:
                continue
            rule = rules.get((device or "", born.name))
            if rule is None:
                shown = "" if metric.value is None else _shown(metric.value)
                unmapped.append(UnmappedMetric(device or "", _shown(born.name), born.type.name, born.unit, shown))
                continue
            ours = Metric(rule.target.name, timestamp_ms=metric.timestamp_ms, is_historical=metric.is_historical)
            ours.type, ours.value = rule.target.type, _converted(rule, born, typed_value(metric, born.type))
            values.setdefault(rule.asset, {})[rule.target.name] = judged(
                ours, rule.target, at_ms=at_ms, latest_ms=latest_ms
            )
        except WireError as error:
            refused.append(error)
    return values, tuple(unmapped)


def _converted(rule: Rule, born: _Born, value: Any) -> Any:
    if value is None:
        return None
    where = f"{rule.device or 'node'}/{rule.metric}"
    if rule.words:
        found = dict(rule.words).get(str(value))
        if found is None:
            raise MetricTypeMismatch(f"{where} is {value!r:.60}, accepted: {', '.join(word for word, _ in rule.words)}")
        return {"true": True, "false": False}[found] if rule.target.type is MetricType.BOOLEAN else found
    if rule.target.type is MetricType.BOOLEAN:
        if not isinstance(value, bool):
            raise MetricTypeMismatch(f"{where} is a {born.type.name}, accepted: a Boolean, or words for it")
        return value
    if born.type not in _NUMBERS or rule.target.type not in _NUMBERS:
        raise MetricTypeMismatch(f"{where} is a {born.type.name}, accepted for {rule.target.name}: a number")
    if rule.unit and born.unit and _canonical(rule.unit) != _canonical(born.unit):
        raise UnitMismatch(f"{where} is born in {born.unit!r}, accepted by its rule: {rule.unit}")
    unit = rule.unit or born.unit or rule.target.unit
    ours, scale, offset = UNITS.get(unit, (unit, 1.0, 0.0))
    if ours != rule.target.unit:
        raise UnitMismatch(f"{where} is in {unit!r}, accepted: a unit of {rule.target.unit or 'a count'}")
    number = (float(value) * scale + offset) * rule.factor
    return number if rule.target.type is MetricType.DOUBLE or not math.isfinite(number) else round(number)


def _canonical(unit: str) -> tuple[str, float, float]:
    return UNITS.get(unit, (unit, 1.0, 0.0))


def _unit_of(metric: Metric) -> str:
    for name in UNIT_PROPERTIES:
        value = metric.properties.get(name)
        if isinstance(value, str) and value:
            return _shown(value)[:32]
    return ""


def _shown(value: object) -> str:
    """Return a value as people may see it: cut, without control characters."""
    text = value if isinstance(value, str) else repr(value[:MAX_TEXT] if isinstance(value, bytes | list) else value)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)[
        :MAX_TEXT
    ]


def _rule(raw: object, where: str) -> Rule:
    if not isinstance(raw, dict):
        raise MapError(f"{where} is a {type(raw).__name__}, accepted: an object")
    for key in raw:
        if key not in RULE_FIELDS:
            raise MapError(f"{where}: {key!r:.60} is not a field, accepted: {', '.join(RULE_FIELDS)}")
    texts = {name: raw.get(name, "") for name in ("device", "metric", "asset", "as", "unit")}
    for name, value in texts.items():
        if not isinstance(value, str) or len(value) > MAX_TEXT or (name in ("metric", "as") and not value):
            raise MapError(f"{where}: {name} is {value!r:.60}, accepted: a text of up to {MAX_TEXT} characters")
    target = declared_on(texts["asset"] or None).get(texts["as"])
    if texts["asset"]:
        target = REGISTERS.get(texts["as"], target)
    if target is None or "/" in target.name or target.name in NAMEPLATE_NAMES or target.name in SYSTEM_NAMES:
        # Numbered streams need numbers that only their own keeper can give; the nameplate is the registry's.
        raise MapError(f"{where}: as is {texts['as']!r:.60}, accepted: a live metric of docs/wire.md")
    factor = raw.get("factor", 1.0)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 1e-9 <= abs(factor) <= 1e9:
        raise MapError(f"{where}: factor is {factor!r:.60}, accepted: 1e-9 to 1e9, of either sign")
    unit = texts["unit"]
    if unit and UNITS.get(unit, ("", 0.0, 0.0))[0] != target.unit:
        accepted = ", ".join(name for name, (ours, _, _) in UNITS.items() if ours == target.unit) or "none"
        raise MapError(f"{where}: unit is {unit!r}, accepted for {target.name}: {accepted}")
    if target.name in REGISTERS and factor < 0:
        raise MapError(f"{where}: factor is {factor!r:.60}, accepted for a register: above 0; each way is its own")
    return Rule(
        texts["device"], texts["metric"], texts["asset"], target, unit, float(factor), _words(raw, target, where),
        _meter_class(raw, target, where),
    )  # fmt: skip


def _meter_class(raw: Mapping[str, Any], target: MetricDeclaration, where: str) -> str:
    value = raw.get("meter_class", "")
    if "meter_class" in raw and (target.name not in REGISTERS or value not in METER_CLASSES):
        accepted = f"{', '.join(METER_CLASSES)}, of {' or '.join(REGISTERS)}"
        raise MapError(f"{where}: meter_class is {value!r:.60}, accepted: {accepted}")
    return str(value)


def _words(raw: Mapping[str, Any], target: MetricDeclaration, where: str) -> tuple[tuple[str, str], ...]:
    words = raw.get("words", {})
    accepted = ("true", "false") if target.type is MetricType.BOOLEAN else target.choices
    if not isinstance(words, dict) or not all(isinstance(word, str) and word in accepted for word in words.values()):
        raise MapError(f"{where}: words is {words!r:.60}, accepted: an object whose values are {', '.join(accepted)}")
    if target.type is MetricType.STRING and not words:
        raise MapError(f"{where}: words is missing, accepted: a word of {target.name} for each of the gateway's")
    return tuple(sorted(words.items()))
