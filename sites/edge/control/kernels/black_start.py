"""Black start: the converter raises the voltage of a dead bus."""

from __future__ import annotations

from typing import Any, Final

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.modes import change_mode

BUS_UP_MS: Final = 500
"""How long the bus may take to show the voltage that the converter gives it."""


@kernel
def supervise_black_start(k: Record, c: Record, table: Any) -> None:
    """Soft start of the voltage; called once per millisecond."""
    c["required_pu"] = 0.0
    c["level_e"] = min(1.0, c["level_e"] + 1.0 / k["black_start_ms"])
    if c["level_e"] >= 1.0:
        if c["voltage_pu"] > 0.9:
            change_mode(k, c, table, modes.BUS_UP)
        elif c["mode_ticks"] > (k["black_start_ms"] + BUS_UP_MS) * k["ticks_per_ms"]:
            change_mode(k, c, table, modes.BUS_FAULT)
