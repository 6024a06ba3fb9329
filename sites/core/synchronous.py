"""Which grid zones turn with one frequency."""

from __future__ import annotations

import re
from typing import Final

_AREAS: Final = {
    "great-britain": ("GB",),
    "ireland": ("IE", "NI"),
    "nordic": ("NO", "SE", "FI", "DK2"),
    "continental-europe": (
        "AL", "AT", "BA", "BE", "BG", "CH", "CZ", "DE", "DK1", "EE", "ES", "FR", "GR", "HR", "HU", "IT", "LT", "LU",
        "LV", "ME", "MK", "NL", "PL", "PT", "RO", "RS", "SI", "SK", "TR", "UA",
    ),
}  # fmt: skip
"""ENTSO-E's regional groups; the Baltic states turn with Continental Europe since February 2025."""
_BY_ZONE: Final = {zone: area for area, zones in _AREAS.items() for zone in zones}


def synchronous_area(grid_zone: str) -> str:
    """Return the synchronous area of a grid zone such as ``SE3`` or ``GB-NIR``; an unknown zone is its own area."""
    if grid_zone.startswith("GB-NI"):
        return "ireland"
    whole = re.split(r"[-_ ]", grid_zone, maxsplit=1)[0]
    return _BY_ZONE.get(whole) or _BY_ZONE.get(whole.rstrip("0123456789")) or grid_zone
