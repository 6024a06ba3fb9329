"""Contactors beside the power path: tiers of the load, neutral-earth bond. They move between two 10 ms rows."""

from __future__ import annotations

from typing import Final

from sites.edge.control.kernels.compiled import Record, kernel

FREE: Final = -1
"""The bond's contact follows its order; 0 or 1: it is held there, welded or broken."""


@kernel
def move_contactors(g: Record, p: Record, c: Record, m: Record) -> None:
    """Take what was ordered a row ago: contactors need 10 to 20 ms."""
    p["tier_share"] = g["tier_shares"][p["tiers_ordered"]]
    p["tiers_ordered"] = c["tiers_closed"]
    m["neutral_earth_closed"] = p["bond_ordered"] if p["bond_held"] == FREE else p["bond_held"]
    p["bond_ordered"] = c["bond_command"]
