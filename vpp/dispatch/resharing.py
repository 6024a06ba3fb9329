"""Who is to hold another share of an obligation than now: pure, whole fleet at once.

A message may be lost, late or overtaken, so that each site stands at its old or at its new share for a while, and
ramps from one to the other. A round of changes is therefore bounded twice: with all increases and no decrease taken
the sum stays within the product's over-delivery limit, with all decreases and no increase taken it stays at the
promise. Whatever subset of a round is in force at an instant, the sum lies between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.allocation import WATT_KW, FloatArray, allocate

WORTH_REPLACING: Final = 0.01
"""A missing share smaller than this part of the obligation is not worth arming sites anew."""
WORTH_MOVING: Final = 0.05
"""A share that is off by less than this part of the larger one stays as it is."""
SPREAD: Final = 2.0
"""A missing share goes to as many sites as have so many times its size left: neither to one nor to all."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Sites of one dispatch, or free for it, as arrays of one length."""

    asked_kw: FloatArray
    """What each is asked to hold now [kW, >= 0]."""
    low_kw: FloatArray
    """The least that each may hold [kW]; 0 for a site that is not firm."""
    high_kw: FloatArray
    """The most that each may hold [kW], silent ones too."""
    sustainable_kw: FloatArray
    """What each can keep up [kW, >= 0]; 0 for a site that cannot be counted on now."""
    is_answering: BoolArray
    """It did not refuse what it is asked now, and is not silent about it."""
    is_silent: BoolArray
    """It does not answer at all; one that refused has answered."""
    is_settled: BoolArray
    """Nothing that it was asked is still without an answer."""
    is_due: BoolArray
    """Its turn to follow its headroom has come."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the shares have to keep to [kW]."""

    promised_kw: float
    target_kw: float
    """What is asked of all sites together: the promise and the margin against dropouts."""
    limit_kw: float
    """The most that sites may hold together."""


def reshared(fleet: Fleet, terms: Terms) -> FloatArray:
    """Return what each site shall be asked for; equal to ``asked_kw`` where nothing is to change.

    First what is missing, because sites refused, fell silent or left, goes to settled sites with room, as far as
    the limit allows. Then the sites whose turn has come move to the share that their headroom and energy give them
    now: increases and decreases of a round balance, up to what the sum is off its target.
    """
    usable = fleet.is_answering & fleet.is_settled & (fleet.sustainable_kw > 0.0)
    is_counted = fleet.is_answering & (fleet.sustainable_kw > 0.0)
    pledged_kw = np.where(is_counted, fleet.asked_kw, np.minimum(fleet.low_kw, fleet.asked_kw))
    wanted_kw = fleet.asked_kw.copy()
    # A silent site that holds nothing for sure shall not come back with a share that others have by then.
    wanted_kw[fleet.is_silent & (fleet.low_kw == 0.0)] = 0.0
    room_kw = terms.limit_kw - float(fleet.high_kw.sum())
    missing_kw = terms.target_kw - float(pledged_kw.sum())
    if missing_kw > WORTH_REPLACING * terms.promised_kw and room_kw > WATT_KW:
        wanted_kw = _replaced(fleet, wanted_kw, usable, min(missing_kw, room_kw))
        if not np.array_equal(wanted_kw, fleet.asked_kw):
            return wanted_kw
    moved_kw = _moved(fleet, usable & fleet.is_due, pledged_kw, terms)
    return np.where(moved_kw == fleet.asked_kw, wanted_kw, moved_kw)


def _replaced(fleet: Fleet, wanted_kw: FloatArray, usable: BoolArray, missing_kw: float) -> FloatArray:
    """Give a missing power to the sites with most room."""
    room_kw = np.where(usable, np.maximum(fleet.sustainable_kw - fleet.high_kw, 0.0), 0.0)
    order = np.argsort(-room_kw, kind="stable")
    within = np.cumsum(room_kw[order])
    count = min(int(np.searchsorted(within, SPREAD * missing_kw, side="left")) + 1, len(order))
    chosen = order[:count]
    more = allocate(missing_kw, fleet.sustainable_kw[chosen], ceiling_kw=room_kw[chosen], minimum_kw=WATT_KW)
    result = wanted_kw.copy()
    result[chosen] += more.power_kw
    return result


def _moved(fleet: Fleet, may_move: BoolArray, pledged_kw: FloatArray, terms: Terms) -> FloatArray:
    """Move sites towards the shares that their headroom gives them, inside both bounds."""
    asked_kw = fleet.asked_kw
    counted = fleet.is_answering & (fleet.sustainable_kw > 0.0)
    others_kw = float(pledged_kw[~counted].sum())
    shares = allocate(
        max(0.0, terms.target_kw - others_kw), np.where(counted, fleet.sustainable_kw, 0.0), minimum_kw=WATT_KW
    )
    change_kw = np.where(may_move, shares.power_kw - asked_kw, 0.0)
    change_kw[np.abs(change_kw) <= WORTH_MOVING * np.maximum(asked_kw, shares.power_kw)] = 0.0
    up_kw = float(change_kw[change_kw > 0.0].sum())
    down_kw = -float(change_kw[change_kw < 0.0].sum())
    off_kw = float(pledged_kw.sum()) - terms.target_kw
    room_up_kw = max(0.0, terms.limit_kw - float(fleet.high_kw.sum()))
    room_down_kw = max(0.0, float(fleet.low_kw.sum()) - terms.promised_kw)
    most_down_kw = min(down_kw, room_down_kw)
    most_up_kw = min(up_kw, room_up_kw, most_down_kw + max(0.0, -off_kw))
    most_down_kw = min(most_down_kw, most_up_kw + max(0.0, off_kw))
    net_kw = most_up_kw - most_down_kw
    change_kw = _scaled(change_kw, up_kw=most_up_kw, down_kw=most_down_kw)
    # What is left of a move after the bounds may be too little to be worth a message.
    change_kw[np.abs(change_kw) <= 0.2 * WORTH_MOVING * np.maximum(asked_kw, asked_kw + change_kw)] = 0.0
    # Those that fell out leave the others unbalanced: the larger side gives way, so that the sum stays what it should.
    up_kw = float(change_kw[change_kw > 0.0].sum())
    down_kw = -float(change_kw[change_kw < 0.0].sum())
    even_up_kw, even_down_kw = max(0.0, min(up_kw, down_kw + net_kw)), max(0.0, min(down_kw, up_kw - net_kw))
    return asked_kw + _scaled(change_kw, up_kw=even_up_kw, down_kw=even_down_kw)


def _scaled(change_kw: FloatArray, *, up_kw: float, down_kw: float) -> FloatArray:
    """Return changes whose increases and decreases have the given sums, each side in proportion."""
    rises, falls = change_kw > 0.0, change_kw < 0.0
    result = change_kw.copy()
    for side, sum_kw in ((rises, up_kw), (falls, down_kw)):
        whole_kw = float(np.abs(change_kw[side]).sum())
        result[side] *= sum_kw / whole_kw if whole_kw > 0.0 else 0.0
    return result
