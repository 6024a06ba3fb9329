"""What a study may let happen to the grid: each disturbance at its sample, on its phases, on its site."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.closed_loop import ClosedLoop
from sites.edge.studies.disturbances import EN_50160_MIX

FLEET = synthetic_fleet(10, 3)
CABINET = dataclasses.replace(FLEET[0], noise_pu=0.0, fifth_harmonic_pu=0.0, meter_bias_hz=0.0, grid_voltage_pu=1.0)
TELECOM = dataclasses.replace(FLEET[2], noise_pu=0.0, fifth_harmonic_pu=0.0, meter_bias_hz=0.0)
AT = 400

Seen = npt.NDArray[np.float64]


def recorded(loop: ClosedLoop, samples: int, field: str = "u", index: int = 0) -> Seen:
    """Advance by single samples and return one field of the three phases [samples, 3]."""
    seen = np.empty((samples, 3))
    for n in range(samples):
        loop.advance(np.full(1, 50.0))
        seen[n] = loop._phases[field][index]
    return seen


def change(disturb: str, samples: int = 200, **figures: object) -> Seen:
    """What one disturbance at ``AT`` changes at the utility side of the switch, from ``AT`` on [samples, 3]."""
    calm, hit = ClosedLoop([CABINET], seed=1), ClosedLoop([CABINET], seed=1)
    getattr(hit, disturb)(0, at_sample=AT, **figures)
    before = np.full(AT, 50.0)
    calm.advance(before)
    hit.advance(before)
    return recorded(hit, samples) - recorded(calm, samples)


def peaks(values: Seen) -> Seen:
    return np.asarray(np.abs(values).max(axis=0))


def test_some_poles_of_the_feeder_open_and_the_others_carry_on() -> None:
    loop = ClosedLoop([CABINET, CABINET], seed=1)
    loop.open_feeder(0, AT, phases=(1,))
    loop.advance(np.full(AT + 110, 50.0))
    assert loop._phases["breaker_closed"].tolist() == [[1, 0, 1], [1, 1, 1]]
    loop.close_feeder(0, AT + 120, phases=(1,))
    loop.advance(np.full(20, 50.0))
    assert loop._phases["breaker_closed"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_breakers_pole_goes_out_at_its_current_zero_and_not_before() -> None:
    loop = ClosedLoop([CABINET], seed=1)
    loop.open_feeder(0, AT)
    loop.advance(np.full(AT, 50.0))
    current = recorded(loop, 120, "i_grid")
    for phase in current.T:
        last = np.flatnonzero(phase)[-1]
        assert abs(phase[last]) < 0.1 * np.abs(current).max()
        assert np.all(phase[last + 1 :] == 0.0)


@pytest.mark.parametrize("residual_pu", [(0.5, 0.5, 0.5), (1.0, 0.4, 1.0), (1.2, 1.2, 1.2)])
def test_a_sag_or_swell_sets_each_phases_source_and_ends(residual_pu: tuple[float, ...]) -> None:
    loop = ClosedLoop([CABINET], seed=1)
    loop.sag(0, AT, residual_pu=residual_pu, until_sample=AT + 100)
    loop.advance(np.full(AT + 1, 50.0))
    assert loop._phases["level"].tolist() == [list(residual_pu)]
    loop.advance(np.full(98, 50.0))
    assert loop._phases["level"].tolist() == [list(residual_pu)]
    loop.advance(np.full(2, 50.0))
    assert loop._phases["level"].tolist() == [[1.0, 1.0, 1.0]]


def test_a_jump_of_one_phase_leaves_the_others() -> None:
    seen = change("jump_phase", angle_rad=np.radians(59.0), phases=(2,), samples=5)
    assert peaks(seen)[2] > 0.2
    # The others feel it through the controller only.
    assert max(peaks(seen)[:2]) < 0.05


def test_a_jump_of_all_phases_turns_the_sources_phasor() -> None:
    calm, hit = ClosedLoop([CABINET], seed=1), ClosedLoop([CABINET], seed=1)
    hit.jump_phase(0, np.radians(-20.0), AT)
    for loop in (calm, hit):
        loop.advance(np.full(AT + 10, 50.0))
    angle = [np.arctan2(loop._p["sin_g"][0], loop._p["cos_g"][0]) for loop in (calm, hit)]
    assert np.degrees(angle[1] - angle[0]) == pytest.approx(-20.0, abs=1e-6)


def test_the_harmonics_of_the_source_have_the_asked_size_and_sequence() -> None:
    loop = ClosedLoop([dataclasses.replace(CABINET, short_circuit_ratio=100.0)], seed=1)
    loop.harmonics(0, 0, **EN_50160_MIX)
    loop.advance(np.full(2_000, 50.0))
    wave = recorded(loop, 200)
    axes = wave @ np.exp(2j * np.pi * np.arange(3) / 3.0) * (2.0 / 3.0)
    spectrum = np.fft.fft(axes) / len(axes)
    found = {order: abs(spectrum[order]) for order in (-5, 7, -11, 13, 5, -7, 11, -13)}
    # At a stiff grid the terminals show the source, but for the resonance of its line with the filter.
    for order, name in ((-5, "h5"), (7, "h7"), (-11, "h11"), (13, "h13")):
        assert found[order] == pytest.approx(EN_50160_MIX[name], rel=0.25)
    assert max(found[order] for order in (5, -7, 11, -13)) < 1e-3
    assert np.sqrt(sum(share**2 for share in EN_50160_MIX.values())) == pytest.approx(0.08, abs=1e-4)


@pytest.mark.parametrize("ring_hz", [300.0, 500.0, 900.0])
def test_a_capacitor_bank_rings_and_is_quiet_within_a_cycle(ring_hz: float) -> None:
    seen = change("switch_capacitor", ring_hz=ring_hz, height_pu=0.5, samples=300)
    assert 0.1 < peaks(seen[:60]).max() < 1.2
    assert peaks(seen[200:]).max() < 0.05
    # It begins with a fall of the voltage: against the wave of that phase.
    assert seen[1, 0] < 0.0


def test_a_motor_start_sags_and_recovers() -> None:
    loop = ClosedLoop([CABINET], seed=1)
    loop.start_motor(0, AT, residual_pu=0.85, recovery_s=0.05)
    loop.advance(np.full(AT + 1, 50.0))
    assert loop._p["dip_pu"][0] == pytest.approx(0.15, rel=0.01)
    loop.advance(np.full(500, 50.0))
    assert loop._p["dip_pu"][0] == pytest.approx(0.15 * np.exp(-1.0), rel=0.01)
    loop.advance(np.full(2_500, 50.0))
    assert loop._p["disturbed"][0] == 0


def test_flicker_swings_by_its_depth_and_ends() -> None:
    seen = change("flicker", depth_pu=0.1, modulation_hz=10.0, until_sample=AT + 1_000, samples=1_400)
    assert 0.03 < peaks(seen[:1_000]).max() < 0.06
    assert peaks(seen[1_300:]).max() < 0.005


def test_notches_come_twice_a_cycle_in_each_phase() -> None:
    seen = change("notches", depth_pu=0.4, width_s=400e-6, until_sample=AT + 400, samples=400)
    for phase in np.abs(seen).T:
        deep = phase > 0.5 * phase.max()
        starts = np.count_nonzero(deep[1:] & ~deep[:-1])
        assert 3 <= starts <= 8  # Two cycles, four notches; the filter's ring may part one.
    assert peaks(seen).min() > 0.1


def test_an_impulse_lasts_its_width_on_its_phase() -> None:
    seen = change("impulse", height_pu=1.0, width_s=100e-6, phases=(1,), samples=100)
    # The grid's impedance and the filter's capacitor leave a fifth of it.
    assert 0.1 < peaks(seen[:2])[1] < 0.3
    assert peaks(seen)[[0, 2]].max() < 0.02
    assert peaks(seen[80:]).max() < 0.05


def test_noise_widens_what_the_sensors_show_and_nothing_else() -> None:
    quiet, noisy = ClosedLoop([CABINET], seed=1), ClosedLoop([CABINET], seed=1)
    noisy.voltage_noise(0, 0, half_width_pu=0.02)
    for loop in (quiet, noisy):
        loop.advance(np.full(1, 50.0))
    assert noisy._phases["v"][0, 0] == quiet._phases["v"][0, 0]
    assert 0.0 < abs(noisy._m["va"][0] - quiet._m["va"][0]) <= 0.02


@pytest.mark.parametrize(("phases", "to_earth"), [((0,), True), ((0, 1), False), ((0, 1), True), ((0, 1, 2), False)])
@pytest.mark.parametrize("where", ["feeder", "bus"])
def test_a_fault_pulls_its_phases_down_until_each_current_zero(
    phases: tuple[int, ...], to_earth: bool, where: str
) -> None:
    loop = ClosedLoop([CABINET], seed=1)
    loop.fault(0, AT, phases=phases, to_earth=to_earth, resistance_pu=0.005, cleared_at_sample=AT + 200, where=where)
    loop.advance(np.full(AT, 50.0))
    field = "u" if where == "feeder" else "v"
    current, voltage = np.empty((600, 3)), np.empty((600, 3))
    for n in range(600):
        loop.advance(np.full(1, 50.0))
        current[n] = loop._phases["i_fault"][0]
        voltage[n] = loop._phases[field][0]
    burning = current[:199]
    healthy = [k for k in range(3) if k not in phases]
    assert np.all(burning[:, healthy] == 0.0)
    if not to_earth:
        # What flows in by one phase flows out by the others.
        assert np.abs(burning.sum(axis=1)).max() < 1e-9 * np.abs(burning).max()
        between = voltage[:199, phases[0]] - voltage[:199, phases[1]]
        assert np.abs(between).max() < 0.3
    else:
        assert np.abs(voltage[:199, list(phases)]).max() < 0.2
    assert np.all(current[400:] == 0.0)
    assert loop._p["fault_where"][0] == 0
    for phase in phases:
        last = np.flatnonzero(current[:, phase])[-1]
        assert last >= 199
        assert abs(current[last, phase]) < 0.35 * np.abs(current[:, phase]).max()


def test_a_fault_on_the_bus_of_an_island_is_fed_with_the_converters_limited_current() -> None:
    loop = ClosedLoop([CABINET], seed=1)
    loop.open_feeder(0, AT)
    loop.fault(0, 3_000, phases=(0, 1, 2), to_earth=True, resistance_pu=0.01, where="bus")
    loop.advance(np.full(3_000, 50.0))
    assert loop.measured()["mode"][0] == 2
    current = recorded(loop, 400, "i_filter")
    assert peaks(current[100:]).min() > 0.9
    assert peaks(current[20:]).max() < 1.6
    loop.advance(np.full(15_000, 50.0))
    assert loop.alarm(0) == "islanded: bus_fault"


@pytest.mark.parametrize("to_earth", [True, False])
def test_registers_add_up_to_zero_through_a_fault_on_the_bus(to_earth: bool) -> None:
    loop = ClosedLoop([CABINET], seed=1)
    loop.fault(0, 1_000, phases=(0, 2), to_earth=to_earth, resistance_pu=0.02, cleared_at_sample=2_000, where="bus")
    loop.advance(np.full(5_000, 50.0))
    registers = loop.registers()[0]
    names = ("pcc", "battery", "pv", "genset", "load")
    net = sum(registers[f"{name}_into_j"] - registers[f"{name}_from_j"] for name in names)
    gross = sum(registers[f"{name}_into_j"] + registers[f"{name}_from_j"] for name in names)
    assert abs(net) <= 1e-9 * gross


def test_a_stuck_pole_holds_the_switch_and_a_pole_may_open_by_itself() -> None:
    loop = ClosedLoop([dataclasses.replace(CABINET, switch_kind="sic")] * 2, seed=1)
    loop.stick_pole(0, 0, phases=(1,))
    loop.open_feeder(0, AT)
    loop.open_pole(1, AT, phases=(2,))
    loop.advance(np.full(AT + 1, 50.0))
    assert loop._phases["switch_closed"][1].tolist() == [1, 1, 0]
    loop.advance(np.full(3_000, 50.0))
    assert loop._phases["switch_closed"][0].tolist() == [0, 1, 0]
    assert loop.alarm(0) == "islanding: switch_stuck"


def test_hundreds_of_sites_carry_schedules_of_their_own() -> None:
    loop = ClosedLoop([TELECOM] * 150 + [CABINET] * 150, seed=1)
    for index in range(300):
        for n in range(7):
            loop.sag(index, 10 + index + 40 * n, residual_pu=(0.95,) * 3, until_sample=30 + index + 40 * n)
    loop.advance(np.full(200, 50.0))
    low = loop._phases["level"][:, 0] == 0.95
    since = 199 - 10 - np.arange(300)
    assert np.array_equal(low, (since >= 0) & (since % 40 < 20))
    loop.advance(np.full(600, 50.0))
    assert np.all(loop._phases["level"] == 1.0)


def test_a_disturbance_on_a_phase_that_is_not_there_is_left_aside() -> None:
    loop = ClosedLoop([TELECOM], seed=1)
    loop.open_feeder(0, 10, phases=(1, 2))
    loop.advance(np.full(300, 50.0))
    assert loop._phases["breaker_closed"][0, 0] == 1


def test_what_cannot_be_is_refused_by_name() -> None:
    loop = ClosedLoop([TELECOM], seed=1)
    with pytest.raises(ValueError, match="site index is 1, accepted: 0 to 0"):
        loop.open_feeder(1, 0)
    with pytest.raises(ValueError, match=r"phases is \(3,\), accepted"):
        loop.open_feeder(0, 0, phases=(3,))
    with pytest.raises(ValueError, match="where is 'sky', accepted: feeder, bus"):
        loop.fault(0, 0, phases=(0,), to_earth=True, resistance_pu=0.1, where="sky")
    with pytest.raises(ValueError, match="two or more without"):
        loop.fault(0, 0, phases=(0, 1), to_earth=False, resistance_pu=0.1)
    with pytest.raises(ValueError, match="resistance_pu is nan, accepted"):
        loop.fault(0, 0, phases=(0,), to_earth=True, resistance_pu=float("nan"))
    with pytest.raises(ValueError, match="ends at sample 5, accepted: after its start at 5"):
        loop.sag(0, 5, residual_pu=(0.5, 1.0, 1.0), until_sample=5)
    with pytest.raises(ValueError, match="residual_pu has 1 values"):
        loop.sag(0, 5, residual_pu=(0.5,), until_sample=9)
