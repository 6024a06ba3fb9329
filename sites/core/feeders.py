"""Groups of sites behind one feeder or transformer: what they may give together, shared fairly; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.allocation import FloatArray, allocate

IntArray = npt.NDArray[np.intp]

NONE: Final = -1
"""Index of no group."""


class FeederError(ValueError):
    """Groups that are no tree, or an index of a group that is not there."""


@dataclass(frozen=True)
class Feeders:
    """Groups as a tree: each site stands in one at most, each group in one at most.

    A tree, so that what all sites may give together never falls when one of them can give more.
    """

    of_site: IntArray
    """The group that a site stands in, shape [sites]; -1: none."""
    parent: IntArray
    """The group that a group stands in, shape [groups]; -1: none."""
    up_kw: FloatArray
    """The most service power into the grid that a group's sites may give together, shape [groups] [kW, >= 0]."""
    down_kw: FloatArray
    """The same out of the grid [kW, >= 0]."""

    def __post_init__(self) -> None:
        groups = self.parent.size
        for name, index in (("of_site", self.of_site), ("parent", self.parent)):
            if index.size and not (index.min() >= NONE and index.max() < groups):
                raise FeederError(f"{name} holds {index.min()} to {index.max()}, accepted: {NONE} to {groups - 1}")
        if self.up_kw.size != groups or self.down_kw.size != groups:
            raise FeederError(f"{self.up_kw.size} and {self.down_kw.size} limits, accepted: {groups} each, one a group")

    @cached_property
    def deepest_first(self) -> list[int]:
        """The groups, each before the one that it stands in; raises FeederError for a group inside itself."""
        depth = np.zeros(self.parent.size, dtype=np.intp)
        above = self.parent.copy()
        while (above != NONE).any():
            depth[above != NONE] += 1
            if depth.size and depth.max() > self.parent.size:
                raise FeederError("a feeder group stands inside itself, accepted: a tree of groups")
            above = np.where(above != NONE, self.parent[above], NONE)
        return [int(group) for group in np.argsort(-depth, kind="stable")]

    def limits_kw(self, sign: int) -> FloatArray:
        """Return the groups' limits for service into the grid (+1), out of it (-1) or both ways (0) [kW]."""
        if sign == 0:
            return np.minimum(self.up_kw, self.down_kw)
        return self.up_kw if sign > 0 else self.down_kw

    def less(self, power_kw: FloatArray, sign: int) -> Feeders:
        """Return the groups with what is left beside a power of each site, shape [sites] [kW, >= 0]."""
        if not self.parent.size:
            return self
        taken_kw = np.zeros(self.parent.size)
        grouped = self.of_site != NONE
        np.add.at(taken_kw, self.of_site[grouped], power_kw[grouped])
        for group in self.deepest_first:
            if self.parent[group] != NONE:
                taken_kw[self.parent[group]] += taken_kw[group]
        up_kw = np.maximum(self.up_kw - taken_kw, 0.0) if sign >= 0 else self.up_kw
        down_kw = np.maximum(self.down_kw - taken_kw, 0.0) if sign <= 0 else self.down_kw
        return replace(self, up_kw=up_kw, down_kw=down_kw)


def no_feeders(sites: int) -> Feeders:
    """Return what stands for sites in no group."""
    return Feeders(np.full(sites, NONE, dtype=np.intp), np.empty(0, dtype=np.intp), np.empty(0), np.empty(0))


def limited_kw(power_kw: FloatArray, feeders: Feeders, sign: int) -> FloatArray:
    """Return what each site may give of its power, shape [sites] [kW, >= 0], so that every group keeps to its limit.

    Under a limit that binds, the sites of a group give the same part of their power; a group inside it counts there
    with the power of its sites, up to its own limit. As much as the limits allow is given.
    """
    if not feeders.parent.size:
        return power_kw
    given_kw = power_kw.copy()
    groups = feeders.parent.size
    limit_kw = feeders.limits_kw(sign)
    # Summed from sorted values, so that rounding does not depend on the order of the sites.
    order = np.argsort(feeders.of_site, kind="stable")
    bounds = np.searchsorted(feeders.of_site[order], np.arange(groups + 1))
    sites = [order[bounds[group] : bounds[group + 1]] for group in range(groups)]
    inside: list[list[int]] = [[] for _ in range(groups)]
    weight_kw = np.array([float(np.sum(np.sort(power_kw[members]))) for members in sites])
    reach_kw = weight_kw.copy()
    for group in feeders.deepest_first:
        reach_kw[group] = min(reach_kw[group], limit_kw[group])
        if (above := feeders.parent[group]) != NONE:
            inside[above].append(group)
            weight_kw[above] += weight_kw[group]
            reach_kw[above] += reach_kw[group]
    share_kw = reach_kw.copy()
    for group in reversed(feeders.deepest_first):
        members, children = sites[group], np.array(inside[group], dtype=np.intp)
        ceiling_kw = np.concatenate((power_kw[members], reach_kw[children]))
        weights = np.concatenate((power_kw[members], weight_kw[children]))
        part = allocate(float(share_kw[group]), weights, ceiling_kw=ceiling_kw).power_kw
        given_kw[members] = part[: members.size]
        share_kw[children] = part[members.size :]
    return given_kw
