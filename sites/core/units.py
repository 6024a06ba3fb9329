"""Units and the one sign convention.

Power is positive **into the site's bus**: grid import +, PV +, battery discharge +, genset +;
load −, charging −, export −. Over a bus the sum is zero.

Names end in their unit. Books use exact integers: energy in uWh (micro-watt-hour), carbon in ug
(microgram CO2e), fuel in ul (microlitre).
"""

from __future__ import annotations

from typing import Final

UWH_PER_KWH: Final = 1_000_000_000
UG_PER_KG: Final = 1_000_000_000
UL_PER_LITRE: Final = 1_000_000
JOULE_PER_KWH: Final = 3_600_000.0
UWH_PER_JOULE: Final = UWH_PER_KWH / JOULE_PER_KWH


def uwh_from_joule(energy_j: float) -> int:
    """Return an energy register [J] as whole micro-watt-hours, rounded half to even.

    >>> uwh_from_joule(3_600_000.0)
    1000000000
    """
    return round(energy_j * UWH_PER_JOULE)


def kwh_from_uwh(energy_uwh: int) -> float:
    """Return micro-watt-hours as kWh, for people and reports; never to be booked back."""
    return energy_uwh / UWH_PER_KWH
