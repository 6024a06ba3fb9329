"""A program as it is set up: what was agreed with an operator, before there is a row for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from markets.core.baselines.meter import BaselineError
from markets.core.events import DEFAULT_OPERATOR
from markets.core.product import Kind, ProductError
from markets.core.products import product_named
from markets.core.settled_against import require_baseline_method
from sites.core.curves import Direction


class ProgramInvalid(ValueError):
    """A declared program that cannot be set up; the message names the key and what is accepted."""


@dataclass(frozen=True, slots=True)
class ProgramSeed:
    """One program to set up; checked by ``program_seed`` when it comes from outside."""

    name: str
    market_context: str
    """2.0b's market context, OpenADR 3's programName."""
    allows_part: bool = False
    product: str = ""
    """Row of the catalogue; empty: the program is named as its product."""
    operator: str = DEFAULT_OPERATOR
    signal_name: str = ""
    """2.0b's signal name, OpenADR 3's payload type such as ``DISPATCH_SETPOINT``; empty: ``LOAD_DISPATCH``, for a
    capacity limit OpenADR 3's payload type."""
    signal_type: str = ""
    """Empty: ``delta``, for a capacity limit ``limit``."""
    signal_sign: int = 0
    """Service [kW] = sign x payload; 0: -1 for an upward product, +1 for a downward one and for a limit's size."""
    unit_kw: float = 1.0
    """What one unit of a payload without its own unit means [kW]."""
    min_power_kw: float = 1.0
    min_notice_s: float = 2.0
    sign_note: str = ""
    """The sign convention in words; empty: the one of LOAD_DISPATCH."""
    is_emergency: bool = False
    """Its events go before economic ones."""
    baseline_method: str = ""
    """Of ``markets.core.baselines``, for an instruction product that is paid against one; empty: the declared power."""

    @property
    def product_name(self) -> str:
        """Row of the catalogue."""
        return self.product or self.name

    @property
    def sign(self) -> int:
        """The sign in force."""
        product = product_named(self.product_name)
        is_upward = product.direction is Direction.LOW and product.kind is not Kind.LIMIT
        return self.signal_sign or (-1 if is_upward else 1)


_LIMITS = {"unit_kw": (1e-6, 1e9), "min_power_kw": (1e-3, 1e9), "min_notice_s": (0.0, 86_400.0)}
_MOST_CHARACTERS = {"name": 64, "market_context": 255, "signal_name": 64, "signal_type": 32, "sign_note": 255}


def program_seed(table: Mapping[str, Any], operator: str) -> ProgramSeed:
    """Read a declared program; raises ProgramInvalid."""
    accepted = {one.name: str(one.type) for one in fields(ProgramSeed) if one.name != "operator"}
    for key, value in table.items():
        if key not in accepted:
            raise ProgramInvalid(f"{key} is no key, accepted: {', '.join(sorted(accepted))}")
        _check(key, value, accepted[key])
    for key in ("name", "market_context", "sign_note"):
        if not table.get(key):
            raise ProgramInvalid(f"{key} is missing, accepted: a text")
    if table.get("signal_sign") not in (-1, 1):
        raise ProgramInvalid(
            f"signal_sign is {table.get('signal_sign')!r}, accepted: -1 or 1 (service = sign x payload)"
        )
    seed = ProgramSeed(**{**table, "operator": operator})
    try:
        product_named(seed.product_name)
    except ProductError as error:
        raise ProgramInvalid(f"product: {error}") from None
    try:
        require_baseline_method(seed.baseline_method, product_named(seed.product_name))
    except BaselineError as error:
        raise ProgramInvalid(f"baseline_method: {error}") from None
    return seed


def _check(key: str, value: object, kind: str) -> None:
    if kind == "bool":
        if not isinstance(value, bool):
            raise ProgramInvalid(f"{key} is {value!r}, accepted: true or false")
    elif kind == "str":
        most = _MOST_CHARACTERS.get(key, 64)
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            raise ProgramInvalid(f"{key} is {str(value)[:40]!r}, accepted: a text of up to {most} characters")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ProgramInvalid(f"{key} is {value!r}, accepted: a number")
    elif key in _LIMITS and not _LIMITS[key][0] <= value <= _LIMITS[key][1]:
        low, high = _LIMITS[key]
        raise ProgramInvalid(f"{key} is {value:g}, accepted: {low:g} to {high:g}")
