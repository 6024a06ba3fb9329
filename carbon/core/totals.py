"""A site's period added up: Scope 1 from litres, Scope 2 location-based from the net flow at the PCC."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from carbon.core.flows import StepEnergy, StepFlows, advance_step
from carbon.core.inventory import Efficiency, Pool, stored_for, transfer_stock, true_up


@dataclass(frozen=True, slots=True)
class SiteTotals:
    """Sums over a period; energy [uWh], carbon [ug CO2e], all whole and >= 0 unless said."""

    opening_own: Pool
    opening_service: Pool
    closing_own: Pool
    closing_service: Pool
    import_uwh: int = 0
    export_uwh: int = 0
    pv_uwh: int = 0
    genset_uwh: int = 0
    load_uwh: int = 0
    charge_own_uwh: int = 0
    charge_grid_uwh: int = 0
    discharge_own_uwh: int = 0
    discharge_grid_uwh: int = 0
    residual_uwh: int = 0
    """Metered sources less metered sinks, signed."""
    scope1_ug: int = 0
    """Fuel burnt on site."""
    scope2_location_ug: int = 0
    """Net import at the PCC times the grid's factor; an export is never negative carbon."""
    load_ug: int = 0
    export_ug: int = 0
    charge_own_ug: int = 0
    charge_grid_ug: int = 0
    discharge_own_ug: int = 0
    discharge_grid_ug: int = 0
    """Carbon moved out of the site's store by the service to the grid."""
    green_load_uwh: int = 0
    virtual_import_uwh: int = 0
    virtual_import_ug: int = 0
    purpose_load_ug: int = 0
    purpose_export_ug: int = 0
    transfer_uwh: int = 0
    """Stock moved from own use to the service before it was discharged, net of the reverse."""
    transfer_ug: int = 0
    adjustment_uwh: int = 0
    """Energy the meters show discharged beyond the inventory; energy only, never carbon."""
    swap_residual_ug: int = 0

    @property
    def stock_change_ug(self) -> int:
        """Carbon in store at the end less at the start, signed."""
        opening = self.opening_own.carbon_ug + self.opening_service.carbon_ug
        return self.closing_own.carbon_ug + self.closing_service.carbon_ug - opening

    @property
    def carbon_residual_ug(self) -> int:
        """Identity I2: import + fuel + opening stock less load, export and closing stock; always 0."""
        return self.scope1_ug + self.scope2_location_ug - self.load_ug - self.export_ug - self.stock_change_ug


def site_totals(
    steps: Iterable[StepEnergy],
    *,
    grid: Fraction,
    own: Pool,
    service: Pool,
    efficiency: Efficiency,
    cover_shortfall: bool,
) -> tuple[SiteTotals, list[StepFlows]]:
    """Run the inventory over steps with one grid factor [ug/uWh]; return sums and every step's flows.

    With ``cover_shortfall`` a service discharge beyond the service's stock is first moved over from own
    use at its intensity, and a discharge beyond all stock raises the energy (not the carbon) to what the
    meter shows; both are counted. Without it such a discharge raises PoolOverdrawn. The grid's green
    share is not claimed; green is the site's own PV.
    """
    return varying_totals(
        ((step, grid, Fraction(0)) for step in steps),
        own=own,
        service=service,
        efficiency=efficiency,
        cover_shortfall=cover_shortfall,
    )


def varying_totals(
    steps: Iterable[tuple[StepEnergy, Fraction, Fraction]],
    *,
    own: Pool,
    service: Pool,
    efficiency: Efficiency,
    cover_shortfall: bool,
) -> tuple[SiteTotals, list[StepFlows]]:
    """As ``site_totals``, each step with its own grid factor [ug/uWh] and green share [0 to 1]."""
    opening_own, opening_service = own, service
    sums: dict[str, int] = {}
    flows_of_steps: list[StepFlows] = []

    def add(**amounts: int) -> None:
        for name, amount in amounts.items():
            sums[name] = sums.get(name, 0) + amount

    for step, grid, green in steps:
        if cover_shortfall:
            own, service, moved_uwh, moved_ug, adjusted_uwh = _covered(step, own, service, efficiency)
            add(transfer_uwh=moved_uwh, transfer_ug=moved_ug, adjustment_uwh=adjusted_uwh)
        flows, own, service = advance_step(step, grid, green, own, service, efficiency)
        flows_of_steps.append(flows)
        add(
            import_uwh=step.import_uwh,
            export_uwh=step.export_uwh,
            pv_uwh=step.pv_uwh,
            genset_uwh=step.genset_uwh,
            load_uwh=step.load_uwh,
            charge_own_uwh=step.charge_own_uwh,
            charge_grid_uwh=step.charge_grid_uwh,
            discharge_own_uwh=step.discharge_own_uwh,
            discharge_grid_uwh=step.discharge_grid_uwh,
            residual_uwh=step.residual_uwh,
            scope1_ug=flows.genset_ug,
            scope2_location_ug=flows.import_ug,
            load_ug=flows.carbon.load,
            export_ug=flows.carbon.export,
            charge_own_ug=flows.carbon.charge_own,
            charge_grid_ug=flows.carbon.charge_grid,
            discharge_own_ug=flows.discharge_own_ug,
            discharge_grid_ug=flows.discharge_grid_ug,
            green_load_uwh=flows.green.load,
            virtual_import_uwh=flows.virtual_import_uwh,
            virtual_import_ug=flows.virtual_import_ug,
            purpose_load_ug=flows.purpose.load,
            purpose_export_ug=flows.purpose.export,
            swap_residual_ug=flows.swap_residual_ug,
        )
    return SiteTotals(opening_own, opening_service, own, service, **sums), flows_of_steps


def _covered(step: StepEnergy, own: Pool, service: Pool, efficiency: Efficiency) -> tuple[Pool, Pool, int, int, int]:
    """Return both pools ready for the step's discharges, with what was moved [uWh, ug] and adjusted [uWh]."""
    needs_own = stored_for(step.discharge_own_uwh, efficiency)
    needs_service = stored_for(step.discharge_grid_uwh, efficiency)
    moved_uwh = moved_ug = adjusted_uwh = 0
    if needs_service > service.energy_uwh:
        moved_uwh = min(needs_service - service.energy_uwh, max(0, own.energy_uwh - needs_own))
        own, service, moved_ug = transfer_stock(own, service, moved_uwh)
    elif needs_own > own.energy_uwh:
        back_uwh = min(needs_own - own.energy_uwh, service.energy_uwh - needs_service)
        service, own, back_ug = transfer_stock(service, own, back_uwh)
        moved_uwh, moved_ug = -back_uwh, -back_ug
    if needs_service > service.energy_uwh:
        adjusted_uwh += needs_service - service.energy_uwh
        service = true_up(service, needs_service)
    if needs_own > own.energy_uwh:
        adjusted_uwh += needs_own - own.energy_uwh
        own = true_up(own, needs_own)
    return own, service, moved_uwh, moved_ug, adjusted_uwh
