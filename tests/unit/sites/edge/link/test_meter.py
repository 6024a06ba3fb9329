"""Intervals add up to the register, whatever restarts between them."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sites.core.readings import Quality, TimeQuality
from sites.core.units import uwh_from_joule
from sites.edge.control.exchange import CURVE, REGISTER_DTYPE, STREAM, ServiceBegin
from sites.edge.link.meter import MAX_SERVED, ClosedInterval, Meter

SECOND = 1_000_000


def registers(**values: float) -> np.void:
    row = np.zeros(1, REGISTER_DTYPE)
    for name, value in values.items():
        row[name] = value
    return row[0]


def a_meter() -> Meter:
    return Meter(["pcc", "battery"], 60)


def test_the_first_interval_is_short_and_signs_stay_apart() -> None:
    closed = a_meter().close(
        epoch_us=90 * SECOND,
        at_us=120 * SECOND,
        registers=registers(battery_into_j=3600.0, battery_from_j=7200.0, service_into_j=360.0, service_from_j=3600.0),
    )
    battery = next(interval for interval in closed if interval.asset == "battery")
    assert (battery.starts_at_ms, battery.ends_at_ms) == (90_000, 120_000)
    assert (battery.into_bus_uwh, battery.from_bus_uwh) == (1_000_000, 2_000_000)
    assert (battery.service_into_uwh, battery.service_from_uwh) == (100_000, 1_000_000)
    assert battery.quality is Quality.GOOD


def test_a_boundary_is_closed_once() -> None:
    meter = a_meter()
    assert meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers())
    assert meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers()) == []


def test_a_lost_boundary_makes_one_long_questionable_interval() -> None:
    meter = a_meter()
    meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers())
    closed = meter.close(epoch_us=1, at_us=180 * SECOND, registers=registers(pcc_into_j=3600.0))
    assert [(i.starts_at_ms, i.ends_at_ms, i.quality) for i in closed] == [
        (60_000, 180_000, Quality.QUESTIONABLE),
        (60_000, 180_000, Quality.QUESTIONABLE),
    ]


def test_registers_go_on_over_a_restart_of_the_controller() -> None:
    meter = a_meter()
    meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers(pcc_into_j=7200.0))
    again = a_meter()
    again.restore(meter.to_bytes())
    pcc, _ = again.close(epoch_us=70 * SECOND, at_us=120 * SECOND, registers=registers(pcc_into_j=3600.0))
    assert (pcc.starts_at_ms, pcc.into_bus_uwh, pcc.register_into_uwh) == (70_000, 1_000_000, 3_000_000)


def test_an_old_boundary_read_again_after_a_restart_changes_nothing() -> None:
    meter = a_meter()
    meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers(pcc_into_j=3600.0))
    meter.close(epoch_us=70 * SECOND, at_us=120 * SECOND, registers=registers(pcc_into_j=3600.0))
    assert meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers(pcc_into_j=3600.0)) == []
    pcc, _ = meter.close(epoch_us=70 * SECOND, at_us=180 * SECOND, registers=registers(pcc_into_j=7200.0))
    assert pcc.into_bus_uwh == 1_000_000


def test_a_register_that_is_no_number_waits_for_the_next_boundary() -> None:
    meter = a_meter()
    assert meter.close(epoch_us=1, at_us=60 * SECOND, registers=registers(pcc_into_j=float("nan"))) == []
    pcc, _ = meter.close(epoch_us=1, at_us=120 * SECOND, registers=registers(pcc_into_j=3600.0))
    assert (pcc.starts_at_ms, pcc.into_bus_uwh) == (0, 1_000_000)


@given(st.lists(st.floats(0.0, 1e9), min_size=1, max_size=200))
def test_intervals_add_up_to_the_register_exactly(steps_j: list[float]) -> None:
    meter = a_meter()
    total_j, booked_uwh = 0.0, 0
    for minute, step_j in enumerate(steps_j, start=1):
        total_j += step_j
        pcc, _ = meter.close(epoch_us=0, at_us=minute * 60 * SECOND, registers=registers(pcc_into_j=total_j))
        booked_uwh += pcc.into_bus_uwh
        assert pcc.register_into_uwh == booked_uwh == uwh_from_joule(total_j)


WH = 3600.0
MINUTE = 60 * SECOND


def battery_of(closed: list[ClosedInterval]) -> ClosedInterval:
    (battery,) = [interval for interval in closed if interval.asset == "battery"]
    return battery


def begin(dispatch_id: str, at_us: int, into_wh: float = 0.0, from_wh: float = 0.0, epoch_us: int = 0) -> ServiceBegin:
    return ServiceBegin(0, epoch_us, at_us, dispatch_id, into_wh * WH, from_wh * WH)


class TestWhoseServiceItWas:
    def test_two_dispatches_share_a_minute(self) -> None:
        meter = a_meter()
        meter.begin_service(begin("DC-1", 10 * SECOND))
        meter.begin_service(begin("DC-2", 40 * SECOND, into_wh=5.0, from_wh=1.0))
        first = battery_of(
            meter.close(epoch_us=0, at_us=MINUTE, registers=registers(service_into_j=7 * WH, service_from_j=4 * WH))
        )
        assert first.services == (("DC-1", 5_000_000, 1_000_000), ("DC-2", 2_000_000, 3_000_000))
        assert (first.service_into_uwh, first.service_from_uwh) == (7_000_000, 4_000_000)
        # The last one goes on being served, also after its arming was repeated.
        second = battery_of(
            meter.close(epoch_us=0, at_us=2 * MINUTE, registers=registers(service_into_j=8 * WH, service_from_j=4 * WH))
        )
        assert second.services == (("DC-2", 1_000_000, 0),)

    def test_a_minute_without_service_names_nobody(self) -> None:
        meter = a_meter()
        meter.begin_service(begin("DC-1", 10 * SECOND))
        assert battery_of(meter.close(epoch_us=0, at_us=MINUTE, registers=registers())).services == ()

    def test_it_is_known_after_a_restart_and_an_old_beginning_read_again_changes_nothing(self) -> None:
        meter = a_meter()
        meter.begin_service(begin("DC-1", 10 * SECOND))
        meter.close(epoch_us=0, at_us=MINUTE, registers=registers(service_into_j=1 * WH))
        meter.begin_service(begin("DC-2", 70 * SECOND, into_wh=2.0))
        again = a_meter()
        again.restore(meter.to_bytes())
        for old in (begin("DC-1", 10 * SECOND), begin("DC-2", 70 * SECOND, into_wh=2.0)):
            again.begin_service(old)
        closed = battery_of(again.close(epoch_us=0, at_us=2 * MINUTE, registers=registers(service_into_j=4 * WH)))
        assert closed.services == (("DC-1", 1_000_000, 0), ("DC-2", 2_000_000, 0))

    def test_beyond_its_bound_the_sum_still_tells_all(self) -> None:
        meter = a_meter()
        for number in range(MAX_SERVED + 4):
            meter.begin_service(begin(f"DC-{number}", (number + 1) * SECOND, into_wh=float(number)))
        total = registers(service_into_j=(MAX_SERVED + 4) * WH)
        closed = battery_of(meter.close(epoch_us=0, at_us=MINUTE, registers=total))
        assert len(closed.services) == MAX_SERVED
        assert closed.service_into_uwh == (MAX_SERVED + 4) * 1_000_000

    @given(
        st.lists(
            st.tuples(st.floats(0.0, 1e8), st.floats(0.0, 1e8), st.sampled_from(["", "A", "B", "C"]), st.booleans()),
            min_size=1,
            max_size=80,
        )
    )
    def test_the_parts_add_up_to_the_whole_exactly(self, steps: list[tuple[float, float, str, bool]]) -> None:
        meter, into_j, from_j, at_us = a_meter(), 0.0, 0.0, 0
        served, told = False, 0
        for into, out, dispatch_id, closes in steps:
            into_j, from_j, at_us = into_j + into, from_j + out, at_us + SECOND
            if dispatch_id:
                if not served:
                    # Nothing is served before the first dispatch begins.
                    into_j, from_j, served = 0.0, 0.0, True
                meter.begin_service(ServiceBegin(0, 0, at_us, dispatch_id, into_j, from_j))
            if closes and served:
                values = registers(service_into_j=into_j, service_from_j=from_j)
                closed = battery_of(meter.close(epoch_us=0, at_us=at_us, registers=values))
                assert sum(into for _, into, _ in closed.services) == closed.service_into_uwh
                assert sum(out for _, _, out in closed.services) == closed.service_from_uwh
                told += closed.service_into_uwh
        assert told <= uwh_from_joule(into_j)


class TestCurveBesideStream:
    def test_each_counts_in_its_own_registers_also_where_one_gives_while_the_other_takes(self) -> None:
        meter = a_meter()
        meter.begin_service(ServiceBegin(0, 0, 10 * SECOND, "DC-1", 0.0, 0.0, CURVE))
        meter.begin_service(ServiceBegin(0, 0, 10 * SECOND, "REG-1", 0.0, 0.0, STREAM))
        values = registers(service_into_j=9 * WH, stream_into_j=2 * WH, stream_from_j=5 * WH, battery_into_j=6 * WH)
        first = battery_of(meter.close(epoch_us=0, at_us=MINUTE, registers=values))
        assert first.services == (("DC-1", 9_000_000, 0), ("REG-1", 2_000_000, 5_000_000))
        assert (first.service_into_uwh, first.service_from_uwh) == (11_000_000, 5_000_000)
        # Another curve changes nothing of the stream's, and the other way round.
        meter.begin_service(ServiceBegin(0, 0, 70 * SECOND, "DC-2", 9 * WH, 0.0, CURVE))
        values = registers(service_into_j=10 * WH, stream_into_j=4 * WH, stream_from_j=5 * WH)
        second = battery_of(meter.close(epoch_us=0, at_us=2 * MINUTE, registers=values))
        assert second.services == (("DC-2", 1_000_000, 0), ("REG-1", 2_000_000, 0))

    def test_the_state_of_an_earlier_version_goes_on(self) -> None:
        state = {
            "epoch_us": 7, "closed_at_us": MINUTE, "raw": {"service_into_j": 1_000_000}, "register": {},
            "served": "DC-1", "began_at_us": 9, "former": [], "is_disturbed": False, "share": {},
            "attributed": [1_000_000, 0],
        }  # fmt: skip
        meter = a_meter()
        meter.restore(json.dumps(state).encode())
        values = registers(service_into_j=3 * WH, stream_into_j=1 * WH)
        closed = battery_of(meter.close(epoch_us=7, at_us=2 * MINUTE, registers=values))
        assert closed.services == (("DC-1", 2_000_000, 0),)
        assert closed.service_into_uwh == 3_000_000

    @given(
        st.lists(
            st.tuples(
                st.tuples(*[st.floats(0.0, 1e8)] * 4), st.sampled_from([CURVE, STREAM]),
                st.sampled_from(["", "A", "B"]), st.sampled_from(["", "close", "restart"]),
            ),
            min_size=1, max_size=60,
        )
    )  # fmt: skip
    def test_by_dispatch_both_add_up_to_their_registers_exactly(
        self, steps: list[tuple[tuple[float, ...], str, str, str]]
    ) -> None:
        meter, at_us = a_meter(), 0
        names = [f"{service}_{way}_j" for service in (CURVE, STREAM) for way in ("into", "from")]
        values = dict.fromkeys(names, 0.0)
        told: dict[str, list[int]] = {}
        begun: set[str] = set()
        for spent, service, dispatch_id, then in steps:
            at_us += SECOND
            # Nothing is served before its first dispatch begins.
            for name, energy_j in zip(names, spent, strict=True):
                values[name] += energy_j if name.partition("_")[0] in begun else 0.0
            if dispatch_id:
                into_j, from_j = (values[f"{service}_{way}_j"] for way in ("into", "from"))
                meter.begin_service(ServiceBegin(0, 0, at_us, f"{service}-{dispatch_id}", into_j, from_j, service))
                begun.add(service)
            if then == "restart":
                kept = meter.to_bytes()
                meter = a_meter()
                meter.restore(kept)
            elif then == "close":
                closed = battery_of(meter.close(epoch_us=0, at_us=at_us, registers=registers(**values)))
                for name, into, out in closed.services:
                    own = told.setdefault(name.partition("-")[0], [0, 0])
                    own[0] += into
                    own[1] += out
                assert sum(into for _, into, _ in closed.services) == closed.service_into_uwh
                assert sum(out for _, _, out in closed.services) == closed.service_from_uwh
        at_us += SECOND
        for name, into, out in battery_of(meter.close(epoch_us=0, at_us=at_us, registers=registers(**values))).services:
            own = told.setdefault(name.partition("-")[0], [0, 0])
            own[0] += into
            own[1] += out
        for service in (CURVE, STREAM):
            whole = [uwh_from_joule(values[f"{service}_{way}_j"]) for way in ("into", "from")]
            assert told.get(service, [0, 0]) == whole


class TestClockSteps:
    """Each step needs a new controller, for a running one does not see it; energy and numbers go on."""

    def test_back_a_little_makes_one_longer_interval_until_the_clock_has_caught_up(self) -> None:
        meter = a_meter()
        meter.close(epoch_us=0, at_us=20 * MINUTE, registers=registers(pcc_into_j=1 * WH))
        # 5 minutes back, by a controller that started anew.
        epoch_us = 15 * MINUTE
        for minute in range(16, 21):
            again = meter.close(epoch_us=epoch_us, at_us=minute * MINUTE, registers=registers(pcc_into_j=WH * minute))
            assert again == []
        pcc, _ = meter.close(epoch_us=epoch_us, at_us=21 * MINUTE, registers=registers(pcc_into_j=21 * WH))
        assert (pcc.starts_at_ms, pcc.ends_at_ms, pcc.into_bus_uwh) == (20 * 60_000, 21 * 60_000, 21_000_000)
        assert (pcc.quality, pcc.time_quality) == (Quality.QUESTIONABLE, TimeQuality.STEPPED)
        assert pcc.register_into_uwh == 22_000_000

    def test_what_a_controller_counted_that_ended_before_it_had_caught_up_is_in_the_next_interval(self) -> None:
        meter = a_meter()
        meter.close(epoch_us=0, at_us=20 * MINUTE, registers=registers(pcc_into_j=1 * WH))
        meter.begin_service(begin("DC-1", 16 * MINUTE, epoch_us=15 * MINUTE))
        values = registers(pcc_into_j=2 * WH, service_into_j=WH)
        assert meter.close(epoch_us=15 * MINUTE, at_us=17 * MINUTE, registers=values) == []
        # Its clock is right again, and so it starts anew: nobody counted from 22 to 24, but 2 Wh are not lost.
        pcc, battery = meter.close(epoch_us=24 * MINUTE, at_us=25 * MINUTE, registers=registers(pcc_into_j=4 * WH))
        assert (pcc.starts_at_ms, pcc.ends_at_ms) == (20 * 60_000, 25 * 60_000)
        assert (pcc.into_bus_uwh, pcc.register_into_uwh) == (6_000_000, 7_000_000)
        assert battery.services == (("DC-1", 1_000_000, 0),)
        assert pcc.quality is Quality.QUESTIONABLE

    def test_back_far_goes_on_behind_what_was_metered_and_on_the_grid(self) -> None:
        meter = a_meter()
        meter.close(epoch_us=0, at_us=1000 * MINUTE, registers=registers(pcc_into_j=1 * WH))
        # A dead battery of the machine's clock: it starts in another year, and nobody disciplines it.
        epoch_us = 500 * MINUTE + 17 * SECOND
        meter.begin_service(begin("DC-1", epoch_us + SECOND, epoch_us=epoch_us))
        pcc, battery = meter.close(
            epoch_us=epoch_us, at_us=501 * MINUTE, registers=registers(pcc_into_j=2 * WH, service_into_j=WH)
        )
        assert (pcc.starts_at_ms, pcc.ends_at_ms) == (1000 * 60_000, 1001 * 60_000)
        assert (pcc.into_bus_uwh, pcc.time_quality) == (2_000_000, TimeQuality.STEPPED)
        assert battery.services == (("DC-1", 1_000_000, 0),)
        later, _ = meter.close(epoch_us=epoch_us, at_us=502 * MINUTE, registers=registers(pcc_into_j=2 * WH))
        assert (later.starts_at_ms, later.ends_at_ms) == (1001 * 60_000, 1002 * 60_000)
        # Its energy is that of its minute; only its instants are off.
        assert (later.quality, later.time_quality) == (Quality.GOOD, TimeQuality.STEPPED)

    def test_a_clock_put_right_ends_it_with_the_next_controller(self) -> None:
        meter = a_meter()
        meter.close(epoch_us=0, at_us=1000 * MINUTE, registers=registers())
        meter.close(epoch_us=10 * MINUTE, at_us=11 * MINUTE, registers=registers())
        pcc, _ = meter.close(
            epoch_us=1003 * MINUTE, at_us=1004 * MINUTE, registers=registers(), time_quality=TimeQuality.SYNCHRONIZED
        )
        assert (pcc.starts_at_ms, pcc.ends_at_ms) == (1003 * 60_000, 1004 * 60_000)
        assert (pcc.quality, pcc.time_quality) == (Quality.GOOD, TimeQuality.SYNCHRONIZED)

    def test_a_clock_that_ran_ahead_is_worked_off_once_it_is_right(self) -> None:
        meter = a_meter()
        meter.close(epoch_us=0, at_us=1000 * MINUTE, registers=registers())
        # Two hours back, and disciplined: ten minutes of metering to each minute on the wire, 120 / 9 such minutes.
        told: list[ClosedInterval] = []
        for minute in range(881, 1100):
            values = registers(pcc_into_j=(minute - 880) * WH)
            told += meter.close(
                epoch_us=880 * MINUTE, at_us=minute * MINUTE, registers=values, time_quality=TimeQuality.SYNCHRONIZED
            )[:1]
        worked_off = [closed for closed in told if closed.time_quality is TimeQuality.STEPPED]
        assert [closed.into_bus_uwh for closed in worked_off] == [10_000_000] * 13 + [4_000_000]
        assert {closed.quality for closed in worked_off} == {Quality.QUESTIONABLE}
        assert worked_off[-1].ends_at_ms == 1014 * 60_000
        assert [closed.ends_at_ms // 60_000 for closed in told[len(worked_off) :]] == list(range(1015, 1100))
        assert told[-1].register_into_uwh == 219_000_000


MOST_SILENT = 600 * SECOND
"""How long a site closes nothing because of its clock: with the interval that is then due, 11 minutes."""


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(-30, 30), st.integers(-3_000, 3_000), st.integers(-10_000_000, 10_000_000)),
            st.integers(0, 59),
            st.lists(st.tuples(st.floats(0, 1e6), st.booleans(), st.booleans()), max_size=40),
            st.booleans(),
        ),
        max_size=10,
    ),
    st.sampled_from([60, 300, 900]),
)
def test_whatever_the_clock_did_time_goes_forward_and_energy_is_counted_once(
    runs: list[tuple[int, int, list[tuple[float, bool, bool]], bool]], interval_s: int
) -> None:
    """Steps either way between controllers, restarts of the uplink, a clock that is disciplined now and then.

    A controller may end at any time; the last one runs on, so that all is told in the end.
    """
    meter, grid_us = Meter(["pcc"], interval_s), interval_s * SECOND
    at_us = 10_100_000 * MINUTE
    told: list[ClosedInterval] = []
    metered_uwh, epochs = 0, set()
    for number, (step_min, second, ticks, ends_early) in enumerate(runs, 1):
        at_us = max(0, at_us + step_min * MINUTE) // MINUTE * MINUTE + second * SECOND
        while at_us in epochs:
            at_us += 1
        epoch_us, joule, closed_us = at_us, 0.0, at_us
        epochs.add(epoch_us)
        still = 0 if ends_early and number < len(runs) else 12 + 900 // interval_s
        for energy_j, is_right, restarts in [*ticks, *[(0.0, False, False)] * still]:
            joule += energy_j
            at_us = (at_us // grid_us + 1) * grid_us
            values = registers(pcc_into_j=joule)
            quality = TimeQuality.SYNCHRONIZED if is_right else TimeQuality.UNKNOWN
            closed = meter.close(epoch_us=epoch_us, at_us=at_us, registers=values, time_quality=quality)
            assert meter.close(epoch_us=epoch_us, at_us=at_us, registers=values, time_quality=quality) == []
            told += closed
            closed_us = at_us if closed else closed_us
            assert at_us - closed_us <= max(MOST_SILENT, 2 * grid_us) + grid_us
            if restarts:
                again = Meter(["pcc"], interval_s)
                again.restore(meter.to_bytes())
                meter = again
        metered_uwh += uwh_from_joule(joule)
    for before, after in pairwise(told):
        assert before.ends_at_ms <= after.starts_at_ms
        assert after.register_into_uwh == before.register_into_uwh + after.into_bus_uwh
    assert all(closed.starts_at_ms < closed.ends_at_ms for closed in told)
    assert all(closed.ends_at_ms % (interval_s * 1000) == 0 for closed in told)
    assert sum(closed.into_bus_uwh for closed in told) == metered_uwh == (told[-1].register_into_uwh if told else 0)
