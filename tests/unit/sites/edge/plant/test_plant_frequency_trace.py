"""The recorded frequency of Great Britain on 9 August 2019."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sites.edge.plant.frequency import load_gb_trace, trace_from_text

SHARED = Path(__file__).parents[6] / "shared/data/frequency/gb_20190809_digitised_1s.csv"


def test_the_packaged_table_holds_the_first_fall() -> None:
    trace = load_gb_trace()
    assert len(trace.t_s) == 149
    assert (trace.t_s[0], trace.t_s[-1]) == (-114.0, 34.0)
    assert 49.08 < trace.f_hz.min() < 49.1
    assert "9 August 2019" in trace.source


def test_between_two_figures_it_is_linear_and_beyond_the_ends_it_stands() -> None:
    trace = trace_from_text("# a source\nt_s,f_hz\n0,50.0\n1,49.8\n")
    np.testing.assert_allclose(trace.at(np.array([-5.0, 0.25, 1.0, 9.0])), [50.0, 49.95, 49.8, 49.8])


@pytest.mark.parametrize("rows", ["0,50\n0,50\n", "0,50\n1,5\n", ""])
def test_a_table_that_is_no_recording_is_refused(rows: str) -> None:
    with pytest.raises(ValueError, match="frequency table"):
        trace_from_text("t_s,f_hz\n" + rows)


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.exists(), reason="the measured recordings are not beside the checkout")
def test_it_holds_the_figures_of_the_recording() -> None:
    expected = np.loadtxt(SHARED, delimiter=",", comments="#", skiprows=2)
    trace = load_gb_trace()
    np.testing.assert_array_equal(np.column_stack((trace.t_s, trace.f_hz)), expected)
