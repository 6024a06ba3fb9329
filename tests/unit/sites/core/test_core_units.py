"""Units, readings' room and the sustainable power."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.envelope import OperatingEnvelope
from sites.core.units import kwh_from_uwh, uwh_from_joule

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_kilowatt_hour_is_a_milliard_micro_watt_hours():
    assert uwh_from_joule(3_600_000.0) == 1_000_000_000
    assert kwh_from_uwh(1_000_000_000) == 1.0


@pytest.mark.parametrize(
    ("discharge_kw", "usable_kwh", "sustainable_kw"),
    [(30.0, 100.0, 30.0), (30.0, 5.0, 20.0), (30.0, 0.0, 0.0), (0.0, 100.0, 0.0)],
)
def test_what_a_quarter_hour_allows(discharge_kw, usable_kwh, sustainable_kw):
    envelope = OperatingEnvelope("s", AT, discharge_kw, 0.0, usable_kwh)
    assert envelope.sustainable_kw(900.0, +1) == pytest.approx(sustainable_kw)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(1, 1e4))
def test_charge_and_discharge_are_mirrors(power_kw, energy_kwh, sustain_s):
    up = OperatingEnvelope("s", AT, power_kw, 0.0, energy_kwh, 0.0)
    down = OperatingEnvelope("s", AT, 0.0, power_kw, 0.0, energy_kwh)
    assert up.sustainable_kw(sustain_s, +1) == down.sustainable_kw(sustain_s, -1)
    assert up.sustainable_kw(sustain_s, -1) == 0.0
