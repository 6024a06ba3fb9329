"""What may be sold: sum(min(headroom, usable energy / duration)) x (1 - dropout margin), under every limit.

Pure, the whole fleet at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from markets.core.product import Product
from markets.core.stacking import Stacking, relation
from sites.core.allocation import FloatArray, allocate
from sites.core.feeders import Feeders, limited_kw

BoolArray = npt.NDArray[np.bool_]


class HeadroomError(ValueError):
    """Figures from which no headroom follows; the message names the argument and what is accepted."""


@dataclass(frozen=True, slots=True)
class Room:
    """What each site has left for service, above its own load and reserve; arrays of one length."""

    up_kw: FloatArray
    """Power into the grid [kW, >= 0]."""
    down_kw: FloatArray
    """Power out of the grid [kW, >= 0]."""
    up_kwh: FloatArray
    """Energy above the site's reserve [kWh, >= 0]."""
    down_kwh: FloatArray
    """Room left for charging [kWh, >= 0]."""
    feeders: Feeders


@dataclass(frozen=True, slots=True)
class Demand:
    """What a product asks of each of a unit's sites."""

    product: Product
    sustain_s: float
    """Full power is kept up for so long [s, > 0]: the product's time, or what is left of its window."""
    members: BoolArray
    """Which sites belong to the unit, shape [sites]."""

    @property
    def sign(self) -> int:
        """+1 into the grid, -1 out of it, 0 both ways."""
        return self.product.sign


@dataclass(frozen=True, slots=True)
class Commitment:
    """What was promised already."""

    power_kw: float
    """[kW, >= 0]."""
    demand: Demand


@dataclass(frozen=True, slots=True)
class Sellable:
    """What a unit may offer, with and without the margin against sites that drop out."""

    power_kw: FloatArray
    """Each site's part without the margin, shape [sites] [kW]."""
    margin: float

    @property
    def gross_kw(self) -> float:
        """Sum without the margin [kW]."""
        return float(np.sum(np.sort(self.power_kw)))

    @property
    def net_kw(self) -> float:
        """What is sold at most: the sum less the margin [kW]."""
        return self.gross_kw * (1.0 - self.margin)


@dataclass(frozen=True, slots=True)
class Stood:
    """How far a commitment can be kept."""

    demand: Demand
    power_kw: FloatArray
    """Each site's share of it, the margin included, shape [sites] [kW]."""
    kept_kw: float
    """Of the promised power [kW]."""


def behind_connection(
    discharge_kw: FloatArray,
    charge_kw: FloatArray,
    *,
    net_import_kw: FloatArray,
    import_limit_kw: FloatArray,
    export_limit_kw: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the headroom into and out of the grid [kW, >= 0] that fits through each site's connection.

    ``net_import_kw`` is what flows in through the connection without any service (load less own generation and
    battery): service into the grid first feeds the own load and then exports, up to the export limit; service out of
    it comes on top of the load, up to the import limit. Where it is not a number nobody knows what is free: 0.
    """
    is_known = np.isfinite(net_import_kw)
    net_kw = np.where(is_known, net_import_kw, 0.0)
    up_kw = np.minimum(discharge_kw, export_limit_kw + net_kw)
    down_kw = np.minimum(charge_kw, import_limit_kw - net_kw)
    return np.where(is_known, np.maximum(up_kw, 0.0), 0.0), np.where(is_known, np.maximum(down_kw, 0.0), 0.0)


def sustainable_kw(room: Room, demand: Demand) -> FloatArray:
    """Return min(headroom, usable energy / duration) of each member, before the feeders' limits [kW]."""
    if not demand.sustain_s > 0.0:
        raise HeadroomError(f"sustain_s is {demand.sustain_s}, accepted: more than 0")
    hours = demand.sustain_s / 3600.0
    up_kw = np.minimum(room.up_kw, room.up_kwh / hours)
    down_kw = np.minimum(room.down_kw, room.down_kwh / hours)
    each_kw = {1: up_kw, -1: down_kw, 0: np.minimum(up_kw, down_kw)}[demand.sign]
    return np.where(demand.members, np.maximum(each_kw, 0.0), 0.0)


def sellable(room: Room, demand: Demand, *, margin: float, beside: Sequence[Stood] = ()) -> Sellable:
    """Return what a unit may offer: each site's sustainable power beside what it serves already, cut to the feeders.

    How a product and those that are served already share a site's power and energy is ``stacking.relation``.
    """
    if not 0.0 <= margin < 1.0:
        raise HeadroomError(f"margin is {margin}, accepted: 0 up to less than 1")
    for stood in beside:
        rule = relation(stood.demand.product, demand.product)
        if rule.stacking is Stacking.SHARES:
            continue
        if rule.stacking is Stacking.EXCLUDES:
            demand = replace(demand, members=demand.members & ~(stood.power_kw > 0.0))
        room = _less(room, stood)
    return Sellable(limited_kw(sustainable_kw(room, demand), room.feeders, demand.sign), margin)


def stand(room: Room, commitments: Sequence[Commitment], *, margin: float) -> list[Stood]:
    """Return how far each commitment can be kept, first promised first.

    Each takes its power over (1 - margin) from its sites by what they can give, with the energy behind it.
    """
    kept: list[Stood] = []
    for commitment in commitments:
        can_kw = sellable(room, commitment.demand, margin=margin, beside=kept).power_kw
        shared = allocate(commitment.power_kw / (1.0 - margin), can_kw)
        # Served in full but for rounding is what was promised, to the digit.
        kept_kw = commitment.power_kw if shared.unserved_kw == 0.0 else shared.served_kw * (1.0 - margin)
        kept.append(Stood(commitment.demand, shared.power_kw, kept_kw))
    return kept


def _less(room: Room, stood: Stood) -> Room:
    energy_kwh = stood.power_kw * stood.demand.sustain_s / 3600.0
    sign = stood.demand.sign
    up, down = float(sign >= 0), float(sign <= 0)
    return Room(
        up_kw=np.maximum(room.up_kw - up * stood.power_kw, 0.0),
        down_kw=np.maximum(room.down_kw - down * stood.power_kw, 0.0),
        up_kwh=np.maximum(room.up_kwh - up * energy_kwh, 0.0),
        down_kwh=np.maximum(room.down_kwh - down * energy_kwh, 0.0),
        feeders=room.feeders.less(stood.power_kw, sign),
    )
