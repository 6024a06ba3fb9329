"""Rows and blocks of the meters: whatever flows, own use, curve and stream are the battery's meter, each way apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.edge.control.exchange import RECORD_COLUMNS
from sites.edge.control.kernels import modes, records
from sites.edge.plant.records import METERS, PLANT, PLANT_PARAMETERS
from sites.edge.studies.fleet_step import ROWS_PER_BLOCK, close_block, write_row

TICKS = 100
BASE_W = 50_000.0


@dataclass(frozen=True)
class Row:
    """What a row of 10 ms finds."""

    battery_pu: float
    baseline_pu: float
    stream_pu: float
    is_armed: bool
    is_tied: bool


rows_of = st.builds(
    Row, st.floats(-1.5, 1.5), st.floats(-0.5, 0.5), st.floats(-1.0, 1.0), st.booleans(), st.booleans()
)  # fmt: skip


def metered(rows: list[Row]) -> tuple[np.void, np.ndarray]:
    """Return the meters after whole blocks of rows, and the record."""
    g, p, c, m, w = (
        np.zeros(1, dtype)[0] for dtype in (PLANT_PARAMETERS, PLANT, records.STATE, records.SAMPLES, METERS)
    )
    g["base_w"], g["dt_s"], g["phases"] = BASE_W, 1e-4, 3
    out = np.zeros((len(rows), len(RECORD_COLUMNS)))
    # The kernels' own source, without the compiler.
    write, close = (getattr(kernel, "py_func", kernel) for kernel in (write_row, close_block))
    for number, row in enumerate(rows):
        sample = (number + 1) * TICKS
        c["mode"] = modes.GRID_TIED if row.is_tied else modes.ISLANDED
        m["poles_closed"] = 3 if row.is_tied else 0
        c["armed"], c["armed_starts"], c["armed_ends"] = int(row.is_armed), 0, 10**9
        c["baseline_pu"], c["stream_given_pu"] = row.baseline_pu, row.stream_pu
        w["row"][1] = row.battery_pu * TICKS
        write(g, p, c, m, w, out[number], TICKS, sample, row.battery_pu * BASE_W, 0.0)
        if (number + 1) % ROWS_PER_BLOCK == 0:
            close(g, w, ROWS_PER_BLOCK * TICKS)
    return w, out


@given(st.lists(rows_of, min_size=ROWS_PER_BLOCK, max_size=3 * ROWS_PER_BLOCK).map(lambda r: r[: len(r) // 10 * 10]))
def test_own_use_curve_and_stream_are_the_battery_s_meter(rows: list[Row]) -> None:
    w, out = metered(rows)
    row_s = TICKS * 1e-4
    battery_j = w["into_j"][1] - w["from_j"][1]
    services_j = w["service_into_j"] - w["service_from_j"] + w["stream_into_j"] - w["stream_from_j"]
    own_j = 0.0
    for row in rows:
        # Alone everything is own use; beside a curve the declared baseline; else what no stream moved.
        stream_pu = row.stream_pu if row.is_tied else 0.0
        own_pu = row.baseline_pu if row.is_armed and row.is_tied else row.battery_pu - stream_pu
        own_j += own_pu * BASE_W * row_s
    assert services_j + own_j == pytest.approx(battery_j, rel=1e-9, abs=1e-6)
    for register in ("service", "stream"):
        assert w[f"{register}_into_j"] >= 0.0
        assert w[f"{register}_from_j"] >= 0.0
    # And the record tells the same, row by row.
    battery_kw, stream_kw = (out[:, RECORD_COLUMNS.index(name)] for name in ("battery_kw", "stream_kw"))
    assert battery_kw == pytest.approx([row.battery_pu * BASE_W / 1e3 for row in rows])
    assert stream_kw.sum() * row_s * 1e3 == pytest.approx(w["stream_into_j"] - w["stream_from_j"], rel=1e-9, abs=1e-6)


@given(st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=6), st.floats(-1.0, 1.0))
def test_each_way_counts_for_itself_so_that_a_mean_of_zero_is_not_nothing(blocks: list[float], curve_pu: float) -> None:
    rows = [
        Row(way * power_pu + curve_pu, 0.0, way * power_pu, True, True)
        for power_pu in blocks
        for way in (1.0, -1.0)
        for _ in range(ROWS_PER_BLOCK)
    ]
    w, _ = metered(rows)
    block_s = ROWS_PER_BLOCK * TICKS * 1e-4
    moved_j = sum(abs(power_pu) for power_pu in blocks) * BASE_W * block_s
    assert (w["stream_into_j"], w["stream_from_j"]) == (pytest.approx(moved_j), pytest.approx(moved_j))
    # The curve beside it is what it is without the stream, one way.
    curve_j = 2 * len(blocks) * curve_pu * BASE_W * block_s
    assert w["service_into_j"] == pytest.approx(max(curve_j, 0.0), abs=1e-6)
    assert w["service_from_j"] == pytest.approx(max(-curve_j, 0.0), abs=1e-6)
