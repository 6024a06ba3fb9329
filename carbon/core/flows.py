"""Where energy on a site's bus came from: proportional sharing of all sources among all sinks.

Every step conserves carbon to the microgram: the smaller sinks' shares are rounded down and the
largest sink (of equals the first of load, export, own charge, grid charge) takes the remainder.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction

from carbon.core.inventory import Efficiency, Pool, charge_pool, discharge_pool, rounded_product


@dataclass(frozen=True, slots=True)
class StepEnergy:
    """One metering step at a site; every figure is a flow [uWh, >= 0] at AC terminals."""

    import_uwh: int = 0
    """Net of export at the PCC: one of both is 0."""
    export_uwh: int = 0
    pv_uwh: int = 0
    genset_uwh: int = 0
    genset_ug: int = 0
    """Carbon of the fuel burnt in the step [ug CO2e]."""
    load_uwh: int = 0
    charge_own_uwh: int = 0
    charge_grid_uwh: int = 0
    discharge_own_uwh: int = 0
    discharge_grid_uwh: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, accepted: 0 or more")
        if self.import_uwh and self.export_uwh:
            raise ValueError("a step imports and exports at once, accepted: the net flow at the PCC")

    @property
    def residual_uwh(self) -> int:
        """Metered sources less metered sinks [uWh]: bus losses and meter error; 0 with perfect meters."""
        sources = self.import_uwh + self.pv_uwh + self.genset_uwh + self.discharge_own_uwh + self.discharge_grid_uwh
        return sources - self.load_uwh - self.export_uwh - self.charge_own_uwh - self.charge_grid_uwh


@dataclass(frozen=True, slots=True)
class Shares:
    """How an amount on the bus is shared among the sinks; the four add up to the amount."""

    load: int
    export: int
    charge_own: int
    charge_grid: int

    @property
    def total(self) -> int:
        """The amount shared."""
        return self.load + self.export + self.charge_own + self.charge_grid


@dataclass(frozen=True, slots=True)
class StepFlows:
    """Carbon and green energy of one step, physical view, and the purpose view beside it."""

    import_ug: int
    genset_ug: int
    discharge_own_ug: int
    discharge_grid_ug: int
    carbon: Shares
    """Physical view [ug CO2e]."""
    green: Shares
    """[uWh]"""
    purpose: Shares
    """Purpose view [ug CO2e]: the service is moved out as a virtual export and virtual import fills it."""
    virtual_import_uwh: int
    virtual_import_ug: int
    green_own_uwh: int
    """Green energy in the discharge for own use [uWh at the AC terminals]."""
    green_grid_uwh: int
    """Of the discharge for the grid."""
    stock_uwh: int
    """Stored energy of both pools after the step [uWh]."""

    @property
    def swap_residual_ug(self) -> int:
        """Identity I3: purpose view less (physical view and virtual import); always 0."""
        purpose = self.purpose.total + self.discharge_grid_ug
        return purpose - self.carbon.total - self.virtual_import_ug


def share_out(amount: int, load: int, export: int, charge_own: int, charge_grid: int) -> Shares:
    """Share an amount among sinks in proportion to their energy [uWh]; exact in total.

    With no metered sink at all the load takes everything: what came in was used behind the meters.
    """
    weights = (load, export, charge_own, charge_grid)
    total = sum(weights)
    if total == 0:
        return Shares(amount, 0, 0, 0)
    shares = [amount * weight // total for weight in weights]
    shares[weights.index(max(weights))] += amount - sum(shares)
    return Shares(*shares)


def advance_step(
    step: StepEnergy, grid: Fraction, grid_green: Fraction, own: Pool, service: Pool, efficiency: Efficiency
) -> tuple[StepFlows, Pool, Pool]:
    """Return one step's flows and the pools after it; discharges first, on the opening stock.

    ``grid`` is the factor of the grid [ug/uWh], ``grid_green`` its green share [0 to 1]. ``own`` and
    ``service`` are the pools for own use and for the grid. Raises PoolOverdrawn.
    """
    out_own = discharge_pool(own, step.discharge_own_uwh, efficiency)
    out_grid = discharge_pool(service, step.discharge_grid_uwh, efficiency)
    import_ug = rounded_product(step.import_uwh, grid)
    sinks = (step.load_uwh, step.export_uwh, step.charge_own_uwh, step.charge_grid_uwh)
    carbon = share_out(import_ug + step.genset_ug + out_own.carbon_ug + out_grid.carbon_ug, *sinks)
    green_in = step.pv_uwh + rounded_product(step.import_uwh, grid_green) + out_own.green_uwh + out_grid.green_uwh
    # More green than the sinks took can only be bus loss; it is not stored or claimed.
    green = share_out(min(green_in, sum(sinks)), *sinks)
    # The service is exported virtually; as far as it was not exported physically, it cut an import.
    exported = min(step.discharge_grid_uwh, step.export_uwh)
    virtual_uwh = step.discharge_grid_uwh - exported
    virtual_ug = rounded_product(step.import_uwh + virtual_uwh, grid) - import_ug
    purpose = share_out(
        import_ug + virtual_ug + step.genset_ug + out_own.carbon_ug,
        step.load_uwh,
        step.export_uwh - exported,
        step.charge_own_uwh,
        step.charge_grid_uwh,
    )
    own = charge_pool(out_own.pool, step.charge_own_uwh, carbon.charge_own, green.charge_own, efficiency)
    service = charge_pool(out_grid.pool, step.charge_grid_uwh, carbon.charge_grid, green.charge_grid, efficiency)
    flows = StepFlows(
        import_ug=import_ug,
        genset_ug=step.genset_ug,
        discharge_own_ug=out_own.carbon_ug,
        discharge_grid_ug=out_grid.carbon_ug,
        carbon=carbon,
        green=green,
        purpose=purpose,
        virtual_import_uwh=virtual_uwh,
        virtual_import_ug=virtual_ug,
        green_own_uwh=out_own.green_uwh,
        green_grid_uwh=out_grid.green_uwh,
        stock_uwh=own.energy_uwh + service.energy_uwh,
    )
    return flows, own, service
