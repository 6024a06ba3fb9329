"""Our own events as COMTRADE: per unit to volts and amperes, phases, digital channels."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from sites.core.comtrade_data import read_recording
from sites.core.event_recording import RecordedSite, event_name, event_recording, phase_voltage_v

AT = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)
COLUMNS = ("va_pu", "vb_pu", "vc_pu", "ia_pu", "ib_pu", "ic_pu", "feeder_open", "soc")
SITE = RecordedSite("site-1", 50.0, 230.0, 3, 69.0)


def recorded(site: RecordedSite, columns: tuple[str, ...] = COLUMNS) -> object:
    samples = np.zeros((100, len(columns)))
    samples[:, 0] = np.sin(np.arange(100) / 10.0)
    samples[:, 3] = 0.5
    samples[50:, 6] = 1.0
    samples[:, 7] = 0.7
    return read_recording(
        *event_recording(
            site, columns=columns, samples=samples, rate_hz=10_000.0, starts_at=AT,
            trigger_at=AT + timedelta(milliseconds=5), cause="phase_lost, all",
        )
    )  # fmt: skip


def test_one_per_unit_is_the_peak_of_the_nominal_phase_voltage_and_of_the_rated_current() -> None:
    found = recorded(SITE)
    assert found.values(0).max() == pytest.approx(230.0 * 2.0**0.5, rel=1e-3)
    # 69 kVA at 3 x 230 V are 100 A.
    assert found.values(3)[0] == pytest.approx(50.0 * 2.0**0.5, rel=1e-3)
    assert [c.name for c in found.configuration.analog] == ["VA", "VB", "VC", "IA", "IB", "IC", "soc"]
    assert [c.unit for c in found.configuration.analog] == ["V"] * 3 + ["A"] * 3 + ["pu"]


def test_a_column_of_zeros_and_ones_is_digital() -> None:
    found = recorded(SITE)
    assert [c.name for c in found.configuration.status] == ["feeder_open"]
    assert np.flatnonzero(found.states[0])[0] == 50


def test_a_one_phase_site_has_one_phase() -> None:
    found = recorded(RecordedSite("site-1", 50.0, 230.0, 1, 2.3))
    assert [c.name for c in found.configuration.analog] == ["VA", "IA", "soc"]
    assert found.values(1)[0] == pytest.approx(5.0 * 2.0**0.5, rel=1e-3)


def test_its_instants_are_utc_and_its_cause_stands_in_the_device() -> None:
    found = recorded(SITE)
    assert found.configuration.starts_at == AT.replace(tzinfo=None)
    assert found.configuration.trigger_s == pytest.approx(0.005)
    assert found.configuration.device == "vpp-edge phase_lost all"


def test_names_sort_by_instant_whatever_the_zone() -> None:
    east = timezone(timedelta(hours=5))
    assert event_name("s", AT) == event_name("s", AT.astimezone(east)) == "s_20260304T050607.123456Z"


@pytest.mark.parametrize(("phases", "phase_v"), [(3, 230.94), (1, 400.0)])
def test_three_phase_sites_name_their_voltage_phase_to_phase(phases: int, phase_v: float) -> None:
    assert phase_voltage_v(400.0, phases) == pytest.approx(phase_v, abs=0.01)
