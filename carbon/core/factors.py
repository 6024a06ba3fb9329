"""Emission factors: typed in with source, zone, resolution, vintage, licence; a missing one is an error.

Kilograms per kWh equal micrograms per micro-watt-hour, so a factor multiplies whole uWh directly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from sites.core.units import UG_PER_KG, UL_PER_LITRE


class FactorMissing(LookupError):
    """No factor is known for what was asked; it never counts as zero."""


class FactorVintageOlder(LookupError):
    """The newest factor is older than the activity, and the caller did not say that this is accepted."""


class Activity(StrEnum):
    """What a factor is multiplied with."""

    GRID_ELECTRICITY = "grid_electricity"
    """kg CO2e per kWh taken from the public grid: Scope 2, location-based."""
    DIESEL = "diesel"
    """kg CO2e per litre burnt on site: Scope 1."""


@dataclass(frozen=True, slots=True)
class EmissionFactor:
    """One published figure with all that an auditor asks about it."""

    factor_id: str
    activity: Activity
    scope: int
    """GHG Protocol scope, 1 or 2."""
    zone: str
    """Grid zone or jurisdiction, such as ``GB``."""
    resolution: str
    """Time resolution of the figure, such as ``year``."""
    value: Decimal
    """kg CO2e per unit [kg/kWh or kg/l], exactly as published."""
    unit: str
    gwp_set: str
    """Global warming potentials behind CO2e."""
    vintage: int
    """Year of activity that the publisher made it for."""
    source: str
    licence: str
    certainty: str
    """V verified in the publisher's file, S second-hand."""

    @property
    def ratio(self) -> Fraction:
        """The exact factor [ug per uWh for energy, ug per ul for fuel]."""
        scale = Fraction(1) if self.unit == "kg/kWh" else Fraction(UG_PER_KG, UL_PER_LITRE)
        return Fraction(self.value) * scale

    def carbon_ug(self, amount: int) -> int:
        """Return the carbon [ug CO2e] of an amount [uWh or ul], rounded half to even once.

        Raises ValueError for a negative amount: export never is negative carbon.
        """
        if amount < 0:
            raise ValueError(f"amount for factor {self.factor_id} is {amount}, accepted: 0 or more")
        return round(amount * self.ratio)


_DESNZ_2023: Final = "UK DESNZ/Defra, GHG conversion factors for company reporting 2023, flat file v1.1"
_OGL: Final = "Open Government Licence v3.0"
_MEE: Final = "China MEE and NBS, CO2 emission factors of electricity 2023"


def _desnz_2023(name: str, activity: Activity, value: str, row: str) -> EmissionFactor:
    electric = activity is Activity.GRID_ELECTRICITY
    return EmissionFactor(
        factor_id=f"desnz-2023-{name}",
        activity=activity,
        scope=2 if electric else 1,
        zone="GB",
        resolution="year",
        value=Decimal(value),
        unit="kg/kWh" if electric else "kg/l",
        gwp_set="AR5 GWP-100",
        vintage=2023,
        source=f"{_DESNZ_2023}, row {row}",
        licence=_OGL,
        certainty="V",
    )


def _mee_2023(zone: str, value: str) -> EmissionFactor:
    # The publisher's factor counts CO2 alone; grid CH4 and N2O are not in it.
    return EmissionFactor(
        factor_id=f"mee-2023-{zone.lower()}",
        activity=Activity.GRID_ELECTRICITY,
        scope=2,
        zone=zone,
        resolution="year",
        value=Decimal(value),
        unit="kg/kWh",
        gwp_set="CO2 only",
        vintage=2023,
        source=f"{_MEE}, {zone}",
        licence="public notice",
        certainty="V",
    )


DIESEL_MINERAL_2023: Final = _desnz_2023("diesel-mineral", Activity.DIESEL, "2.65937", "1_101_1012_8_1")
"""100 % mineral diesel; the default, as a biofuel share would need evidence of delivery."""
DIESEL_BLEND_2023: Final = _desnz_2023("diesel-blend", Activity.DIESEL, "2.51206", "1_101_1011_8_1")
GAS_OIL_2023: Final = _desnz_2023("gas-oil", Activity.DIESEL, "2.75541", "1_101_1014_8_1")
GRID_GB_2023: Final = _desnz_2023("electricity-uk", Activity.GRID_ELECTRICITY, "0.20707", "7_400_4000_5_1")
DIESEL_MINERAL_2025: Final = EmissionFactor(
    factor_id="desnz-2025-diesel-mineral",
    activity=Activity.DIESEL,
    scope=1,
    zone="GB",
    resolution="year",
    value=Decimal("2.66155"),
    unit="kg/l",
    gwp_set="AR5 GWP-100",
    vintage=2025,
    source="UK DESNZ/Defra, GHG conversion factors for company reporting 2025, as cited second-hand",
    licence=_OGL,
    certainty="S",
)

PUBLISHED: Final = (
    GRID_GB_2023,
    DIESEL_MINERAL_2023,
    _mee_2023("CN", "0.5306"),
    _mee_2023("CN-BJ", "0.5554"),
    _mee_2023("CN-SH", "0.5737"),
    _mee_2023("CN-NM", "0.6479"),
)
"""The figures that books are kept with: verified ones only, one per activity, zone and vintage."""


@dataclass(frozen=True, slots=True)
class ChosenFactor:
    """A factor for one year of activity, with the note an older vintage must carry."""

    factor: EmissionFactor
    vintage_note: str
    """Empty when the vintage is the activity's year."""

    def facts(self) -> dict[str, str | int]:
        """Return what an entry says about the factor it was booked with."""
        facts: dict[str, str | int] = {
            "factor_id": self.factor.factor_id,
            "factor_resolution": self.factor.resolution,
            "factor_source": self.factor.source,
            "factor_unit": self.factor.unit,
            "factor_value": str(self.factor.value),
            "factor_vintage": self.factor.vintage,
            "factor_zone": self.factor.zone,
        }
        if self.vintage_note:
            facts["factor_vintage_note"] = self.vintage_note
        return facts


def choose_factor(
    activity: Activity,
    zone: str,
    year: int,
    *,
    allow_older_vintage: bool,
    factors: Iterable[EmissionFactor] = PUBLISHED,
) -> ChosenFactor:
    """Return the factor of a zone for a year of activity.

    The vintage of the year itself wins; without it the newest older one, when the caller allows it.
    A later vintage is never taken. Raises FactorMissing or FactorVintageOlder, never returns zero.
    """
    known = list(factors)
    fitting = [
        factor for factor in known if factor.activity is activity and factor.zone == zone and factor.vintage <= year
    ]
    if not fitting:
        zones = sorted({factor.zone for factor in known if factor.activity is activity})
        raise FactorMissing(f"no {activity} factor for zone {zone} in {year}, accepted zones: {', '.join(zones)}")
    factor = max(fitting, key=lambda candidate: candidate.vintage)
    if factor.vintage == year:
        return ChosenFactor(factor, "")
    if not allow_older_vintage:
        raise FactorVintageOlder(
            f"newest {activity} factor for {zone} is of {factor.vintage}, the activity of {year}; "
            "accepted: a factor of that year, or an older vintage where it is allowed by name"
        )
    return ChosenFactor(factor, f"vintage {factor.vintage} used for activity of {year}")
