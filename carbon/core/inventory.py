"""Stored carbon: one weighted-average pool per purpose; carbon is conserved, losses raise its intensity.

Whole uWh, ug and Fractions only: pool times flow on a 2 MWh battery is 2.5e23, past 64 bits, which
Python's integers hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final


class PoolOverdrawn(ValueError):
    """More was discharged than the pool holds by its own inventory."""


@dataclass(frozen=True, slots=True)
class Efficiency:
    """One-way efficiencies between the metered AC terminals and the stored energy."""

    charge: Fraction
    discharge: Fraction

    def __post_init__(self) -> None:
        for name, value in (("charge", self.charge), ("discharge", self.discharge)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} efficiency is {value}, accepted: more than 0, at most 1")


METHOD_EFFICIENCY: Final = Efficiency(charge=Fraction(96, 100), discharge=Fraction(95, 100))
"""The method's declared values for a lithium-ion battery with converter, 0.912 for a round trip."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What a purpose has in store."""

    energy_uwh: int = 0
    """Stored (DC) energy [uWh, >= 0]."""
    carbon_ug: int = 0
    """Carbon that entered with it and has not left [ug CO2e, >= 0]."""
    green_uwh: int = 0
    """Part of the energy of green origin [uWh, 0 to energy_uwh]."""

    def __post_init__(self) -> None:
        if self.energy_uwh < 0 or self.carbon_ug < 0 or not 0 <= self.green_uwh <= self.energy_uwh:
            raise ValueError(f"pool is {self.as_facts()}, accepted: nothing negative, green within energy")

    def as_facts(self) -> dict[str, int]:
        """Return the three balances for an entry."""
        return {"carbon_ug": self.carbon_ug, "energy_uwh": self.energy_uwh, "green_uwh": self.green_uwh}


@dataclass(frozen=True, slots=True)
class Discharge:
    """What left a pool with a discharge, and what stays."""

    pool: Pool
    carbon_ug: int
    green_uwh: int
    """Green energy at the AC terminals [uWh]."""


def rounded_quotient(numerator: int, denominator: int) -> int:
    """Return a quotient of whole numbers, rounded half to even; exact at any size (denominator > 0).

    As ``round(Fraction(…))``, without the gcd of every fraction.

    >>> rounded_quotient(5, 2), rounded_quotient(7, 2), rounded_quotient(-5, 2)
    (2, 4, -2)
    """
    whole, rest = divmod(numerator, denominator)
    double = 2 * rest
    return whole + (double > denominator or (double == denominator and whole % 2 == 1))


def rounded_product(amount: int, ratio: Fraction) -> int:
    """Return a whole amount times an exact ratio, rounded half to even."""
    return rounded_quotient(amount * ratio.numerator, ratio.denominator)


def stored_for(ac_uwh: int, efficiency: Efficiency) -> int:
    """Return the stored energy [uWh] that a discharge at the terminals takes, rounded half to even."""
    return rounded_quotient(ac_uwh * efficiency.discharge.denominator, efficiency.discharge.numerator)


def discharge_pool(pool: Pool, ac_uwh: int, efficiency: Efficiency) -> Discharge:
    """Take a discharge [uWh at the AC terminals] from a pool at its average intensity.

    The intensity is ``M / (E * eta_d)`` on the opening stock. A pool emptied to its last uWh gives up
    all its carbon. Raises PoolOverdrawn when the stock does not suffice.
    """
    taken = stored_for(ac_uwh, efficiency)
    if taken > pool.energy_uwh:
        raise PoolOverdrawn(f"discharge takes {taken} uWh, the pool holds {pool.energy_uwh} uWh")
    if taken == 0:
        return Discharge(pool, 0, 0)
    carbon = rounded_quotient(pool.carbon_ug * taken, pool.energy_uwh)
    green = rounded_quotient(pool.green_uwh * taken, pool.energy_uwh)
    left = pool.energy_uwh - taken
    # Rounding may leave green above energy by 1 uWh when a pool is all green.
    kept = Pool(left, pool.carbon_ug - carbon, min(left, pool.green_uwh - green))
    return Discharge(kept, carbon, min(ac_uwh, rounded_product(green, efficiency.discharge)))


def charge_pool(pool: Pool, ac_uwh: int, carbon_ug: int, green_uwh: int, efficiency: Efficiency) -> Pool:
    """Add a charge [uWh at the AC terminals] with the carbon and green energy it brings from the bus."""
    energy = pool.energy_uwh + rounded_product(ac_uwh, efficiency.charge)
    green = pool.green_uwh + rounded_product(green_uwh, efficiency.charge)
    return Pool(energy, pool.carbon_ug + carbon_ug, min(energy, green))


def transfer_stock(source: Pool, target: Pool, energy_uwh: int) -> tuple[Pool, Pool, int]:
    """Move stored energy between purposes at the source's intensity; return both pools and the ug moved.

    Raises PoolOverdrawn when the source does not hold it.
    """
    if not 0 <= energy_uwh <= source.energy_uwh:
        raise PoolOverdrawn(f"transfer takes {energy_uwh} uWh, the pool holds {source.energy_uwh} uWh")
    if energy_uwh == 0:
        return source, target, 0
    carbon = rounded_quotient(source.carbon_ug * energy_uwh, source.energy_uwh)
    green = min(energy_uwh, rounded_quotient(source.green_uwh * energy_uwh, source.energy_uwh))
    left = source.energy_uwh - energy_uwh
    green = max(green, source.green_uwh - left)
    return (
        Pool(left, source.carbon_ug - carbon, source.green_uwh - green),
        Pool(target.energy_uwh + energy_uwh, target.carbon_ug + carbon, target.green_uwh + green),
        carbon,
    )


def true_up(pool: Pool, energy_uwh: int) -> Pool:
    """Set the stored energy to what is known to be there; carbon is neither made nor destroyed."""
    return Pool(energy_uwh, pool.carbon_ug, min(pool.green_uwh, energy_uwh))
