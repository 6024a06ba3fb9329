"""Groups of sites behind feeders: shared by hand-made numbers, and what is no tree."""

from __future__ import annotations

import numpy as np
import pytest

from sites.core.feeders import FeederError, Feeders, limited_kw


def a_tree(of_site: list[int], parent: list[int], limits: list[float]) -> Feeders:
    kw = np.array(limits)
    return Feeders(np.array(of_site, dtype=np.intp), np.array(parent, dtype=np.intp), kw, kw.copy())


def test_a_full_feeder_is_shared_by_what_its_sites_can_give():
    # 60 kW for 20 + 40 + 60: half of each; the site outside gives all.
    feeders = a_tree([0, 0, 0, -1], [-1], [60.0])
    assert limited_kw(np.array([20.0, 40.0, 60.0, 7.0]), feeders, 1) == pytest.approx([10.0, 20.0, 30.0, 7.0])


def test_a_group_inside_a_group_counts_with_what_it_can_reach():
    # The inner feeder reaches 30 of 60. The transformer's 50 goes by weights 60 : 40, the inner one up to its 30.
    feeders = a_tree([1, 1, 0], [-1, 0], [50.0, 30.0])
    assert limited_kw(np.array([30.0, 30.0, 40.0]), feeders, 1) == pytest.approx([15.0, 15.0, 20.0])


def test_what_a_full_inner_feeder_leaves_goes_to_the_others():
    # By weights the inner one would get 54 of 90, but it reaches 10: the other gives all its 40.
    feeders = a_tree([1, 0], [-1, 0], [90.0, 10.0])
    assert limited_kw(np.array([60.0, 40.0]), feeders, 1) == pytest.approx([10.0, 40.0])


def test_what_is_taken_counts_in_every_group_above():
    feeders = a_tree([1, 0], [-1, 0], [50.0, 30.0]).less(np.array([10.0, 5.0]), 1)
    assert feeders.up_kw.tolist() == [35.0, 20.0]
    assert feeders.down_kw.tolist() == [50.0, 30.0]


def test_both_ways_the_smaller_limit_counts():
    feeders = Feeders(np.array([0], dtype=np.intp), np.array([-1], dtype=np.intp), np.array([8.0]), np.array([3.0]))
    assert [limited_kw(np.array([10.0]), feeders, sign)[0] for sign in (1, -1, 0)] == [8.0, 3.0, 3.0]


def test_a_group_inside_itself_is_refused():
    with pytest.raises(FeederError, match="inside itself"):
        limited_kw(np.array([1.0]), a_tree([0], [1, 0], [1.0, 1.0]), 1)


@pytest.mark.parametrize(("of_site", "parent"), [([2], [-1]), ([-2], [-1]), ([0], [1])])
def test_a_group_that_is_not_there_is_refused(of_site, parent):
    with pytest.raises(FeederError, match="accepted: -1 to 0"):
        a_tree(of_site, parent, [1.0])
