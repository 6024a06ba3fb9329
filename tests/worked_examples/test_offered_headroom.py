"""What is sold, by hand: sum(min(headroom, usable energy / duration)) x (1 - dropout margin).

The rule and its reason: ``domain/frequency_products.md`` section 6, "sell <= sum min(...) x (1 - dropout margin), and
report both numbers". Three sites and NESO Dynamic Containment low, 15 min (0.25 h), a margin of 2 %.

======  =====================================================  =======================  ==========================
site    headroom of the converter, the connection and load     energy above reserve     min
======  =====================================================  =======================  ==========================
A       50 kW; exports up to 20 kW, load of 25 kW: 45 kW       20 kWh / 0.25 h = 80 kW  45 kW (the connection)
B       60 kW; exports up to 100 kW, load of 5 kW: 60 kW       8 kWh / 0.25 h = 32 kW   32 kW (the energy)
C       30 kW; exports nothing, load of 40 kW: 30 kW           15 kWh / 0.25 h = 60 kW  30 kW (the converter)
======  =====================================================  =======================  ==========================

Sum 107 kW, with the margin 107 x 0.98 = 104.86 kW.

A and B stand behind a feeder that takes 55 kW of service: they sustain 77 kW, so each gives 55/77 of its own,
A 45 x 55/77 = 32.142857 kW and B 32 x 55/77 = 22.857143 kW. Sum with C 85 kW, with the margin 83.3 kW.

40 kW of that are promised, over 0.98 that is 40.816327 kW of 85, shared by weight: 40.816327/85 = 0.480192 of each,
A 15.434746, B 10.975819 and C 14.405762 kW. A setpoint stream of 15 min (PJM regulation) beside it finds, upwards:
A min(45 - 15.434746, 80 - 15.434746) = 29.565254 kW, B min(60 - 10.975819, 32 - 10.975819) = 21.024181 kW and C
min(30 - 14.405762, 60 - 14.405762) = 15.594238 kW; the feeder has 55 - 26.410565 = 28.589435 kW left for A and B,
which sustain 50.589435: each 0.565127 of its own. Sum 28.589435 + 15.594238 = 44.183673 kW.
"""

from __future__ import annotations

import numpy as np
import pytest

from markets.core.headroom import Commitment, Demand, Room, behind_connection, sellable, stand
from markets.core.products import product_named
from sites.core.feeders import Feeders, no_feeders

EVERYBODY = np.ones(3, np.bool_)
PLENTY = np.full(3, 1_000.0)
MARGIN = 0.02


def the_room(feeders: Feeders) -> Room:
    up_kw, _ = behind_connection(
        np.array([50.0, 60.0, 30.0]), PLENTY,
        net_import_kw=np.array([25.0, 5.0, 40.0]), import_limit_kw=PLENTY, export_limit_kw=np.array([20.0, 100.0, 0.0]),
    )  # fmt: skip
    return Room(up_kw, PLENTY, np.array([20.0, 8.0, 15.0]), PLENTY, feeders)


def behind_one_feeder(up_kw: float) -> Feeders:
    return Feeders(np.array([0, 0, -1]), np.array([-1]), np.array([up_kw]), np.array([1_000.0]))


def a_demand(name: str) -> Demand:
    product = product_named(name)
    assert product.sustain_s == 900.0
    return Demand(product, product.sustain_s, EVERYBODY)


def test_each_site_gives_the_least_of_its_bounds() -> None:
    found = sellable(the_room(no_feeders(3)), a_demand("neso-dc-low"), margin=MARGIN)
    assert found.power_kw == pytest.approx([45.0, 32.0, 30.0])
    assert (found.gross_kw, found.net_kw) == (pytest.approx(107.0), pytest.approx(104.86))


def test_a_feeder_takes_the_same_part_of_each() -> None:
    found = sellable(the_room(behind_one_feeder(55.0)), a_demand("neso-dc-low"), margin=MARGIN)
    assert found.power_kw == pytest.approx([32.142857, 22.857143, 30.0])
    assert (found.gross_kw, found.net_kw) == (pytest.approx(85.0), pytest.approx(83.3))


def test_a_stream_beside_what_is_promised() -> None:
    room = the_room(behind_one_feeder(55.0))
    stood = stand(room, [Commitment(40.0, a_demand("neso-dc-low"))], margin=MARGIN)
    assert stood[0].power_kw == pytest.approx([15.434746, 10.975819, 14.405762], abs=1e-6)
    assert stood[0].kept_kw == 40.0
    found = sellable(room, a_demand("pjm-reg"), margin=MARGIN, beside=stood)
    assert found.gross_kw == pytest.approx(44.183673, abs=1e-5)
