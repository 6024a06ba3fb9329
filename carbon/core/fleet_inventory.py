"""The storage inventory of a whole fleet: the same whole numbers as ``carbon.core.totals``, compiled, asset by asset.

Pool times flow passes 64 bits on a 2 MWh battery. A quotient ``a * b / e`` is therefore estimated in floating point and
corrected with whole numbers: the estimate is off by a few units, so that ``a * b - q * e`` is small, and taken modulo
2**64 it is exact. Limits: 10 MWh and 10 t in a step, 50 MWh and 50 t in store, factors of up to nine decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from carbon.core.inventory import Efficiency, Pool, PoolOverdrawn
from carbon.core.totals import SiteTotals

IntArray = npt.NDArray[np.int64]

FACTOR_UNIT: Final = 10**9
"""Factors and shares count in billionths."""
MOST_IN_STEP: Final = 10**16
MOST_IN_STORE: Final = 5 * 10**16
FLOWS: Final = (
    "import_uwh", "export_uwh", "pv_uwh", "genset_uwh", "genset_ug", "load_uwh", "charge_own_uwh", "charge_grid_uwh",
    "discharge_own_uwh", "discharge_grid_uwh",
)  # fmt: skip
"""Of a step, in the order of the arrays' first axis; as ``carbon.core.flows.StepEnergy``."""
SUMS: Final = tuple(field.name for field in fields(SiteTotals) if not field.name.startswith(("opening", "closing")))
_PLACE: Final = {name: place for place, name in enumerate(SUMS)}
_STOCKS: Final = ("opening_own", "opening_service", "closing_own", "closing_service")
_OVERDRAWN, _TOO_LARGE = 1, 2


class FleetRangeError(ValueError):
    """An amount outside what the compiled arithmetic holds exactly; the message names asset and step."""


@dataclass(frozen=True, slots=True)
class FleetInventory:
    """Sums and stocks of a period; one row an asset."""

    sums: IntArray
    """(assets, len(SUMS)) [uWh, ug]."""
    opening: IntArray
    """(assets, 2, 3): own and service; energy [uWh], carbon [ug], green [uWh]."""
    closing: IntArray

    def site(self, place: int) -> SiteTotals:
        """Return one asset's totals as the book takes them."""
        stocks = zip(_STOCKS, (*self.opening[place], *self.closing[place]), strict=True)
        values: dict[str, Any] = {name: Pool(*map(int, stock)) for name, stock in stocks}
        values |= {name: int(self.sums[place, at]) for name, at in _PLACE.items()}
        return SiteTotals(**values)


def billionths(values: Sequence[Fraction]) -> IntArray:
    """Return exact ratios in billionths; raise ValueError for one with more than nine decimals."""
    found = np.empty(len(values), np.int64)
    for place, value in enumerate(values):
        scaled = value * FACTOR_UNIT
        if scaled.denominator != 1 or not 0 <= scaled <= 10 * FACTOR_UNIT:
            raise ValueError(f"value {place} is {float(value):g}, accepted: 0 to 10 with up to nine decimals")
        found[place] = scaled.numerator
    return found


def fleet_inventory(
    flows: IntArray,
    *,
    grid: IntArray,
    green: IntArray,
    zone: IntArray,
    pools: IntArray,
    efficiency: Efficiency,
    cover_shortfall: bool,
) -> FleetInventory:
    """Return each asset's period, bit for bit what ``varying_totals`` gives for it alone.

    ``flows`` is (len(FLOWS), assets, steps) [uWh, ug; >= 0]; ``grid`` and ``green`` (zones, steps) are factors [ug/uWh]
    and green shares in billionths, ``zone`` (assets,) says which an asset has; ``pools`` (assets, 2, 3) are the opening
    stocks. Raises PoolOverdrawn and FleetRangeError naming asset and step.
    """
    assets = flows.shape[1]
    if flows.shape[0] != len(FLOWS) or pools.shape != (assets, 2, 3) or grid.shape != green.shape:
        raise ValueError(f"flows {flows.shape}, pools {pools.shape}, accepted: {len(FLOWS)} flows, 2 pools of 3 each")
    sums = np.zeros((assets, len(SUMS)), np.int64)
    closing = pools.astype(np.int64, copy=True)
    ratios = np.array(
        [getattr(efficiency, way).as_integer_ratio() for way in ("charge", "discharge")], np.int64
    )  # fmt: skip
    status = np.zeros(2, np.int64)
    place = _advance_fleet(flows, grid, green, zone, ratios, cover_shortfall, closing, sums, status)
    if status[0] == _OVERDRAWN:
        raise PoolOverdrawn(f"asset {place}, step {status[1]}: discharge takes more than the pool holds")
    if status[0] == _TOO_LARGE:
        raise FleetRangeError(
            f"asset {place}, step {status[1]}: an amount is negative or too large, accepted: 0 to {MOST_IN_STEP} uWh or"
            f" ug in a step, {MOST_IN_STORE} in store"
        )
    return FleetInventory(sums, pools, closing)


_compiled: Any = numba.njit(nogil=True)


@_compiled
def _floored(a: int, b: int, e: int) -> tuple[int, int]:
    """Return (a * b // e, a * b % e), exactly, for the limits of this module."""
    q: Any = np.int64(np.float64(a) * np.float64(b) / np.float64(e))
    rest = a * b - q * e
    extra = rest // e
    return q + extra, rest - extra * e


@_compiled
def _rounded(a: int, b: int, e: int) -> int:
    """Return a * b / e, rounded half to even."""
    q, rest = _floored(a, b, e)
    double = 2 * rest
    if double > e or (double == e and q % 2 == 1):
        q += 1
    return q


@_compiled
def _share(amount: int, load: int, export: int, own: int, grid: int) -> tuple[int, int, int, int]:
    """As ``carbon.core.flows.share_out``."""
    total = load + export + own + grid
    if total == 0:
        return amount, 0, 0, 0
    to_load = _floored(amount, load, total)[0]
    to_export = _floored(amount, export, total)[0]
    to_own = _floored(amount, own, total)[0]
    to_grid = _floored(amount, grid, total)[0]
    rest = amount - to_load - to_export - to_own - to_grid
    if load >= export and load >= own and load >= grid:
        to_load += rest
    elif export >= own and export >= grid:
        to_export += rest
    elif own >= grid:
        to_own += rest
    else:
        to_grid += rest
    return to_load, to_export, to_own, to_grid


@_compiled
def _discharge(pool: Any, taken: int, ac: int, num: int, den: int) -> tuple[int, int]:
    """As ``carbon.core.inventory.discharge_pool``; changes the pool, returns carbon and green at the terminals."""
    if taken == 0:
        return 0, 0
    energy = pool[0]
    carbon = _rounded(pool[1], taken, energy)
    green = _rounded(pool[2], taken, energy)
    pool[0] = energy - taken
    pool[1] -= carbon
    pool[2] = min(pool[0], pool[2] - green)
    return carbon, min(ac, _rounded(green, num, den))


@_compiled
def _charge(pool: Any, ac: int, carbon: int, green: int, num: int, den: int) -> None:
    """As ``carbon.core.inventory.charge_pool``."""
    pool[0] += _rounded(ac, num, den)
    pool[1] += carbon
    pool[2] = min(pool[0], pool[2] + _rounded(green, num, den))


@_compiled
def _transfer(source: Any, target: Any, energy: int) -> int:
    """As ``carbon.core.inventory.transfer_stock``; returns the carbon moved."""
    if energy == 0:
        return 0
    carbon = _rounded(source[1], energy, source[0])
    green = min(energy, _rounded(source[2], energy, source[0]))
    left = source[0] - energy
    green = max(green, source[2] - left)
    source[0] = left
    source[1] -= carbon
    source[2] -= green
    target[0] += energy
    target[1] += carbon
    target[2] += green
    return carbon


_S = _PLACE
(_IMPORT, _EXPORT, _PV, _GENSET, _LOAD, _CHARGE_OWN, _CHARGE_GRID, _DISCHARGE_OWN, _DISCHARGE_GRID, _RESIDUAL) = (
    _S[f"{name}_uwh"]
    for name in (
        "import", "export", "pv", "genset", "load", "charge_own", "charge_grid", "discharge_own", "discharge_grid",
        "residual",
    )
)  # fmt: skip
_SCOPE1, _SCOPE2 = _S["scope1_ug"], _S["scope2_location_ug"]
(_LOAD_UG, _EXPORT_UG, _CHARGE_OWN_UG, _CHARGE_GRID_UG, _DISCHARGE_OWN_UG, _DISCHARGE_GRID_UG) = (
    _S[f"{name}_ug"] for name in ("load", "export", "charge_own", "charge_grid", "discharge_own", "discharge_grid")
)
_GREEN_LOAD, _VIRTUAL, _VIRTUAL_UG = _S["green_load_uwh"], _S["virtual_import_uwh"], _S["virtual_import_ug"]
_PURPOSE_LOAD, _PURPOSE_EXPORT, _SWAP = _S["purpose_load_ug"], _S["purpose_export_ug"], _S["swap_residual_ug"]
_TRANSFER, _TRANSFER_UG, _ADJUSTMENT = _S["transfer_uwh"], _S["transfer_ug"], _S["adjustment_uwh"]


@_compiled
def _advance_fleet(
    flows: Any, grid: Any, green: Any, zone: Any, ratios: Any, cover: bool, stocks: Any, sums: Any, status: Any
) -> int:
    """Run all assets through all steps; returns the asset that could not go on (status says why and where)."""
    charge_num, charge_den = ratios[0]
    discharge_num, discharge_den = ratios[1]
    assets, steps = flows.shape[1], flows.shape[2]
    for asset in range(assets):
        own, service = stocks[asset, 0], stocks[asset, 1]
        out = sums[asset]
        for step in range(steps):
            for flow in range(flows.shape[0]):
                if not 0 <= flows[flow, asset, step] <= MOST_IN_STEP:
                    status[0], status[1] = _TOO_LARGE, step
                    return asset
            imported, exported, pv = flows[0, asset, step], flows[1, asset, step], flows[2, asset, step]
            genset, burnt, load = flows[3, asset, step], flows[4, asset, step], flows[5, asset, step]
            charge_own, charge_grid = flows[6, asset, step], flows[7, asset, step]
            give_own, give_grid = flows[8, asset, step], flows[9, asset, step]
            for pool in (own, service):
                if not (0 <= pool[0] <= MOST_IN_STORE and 0 <= pool[1] <= MOST_IN_STORE):
                    status[0], status[1] = _TOO_LARGE, step
                    return asset
            takes_own = _rounded(give_own, discharge_den, discharge_num)
            takes_grid = _rounded(give_grid, discharge_den, discharge_num)
            if cover and (takes_own > own[0] or takes_grid > service[0]):
                if takes_grid > service[0]:
                    moved = min(takes_grid - service[0], max(0, own[0] - takes_own))
                    out[_TRANSFER_UG] += _transfer(own, service, moved)
                    out[_TRANSFER] += moved
                elif takes_own > own[0]:
                    moved = min(takes_own - own[0], service[0] - takes_grid)
                    out[_TRANSFER_UG] -= _transfer(service, own, moved)
                    out[_TRANSFER] -= moved
                if takes_grid > service[0]:
                    out[_ADJUSTMENT] += takes_grid - service[0]
                    service[0] = takes_grid
                if takes_own > own[0]:
                    out[_ADJUSTMENT] += takes_own - own[0]
                    own[0] = takes_own
            if takes_own > own[0] or takes_grid > service[0]:
                status[0], status[1] = _OVERDRAWN, step
                return asset
            own_ug, own_green = _discharge(own, takes_own, give_own, discharge_num, discharge_den)
            grid_ug, grid_green = _discharge(service, takes_grid, give_grid, discharge_num, discharge_den)
            factor, share = grid[zone[asset], step], green[zone[asset], step]
            import_ug = _rounded(imported, factor, FACTOR_UNIT)
            to_load, to_export, to_own, to_grid = _share(
                import_ug + burnt + own_ug + grid_ug, load, exported, charge_own, charge_grid
            )
            sinks = load + exported + charge_own + charge_grid
            green_in = min(pv + _rounded(imported, share, FACTOR_UNIT) + own_green + grid_green, sinks)
            green_load, _, green_own, green_grid = _share(green_in, load, exported, charge_own, charge_grid)
            physical = min(give_grid, exported)
            virtual = give_grid - physical
            virtual_ug = _rounded(imported + virtual, factor, FACTOR_UNIT) - import_ug
            for_purpose = import_ug + virtual_ug + burnt + own_ug
            p_load, p_export, p_own, p_grid = _share(for_purpose, load, exported - physical, charge_own, charge_grid)
            _charge(own, charge_own, to_own, green_own, charge_num, charge_den)
            _charge(service, charge_grid, to_grid, green_grid, charge_num, charge_den)
            out[_IMPORT] += imported
            out[_EXPORT] += exported
            out[_PV] += pv
            out[_GENSET] += genset
            out[_LOAD] += load
            out[_CHARGE_OWN] += charge_own
            out[_CHARGE_GRID] += charge_grid
            out[_DISCHARGE_OWN] += give_own
            out[_DISCHARGE_GRID] += give_grid
            out[_RESIDUAL] += imported + pv + genset + give_own + give_grid - sinks
            out[_SCOPE1] += burnt
            out[_SCOPE2] += import_ug
            out[_LOAD_UG] += to_load
            out[_EXPORT_UG] += to_export
            out[_CHARGE_OWN_UG] += to_own
            out[_CHARGE_GRID_UG] += to_grid
            out[_DISCHARGE_OWN_UG] += own_ug
            out[_DISCHARGE_GRID_UG] += grid_ug
            out[_GREEN_LOAD] += green_load
            out[_VIRTUAL] += virtual
            out[_VIRTUAL_UG] += virtual_ug
            out[_PURPOSE_LOAD] += p_load
            out[_PURPOSE_EXPORT] += p_export
            out[_SWAP] += (p_load + p_export + p_own + p_grid + grid_ug) - (
                to_load + to_export + to_own + to_grid + virtual_ug
            )
    return -1
