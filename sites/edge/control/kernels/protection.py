"""Protection of the island and the lockout: what wins over everything else."""

from __future__ import annotations

from typing import Any

from sites.edge.control.kernels import modes
from sites.edge.control.kernels.compiled import Record, kernel
from sites.edge.control.kernels.modes import change_mode


@kernel
def supervise_lockout(k: Record, c: Record, table: Any) -> None:
    """Locked out: only a request leads out. Called once per millisecond."""
    c["required_pu"] = 0.0
    if c["request"] == modes.START_REQUESTED:
        change_mode(k, c, table, modes.START_REQUESTED)
