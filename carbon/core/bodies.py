"""What the carbon book writes about a site's period: balanced postings and the facts behind them.

Accounts: ``grid/<zone>`` and ``fuel/diesel`` give carbon, ``load`` and ``export/<zone>`` take it,
``pool/own`` and ``pool/service`` hold it, ``bus/<site>`` is passed through and is zero over the
site's entries of a period. Unit ``ugCO2e``, whole micrograms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from carbon.core.factors import ChosenFactor
from carbon.core.inventory import METHOD_EFFICIENCY, Pool
from carbon.core.totals import SiteTotals

UNIT: Final = "ugCO2e"
METHOD: Final = "weighted-average-pools/1"
STATEMENT_CHAIN: Final = "fleet/carbon"

SCOPE1: Final = "scope1"
SCOPE2: Final = "scope2_location"
INVENTORY: Final = "inventory"
OPENING: Final = "opening"
LOAD: Final = "load"
STATEMENT: Final = "statement"

_SUMMED: Final = (
    "export_ug",
    "export_uwh",
    "fuel_ul",
    "hole_s",
    "import_uwh",
    "load_ug",
    "load_uwh",
    "opening_ug",
    "pv_uwh",
    "scope1_ug",
    "scope2_location_ug",
    "service_out_ug",
    "service_out_uwh",
    "stock_change_ug",
)


@dataclass(frozen=True, slots=True)
class SitePeriod:
    """What one site's entries are written from."""

    site_id: str
    zone: str
    names: Mapping[str, str]
    """Asset name by kind (pcc, battery, genset, load), for those it has."""
    totals: SiteTotals
    fuel_ul: int
    steps: int
    hole_s: int
    """Time without metering [s], summed over the site's assets; 0 unless gaps were allowed."""
    questionable: int
    """Metered intervals of quality ``questionable``."""
    overlaps_s: Mapping[str, int]
    """By asset's name: time with more than one interval, where the site's clock was set back [s]."""


def opening_pool(energy_uwh: int, factor: ChosenFactor) -> Pool:
    """Return the first stock of a battery: its energy as if charged from the grid at the grid's factor."""
    return Pool(energy_uwh, round(energy_uwh * factor.factor.ratio / METHOD_EFFICIENCY.charge))


def opening_body(energy_uwh: int, basis: str, factor: ChosenFactor) -> dict[str, Any]:
    """Return the body that opens a battery's inventory; ``basis`` says where the energy is known from."""
    pool = opening_pool(energy_uwh, factor)
    return {
        "postings": _moved("opening/assumed", "pool/own", pool.carbon_ug),
        "facts": {
            "closing_own": pool.as_facts(),
            "closing_service": Pool().as_facts(),
            "energy_basis": basis,
            "method": METHOD,
            "opening_ug": pool.carbon_ug,
            **factor.facts(),
        },
    }


def site_bodies(
    site: SitePeriod, electricity: ChosenFactor, diesel: ChosenFactor | None
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the site's bodies by (chain, kind). ``diesel`` is needed where the site has a genset."""
    totals, bus = site.totals, f"bus/{site.site_id}"
    common: dict[str, Any] = {
        "hole_s": site.hole_s,
        "method": METHOD,
        "questionable_intervals": site.questionable,
        "steps": site.steps,
    }

    def chain(kind: str) -> str:
        # A site without a load meter books its use at the PCC.
        return f"{site.site_id}/{site.names.get(kind, site.names['pcc'])}"

    bodies: dict[tuple[str, str], dict[str, Any]] = {}
    bodies[chain("pcc"), SCOPE2] = {
        "postings": [
            *_moved(f"grid/{site.zone}", bus, totals.scope2_location_ug),
            *_moved(bus, f"export/{site.zone}", totals.export_ug),
        ],
        "facts": {
            **common,
            # Only where there is any: what was booked before such time was told stays as it was.
            **({"overlaps_s": dict(site.overlaps_s)} if site.overlaps_s else {}),
            **electricity.facts(),
            "export_ug": totals.export_ug,
            "export_uwh": totals.export_uwh,
            "import_uwh": totals.import_uwh,
            "scope2_location_ug": totals.scope2_location_ug,
        },
    }
    if diesel is not None and "genset" in site.names:
        bodies[chain("genset"), SCOPE1] = {
            "postings": _moved("fuel/diesel", bus, totals.scope1_ug),
            "facts": {
                **_without_holes(common),
                **diesel.facts(),
                "fuel_ul": site.fuel_ul,
                "generated_uwh": totals.genset_uwh,
                "scope1_ug": totals.scope1_ug,
            },
        }
    if "battery" in site.names:
        bodies[chain("battery"), INVENTORY] = _inventory_body(totals, bus, _without_holes(common))
    bodies[chain("load"), LOAD] = {
        "postings": _moved(bus, "load", totals.load_ug),
        "facts": {
            **_without_holes(common),
            "green_basis": "own PV; the grid's renewable share is not claimed",
            "green_load_uwh": totals.green_load_uwh,
            "load_ug": totals.load_ug,
            "load_uwh": totals.load_uwh,
            "purpose_load_ug": totals.purpose_load_ug,
            "pv_uwh": totals.pv_uwh,
            "residual_uwh": totals.residual_uwh,
        },
    }
    return bodies


def _inventory_body(totals: SiteTotals, bus: str, common: dict[str, Any]) -> dict[str, Any]:
    efficiency = METHOD_EFFICIENCY
    return {
        "postings": [
            *_moved("pool/own", "pool/service", totals.transfer_ug),
            *_moved("pool/own", bus, totals.discharge_own_ug),
            *_moved("pool/service", bus, totals.discharge_grid_ug),
            *_moved(bus, "pool/own", totals.charge_own_ug),
            *_moved(bus, "pool/service", totals.charge_grid_ug),
        ],
        "facts": {
            **common,
            "adjustment_uwh": totals.adjustment_uwh,
            "charge_own_uwh": totals.charge_own_uwh,
            "charge_service_uwh": totals.charge_grid_uwh,
            "closing_own": totals.closing_own.as_facts(),
            "closing_service": totals.closing_service.as_facts(),
            "discharge_own_uwh": totals.discharge_own_uwh,
            "efficiency_charge": f"{efficiency.charge.numerator}/{efficiency.charge.denominator}",
            "efficiency_discharge": f"{efficiency.discharge.numerator}/{efficiency.discharge.denominator}",
            "opening_own": totals.opening_own.as_facts(),
            "opening_service": totals.opening_service.as_facts(),
            "service_out_ug": totals.discharge_grid_ug,
            "service_out_uwh": totals.discharge_grid_uwh,
            "stock_change_ug": totals.stock_change_ug,
            "transfer_ug": totals.transfer_ug,
            "transfer_uwh": totals.transfer_uwh,
            "virtual_import_ug": totals.virtual_import_ug,
            "virtual_import_uwh": totals.virtual_import_uwh,
        },
    }


def statement_body(
    bodies: Iterable[Mapping[str, Any]],
    *,
    entries: int,
    sites: int,
    merkle_root: str,
    gaps: bool,
    unbooked_s: int,
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the fleet's statement over the period's entries: their Merkle root and exact totals.

    Its postings are the sums of the entries' postings by account, so they add up to zero with no bus
    left over: identity I2 for the fleet. ``unbooked_s`` is the time since the statement before [s]; ``left_out``
    names each site that has no entries, and why.
    """
    facts: dict[str, Any] = dict.fromkeys(_SUMMED, 0)
    accounts: dict[str, int] = {}
    for body in bodies:
        for name in _SUMMED:
            facts[name] += body["facts"].get(name, 0)
        for row in body["postings"]:
            account = "bus" if row["account"].startswith("bus/") else row["account"]
            accounts[account] = accounts.get(account, 0) + row["amount"]
    facts |= {
        "bus_residual_ug": accounts.pop("bus", 0),
        "entries": entries,
        "gaps_allowed": gaps,
        "merkle_root": merkle_root,
        "method": METHOD,
        "sites": sites,
        "unbooked_before_s": unbooked_s,
        **({"left_out": list(left_out)} if left_out else {}),
    }
    postings = [
        {"account": account, "unit": UNIT, "amount": amount} for account, amount in sorted(accounts.items()) if amount
    ]
    return {"postings": postings, "facts": facts}


def _moved(source: str, target: str, amount_ug: int) -> list[dict[str, Any]]:
    if amount_ug == 0:
        return []
    return [
        {"account": source, "unit": UNIT, "amount": -amount_ug},
        {"account": target, "unit": UNIT, "amount": amount_ug},
    ]


def _without_holes(common: dict[str, Any]) -> dict[str, Any]:
    # Counted once per site, so that the fleet's sum is right.
    return {name: value for name, value in common.items() if name not in {"hole_s", "questionable_intervals"}}
