"""What others would have done: bands over every parameter's range, of either sign, each figure with its source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbon.core import generator_trucks as trucks
from carbon.core import impact, thermal_plant
from carbon.core.counterfactual import Band, Parameter, Service, spreads
from carbon.core.generator_trucks import generator_trucks
from carbon.core.impact import impact_statement
from carbon.core.thermal_plant import fuel_per_output

ROOT = Path(__file__).resolve().parents[3]
services = st.builds(
    Service,
    power_kw=st.floats(0.1, 1e6),
    energy_kwh=st.floats(-1e5, 1e5),
    window_h=st.floats(0.01, 48.0),
    gives=st.booleans(),
)
EVERY_PARAMETER = (*trucks.PARAMETERS, *thermal_plant.PARAMETERS, *impact.FLEET_PARAMETERS)


class TestBands:
    def test_less_is_as_wide_as_both_together(self):
        assert Band(1.0, 2.0, 4.0).less(Band(0.5, 1.0, 3.0)) == Band(-2.0, 1.0, 3.5)

    @pytest.mark.parametrize(
        "figures", [(2.0, 1.0, 3.0), (1.0, 4.0, 3.0), (float("nan"), 1.0, 2.0), (0, 1, float("inf"))]
    )
    def test_a_band_rises_and_is_finite(self, figures):
        with pytest.raises(ValueError, match="accepted: rising and finite"):
            Band(*figures)

    def test_corners_are_found_where_two_parameters_pull_against_each_other(self):
        first, second = (Parameter(name, "1", Band(1.0, 2.0, 3.0), "test", "C") for name in ("a", "b"))
        assert spreads(lambda p: (p["a"] - p["b"],), (first, second)) == (Band(-2.0, 0.0, 2.0),)

    @settings(max_examples=20)
    @given(services)
    def test_every_estimate_holds_its_central_figure(self, service):
        statement = impact_statement(service)
        for alternative in statement.alternatives:
            other = alternative.counterfactual
            for band in (other.units, other.ready_min, other.fuel, other.kg_co2e, other.cost_usd):
                assert band.low <= band.central <= band.high
            low = other.kg_co2e.low - statement.fleet_kg_co2e.high
            assert alternative.avoided_kg_co2e.low == pytest.approx(low, rel=1e-9, abs=1e-9)

    @settings(max_examples=20)
    @given(services, st.floats(1.1, 5.0))
    def test_a_longer_window_never_takes_less_to_hold(self, service, factor):
        longer = Service(service.power_kw, 0.0, service.window_h * factor, service.gives)
        short = Service(service.power_kw, 0.0, service.window_h, service.gives)
        for one, other in zip(impact_statement(short).alternatives, impact_statement(longer).alternatives, strict=True):
            assert other.counterfactual.kg_co2e.central >= one.counterfactual.kg_co2e.central - 1e-9


class TestParameters:
    @pytest.mark.parametrize("parameter", EVERY_PARAMETER, ids=lambda parameter: parameter.name)
    def test_each_says_its_unit_its_source_and_how_certain_it_is(self, parameter):
        assert parameter.unit
        assert len(parameter.source) > 10
        assert parameter.certainty in {"V", "A", "M", "C"}

    def test_what_is_only_assumed_has_a_range(self):
        for parameter in EVERY_PARAMETER:
            if parameter.certainty == "C":
                assert parameter.band.low < parameter.band.high, parameter.name

    def test_names_are_one_parameter_each(self):
        for known in (trucks.PARAMETERS, thermal_plant.PARAMETERS, impact.FLEET_PARAMETERS):
            assert len({parameter.name for parameter in known}) == len(known)


class TestTrucks:
    def test_more_energy_than_owed_sizes_the_trucks_by_its_mean_power(self):
        assert generator_trucks(Service(320.0, 330.0, 1.0)).units.central == 2.0
        assert generator_trucks(Service(320.0, 320.0, 1.0)).units.central == 1.0

    @pytest.mark.parametrize("service", [Service(320.0, -1.0, 1.0), Service(320.0, 0.0, 1.0, gives=False)])
    def test_a_generator_takes_no_power(self, service):
        with pytest.raises(ValueError, match="accepted: one that gives"):
            generator_trucks(service)
        statement = impact_statement(service)
        assert [other.counterfactual.kind for other in statement.alternatives] == ["thermal-plant"]
        assert "which a generator cannot" in statement.left_out[0]


class TestThermalPlant:
    def test_part_load_takes_more_gas_for_a_kilowatt_hour(self):
        figures = [fuel_per_output(load / 100) for load in range(40, 101)]
        assert figures == sorted(figures, reverse=True)

    @settings(max_examples=20)
    @given(services)
    def test_a_service_that_only_takes_may_save_gas_and_the_band_says_so(self, service):
        taking = Service(service.power_kw, -0.5 * service.power_kw * service.window_h, service.window_h, gives=False)
        assert thermal_plant.thermal_plant(taking).fuel.low < 0.0


@pytest.mark.parametrize(
    ("figures", "said"),
    [((0.0, 0.0, 1.0), "power_kw"), ((1.0, float("nan"), 1.0), "energy_kwh"), ((1.0, 1.0, 0.0), "window_h"),
     ((float("nan"), 1.0, 1.0), "power_kw"), ((1.0, 1.0, float("inf")), "window_h")],
)  # fmt: skip
def test_figures_that_cannot_be_are_refused(figures, said):
    with pytest.raises(ValueError, match=said):
        Service(*figures)


def test_neither_book_knows_the_estimates():
    """What books is written without them: no module below the pages imports them, but they themselves."""
    estimates = {"counterfactual", "generator_trucks", "thermal_plant", "impact"}
    for path in [*(ROOT / "carbon").rglob("*.py"), *(ROOT / "markets").rglob("*.py"), *(ROOT / "sites").rglob("*.py")]:
        if path.parent == ROOT / "carbon" / "core" and path.stem in estimates:
            continue
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "carbon.core" in text else ():
            if isinstance(node, ast.ImportFrom):
                named = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
                assert not {f"carbon.core.{name}" for name in estimates} & named, f"{path} line {node.lineno}"
