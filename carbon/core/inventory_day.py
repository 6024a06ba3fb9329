"""A day's carbon inventory of one site from its steps: flows by origin, two pools, both views, embodied carbon.

The method is the storage inventory of ``carbon.core.flows``; here its inputs are a table of metered energies with the
grid's factor for each step, and its results the figures that a statement shows. Whole uWh and ug throughout, so that
both identities hold exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from carbon.core.flows import StepEnergy, StepFlows
from carbon.core.inventory import METHOD_EFFICIENCY, Efficiency, Pool, PoolOverdrawn, rounded_product, rounded_quotient
from carbon.core.totals import SiteTotals, varying_totals
from sites.core.units import UG_PER_KG, UWH_PER_KWH

PLACES: Final = 6
"""Decimals of a printed figure."""


_OPENING_OWN: Final = Pool(40 * UWH_PER_KWH, 12 * UG_PER_KG, 10 * UWH_PER_KWH)
_OPENING_GRID: Final = Pool(40 * UWH_PER_KWH, 16 * UG_PER_KG, 8 * UWH_PER_KWH)


class InventoryError(ValueError):
    """A step that cannot be: the message names it and what is accepted."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the method needs beside the meters; the defaults are those of the published worked day."""

    efficiency: Efficiency = METHOD_EFFICIENCY
    capacity_uwh: int = 500 * UWH_PER_KWH
    """Of the battery, both pools together, stored side."""
    own: Pool = _OPENING_OWN
    """Opening stock for own use."""
    grid: Pool = _OPENING_GRID
    """Opening stock for grid support."""
    diesel_kg_per_l: Fraction = Fraction("2.66155")
    fuel_idle_l_per_kwh: Fraction = Fraction("0.08145")
    """Litres an hour for each kW of the set's rating (F0)."""
    fuel_slope_l_per_kwh: Fraction = Fraction("0.246")
    """Litres for each kWh generated (F1)."""
    genset_kw: Fraction = Fraction(150)
    """Rating of the set."""
    embodied_kg: Fraction = Fraction(45_000)
    """Of the battery, from cradle to gate."""
    lifetime_mwh: Fraction = Fraction(2_000)
    """Energy that it delivers in its life, over which the embodied carbon is spread."""

    def __post_init__(self) -> None:
        for name in ("diesel_kg_per_l", "fuel_idle_l_per_kwh", "fuel_slope_l_per_kwh", "genset_kw", "embodied_kg"):
            if getattr(self, name) < 0:
                raise InventoryError(f"{name} is {float(getattr(self, name)):g}, accepted: 0 or more")
        for name in ("capacity_uwh", "lifetime_mwh"):
            if getattr(self, name) <= 0:
                raise InventoryError(f"{name} is {float(getattr(self, name)):g}, accepted: more than 0")
        if self.own.energy_uwh + self.grid.energy_uwh > self.capacity_uwh:
            raise InventoryError("both opening stocks together are more than the capacity, accepted: at most as much")

    @property
    def embodied_kg_per_kwh(self) -> Fraction:
        """Embodied carbon for each kWh delivered."""
        return self.embodied_kg / (self.lifetime_mwh * 1000)


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the table: metered energies [uWh, >= 0] and the grid's factor."""

    name: str
    """For messages, such as ``row 81 (20:00)``."""
    load_uwh: int
    pv_uwh: int
    charge_own_uwh: int
    charge_grid_uwh: int
    discharge_own_uwh: int
    discharge_grid_uwh: int
    is_island: bool
    """The grid is open: what the site lacks comes from the genset."""
    grid: Fraction
    """Factor of the grid [kg/kWh]."""
    grid_green: Fraction
    """Green share of the grid [0 to 1]."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """A day's inventory."""

    totals: SiteTotals
    flows: tuple[StepFlows, ...] = field(repr=False)
    litres: Fraction
    cfe_uwh: int
    """Load met in the same step by the site's own carbon-free energy, and by the grid's share of it."""
    green_discharged_own_uwh: int
    green_discharged_grid_uwh: int
    loss_own_uwh: int
    loss_grid_uwh: int
    embodied_own_ug: int
    embodied_grid_ug: int
    embodied_kg_per_kwh: Fraction

    def figures(self) -> dict[str, str | None]:
        """Return the totals under their published names: kWh, kg, litres and ratios with six decimals.

        None where there is nothing to relate to, such as the mean intensity of no discharge.
        """
        t = self.totals
        amounts = {
            "I2_carbon_residual": t.carbon_residual_ug,
            "I3_swap": t.swap_residual_ug,
            "cfe_kwh": self.cfe_uwh,
            "charge_ac_grid": t.charge_grid_uwh,
            "charge_ac_own": t.charge_own_uwh,
            "close_E_grid": t.closing_service.energy_uwh,
            "close_E_own": t.closing_own.energy_uwh,
            "close_M_grid": t.closing_service.carbon_ug,
            "close_M_own": t.closing_own.carbon_ug,
            "close_R_grid": t.closing_service.green_uwh,
            "close_R_own": t.closing_own.green_uwh,
            "diesel_kwh": t.genset_uwh,
            "discharge_ac_grid": t.discharge_grid_uwh,
            "discharge_ac_own": t.discharge_own_uwh,
            "embodied_grid": self.embodied_grid_ug,
            "embodied_own": self.embodied_own_ug,
            "exp_kwh": t.export_uwh,
            "green_discharged_grid": self.green_discharged_grid_uwh,
            "green_discharged_own": self.green_discharged_own_uwh,
            "green_load_kwh": t.green_load_uwh,
            "imp_kwh": t.import_uwh,
            "load_kwh": t.load_uwh,
            "loss_kwh_grid": self.loss_grid_uwh,
            "loss_kwh_own": self.loss_own_uwh,
            "m_charged_grid": t.charge_grid_ug,
            "m_charged_own": t.charge_own_ug,
            "m_chg_purpose": sum(step.purpose.charge_own + step.purpose.charge_grid for step in self.flows),
            "m_discharged_grid": t.discharge_grid_ug,
            "m_discharged_own": t.discharge_own_ug,
            "m_exp_purpose": t.purpose_export_ug,
            "m_export_phys": t.export_ug,
            "m_load_phys": t.load_ug,
            "m_load_purpose": t.purpose_load_ug,
            "m_service_out": t.discharge_grid_ug,
            "m_virt_imp": t.virtual_import_ug,
            "pv_kwh": t.pv_uwh,
            "scope1_diesel": t.scope1_ug,
            "scope2_lb_imports": t.scope2_location_ug,
            "virt_imp_kwh": t.virtual_import_uwh,
        }
        ratios = {
            "cfe_score": _ratio(self.cfe_uwh, t.load_uwh),
            "embodied_rate_kg_per_kwh": self.embodied_kg_per_kwh,
            "green_share_load": _ratio(t.green_load_uwh, t.load_uwh),
            "i_dis_avg_grid": _ratio(t.discharge_grid_ug, t.discharge_grid_uwh),
            "i_dis_avg_own": _ratio(t.discharge_own_ug, t.discharge_own_uwh),
            "i_load_phys": _ratio(t.load_ug, t.load_uwh),
            "litres": self.litres,
        }
        found: dict[str, str | None] = {name: fixed(Fraction(amount, UWH_PER_KWH)) for name, amount in amounts.items()}
        found |= {name: None if ratio is None else fixed(ratio) for name, ratio in ratios.items()}
        return dict(sorted(found.items()))


def fixed(value: Fraction, places: int = PLACES) -> str:
    """Return an exact number with so many decimals, rounded half to even.

    >>> fixed(Fraction(1, 3)), fixed(Fraction(-1, 2), 0), fixed(Fraction(-5, 2), 1)
    ('0.333333', '0', '-2.5')
    """
    scaled = rounded_quotient(value.numerator * 10**places, value.denominator)
    digits = f"{abs(scaled):0{places + 1}d}"
    text = f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}" if places else digits
    return f"-{text}" if scaled < 0 else text


def day_inventory(steps: Sequence[Step], parameters: Parameters, *, step_h: Fraction) -> Inventory:
    """Return the inventory over steps of one length [h].

    What a step lacks comes from the grid, or from the genset while islanded; what it has over goes to the grid. Raises
    InventoryError for a surplus in an island, a pool that gives more than it holds, and stocks above the capacity.
    """
    litres = Fraction(0)
    current = ""

    def rows() -> Iterator[tuple[StepEnergy, Fraction, Fraction]]:
        nonlocal litres, current
        for step in steps:
            current = step.name
            energy, burnt_l = _energy(step, parameters, step_h)
            litres += burnt_l
            yield energy, step.grid, step.grid_green

    try:
        totals, flows = varying_totals(
            rows(), own=parameters.own, service=parameters.grid, efficiency=parameters.efficiency, cover_shortfall=False
        )
    except PoolOverdrawn as error:
        raise InventoryError(f"{current}: {error}, accepted: no more than is in store") from None
    for step, after in zip(steps, flows, strict=True):
        if after.stock_uwh > parameters.capacity_uwh:
            raise InventoryError(
                f"{step.name}: both pools hold {_kwh(after.stock_uwh)} kWh, accepted: up to the capacity of "
                f"{_kwh(parameters.capacity_uwh)} kWh"
            )
    rate = parameters.embodied_kg_per_kwh
    return Inventory(
        totals=totals,
        flows=tuple(flows),
        litres=litres,
        cfe_uwh=sum(_carbon_free(step, after) for step, after in zip(steps, flows, strict=True)),
        green_discharged_own_uwh=sum(after.green_own_uwh for after in flows),
        green_discharged_grid_uwh=sum(after.green_grid_uwh for after in flows),
        # What went in and is neither out nor in store.
        loss_own_uwh=_loss(parameters.own, totals.closing_own, totals.charge_own_uwh, totals.discharge_own_uwh),
        loss_grid_uwh=_loss(parameters.grid, totals.closing_service, totals.charge_grid_uwh, totals.discharge_grid_uwh),
        embodied_own_ug=rounded_product(totals.discharge_own_uwh, rate),
        embodied_grid_ug=rounded_product(totals.discharge_grid_uwh, rate),
        embodied_kg_per_kwh=rate,
    )


def _energy(step: Step, parameters: Parameters, step_h: Fraction) -> tuple[StepEnergy, Fraction]:
    """Return a step's balanced flows and the litres burnt in it."""
    sinks = step.load_uwh + step.charge_own_uwh + step.charge_grid_uwh
    lack = sinks - step.pv_uwh - step.discharge_own_uwh - step.discharge_grid_uwh
    generated, litres = 0, Fraction(0)
    if step.is_island:
        if lack < 0:
            raise InventoryError(
                f"{step.name}: {_kwh(-lack)} kWh too much in an island, accepted: PV and "
                "discharge no more than load and charge"
            )
        generated, lack = lack, 0
        if generated:
            kwh = Fraction(generated, UWH_PER_KWH)
            litres = parameters.fuel_idle_l_per_kwh * parameters.genset_kw * step_h
            litres += parameters.fuel_slope_l_per_kwh * kwh
    burnt_kg = litres * parameters.diesel_kg_per_l
    energy = StepEnergy(
        import_uwh=max(lack, 0),
        export_uwh=max(-lack, 0),
        pv_uwh=step.pv_uwh,
        genset_uwh=generated,
        genset_ug=rounded_quotient(burnt_kg.numerator * UG_PER_KG, burnt_kg.denominator),
        load_uwh=step.load_uwh,
        charge_own_uwh=step.charge_own_uwh,
        charge_grid_uwh=step.charge_grid_uwh,
        discharge_own_uwh=step.discharge_own_uwh,
        discharge_grid_uwh=step.discharge_grid_uwh,
    )
    return energy, litres


def _carbon_free(step: Step, flows: StepFlows) -> int:
    """Return the load that carbon-free energy met in the step [uWh]: the site's own first, then the grid's share."""
    own = min(step.load_uwh, step.pv_uwh + flows.green_own_uwh)
    # No grid, no share of it.
    share = Fraction(0) if step.is_island else step.grid_green
    return own + rounded_product(step.load_uwh - own, share)


def _loss(opening: Pool, closing: Pool, charged_uwh: int, discharged_uwh: int) -> int:
    return opening.energy_uwh + charged_uwh - discharged_uwh - closing.energy_uwh


def _kwh(energy_uwh: int) -> str:
    return fixed(Fraction(energy_uwh, UWH_PER_KWH), 3)


def _ratio(amount: int, whole: int) -> Fraction | None:
    """Return a ratio; None where there is nothing to relate to."""
    return Fraction(amount, whole) if whole else None
