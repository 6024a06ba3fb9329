"""The baseline methods by name. A further method is one file beside these and one line here."""

from __future__ import annotations

from typing import Final

from markets.core.baselines import (
    declared_schedule,
    drop_to,
    five_in_ten,
    generator_output,
    high_four_of_five,
    meter_before_after,
    miso_default,
    ten_in_ten,
)
from markets.core.baselines.meter import BaselineError
from markets.core.baselines.method import Method

METHODS: Final[tuple[Method, ...]] = (
    meter_before_after.METHOD,
    declared_schedule.METHOD,
    ten_in_ten.METHOD,
    five_in_ten.METHOD,
    high_four_of_five.METHOD,
    miso_default.METHOD,
    drop_to.METHOD,
    generator_output.METHOD,
)
DEFAULT: Final = meter_before_after.METHOD

_BY_NAME: Final[dict[str, Method]] = {
    name: method for method in METHODS for name in (method.rule.name, *method.rule.aliases)
}


def method_named(name: str) -> Method:
    """Return a method by its name or an alias, in any case, ``_`` for ``-``; raise BaselineError naming all of them."""
    try:
        return _BY_NAME[name.strip().lower().replace("_", "-")]
    except KeyError:
        known = ", ".join(
            f"{method.rule.name} ({', '.join(method.rule.aliases)})" if method.rule.aliases else method.rule.name
            for method in METHODS
        )
        raise BaselineError(f"baseline method {name!r} is not known, accepted: {known}") from None
