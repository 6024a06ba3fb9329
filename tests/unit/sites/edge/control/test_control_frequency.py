"""The PLL's estimate, and that it is the only frequency a controller knows."""

from __future__ import annotations

import dataclasses

import numpy as np

from sites.edge.control.islanding import Controller
from sites.edge.control.kernels import records
from sites.edge.control.kernels.parameter_records import PARAMETERS
from sites.edge.plant import records as plant_records
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop, control_settings

FLEET = synthetic_fleet(5, 2)
CABINET, TELECOM = FLEET[0], FLEET[2]


def estimates(grid_hz: np.ndarray, settle_rows: int = 100) -> np.ndarray:
    """100 Hz rows of the estimate of a three-phase and a single-phase site, less the meters' own bias."""
    loop = ClosedLoop([CABINET, TELECOM], seed=1)
    loop.advance(grid_hz)
    rows = loop.drain_records()[1][settle_rows:, :, 0].astype(float)
    return rows - [CABINET.meter_bias_hz, TELECOM.meter_bias_hz]


def test_at_a_steady_frequency_the_estimate_keeps_within_2_millihertz_rms() -> None:
    error_hz = estimates(np.full(60_000, 49.8)) - 49.8
    assert np.all(np.sqrt((error_hz**2).mean(axis=0)) < 2e-3)


def test_on_a_ramp_it_lags_by_half_of_its_window_and_no_more() -> None:
    grid_hz = 50.0 - 0.2 * np.arange(40_000) / 10_000
    error_hz = estimates(grid_hz, 200) - grid_hz.reshape(-1, 100).mean(axis=1)[200:, None]
    # 50 ms: half of five windows; 5 ms: the last mean.
    assert np.all(error_hz.mean(axis=0) / 0.2 < 0.057)
    assert np.all(error_hz.mean(axis=0) / 0.2 > 0.0)


def test_a_site_sees_its_own_meters_bias_and_not_the_grids_frequency() -> None:
    """Grid 49.99 Hz read 10 mHz too high and grid 50 Hz read right are the same samples."""
    fast = dataclasses.replace(CABINET, meter_bias_hz=0.01)
    true = dataclasses.replace(CABINET, meter_bias_hz=0.0)
    one, other = ClosedLoop([fast], seed=1), ClosedLoop([true], seed=1)
    one.advance(np.full(20_000, 49.99))
    other.advance(np.full(20_000, 50.0))
    np.testing.assert_allclose(one.drain_records()[1][:, 0, 0], other.drain_records()[1][:, 0, 0], atol=1e-4)


def test_the_controller_alone_gives_bit_identical_outputs_on_the_same_samples() -> None:
    """Replay a closed loop's samples through a controller that has no plant beside it at all."""
    loop = ClosedLoop([CABINET], seed=1)
    alone = Controller(control_settings(CABINET, 10_000))
    for n in range(3000):
        loop.advance(np.array([50.0 - 0.4 * (n > 1000)]))
        alone.step(loop._m.copy())
        assert loop._c.tobytes() == alone.state.tobytes(), f"sample {n}"


def test_no_field_of_the_plant_stands_in_the_controllers_records() -> None:
    hidden = {"cos_g", "sin_g", "bias_rad_s", "random", "event_at", "breaker_closed", "i_grid"}
    plant = set(plant_records.PLANT.names) | set(plant_records.PHASE.names) | set(plant_records.PLANT_PARAMETERS.names)
    assert hidden <= plant
    for record in (records.SAMPLES, PARAMETERS, records.STATE):
        assert not hidden & set(record.names)
