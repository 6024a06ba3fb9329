"""Factors: exact, sourced, and an error where there is none."""

from __future__ import annotations

import csv
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from carbon.core.factors import (
    DIESEL_BLEND_2023,
    DIESEL_MINERAL_2023,
    GAS_OIL_2023,
    GRID_GB_2023,
    PUBLISHED,
    Activity,
    EmissionFactor,
    FactorMissing,
    FactorVintageOlder,
    choose_factor,
)

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "carbon"


class TestChooseFactor:
    def test_takes_the_year_of_the_activity(self) -> None:
        chosen = choose_factor(Activity.GRID_ELECTRICITY, "GB", 2023, allow_older_vintage=False)
        assert chosen.factor is GRID_GB_2023
        assert "factor_vintage_note" not in chosen.facts()

    def test_an_older_vintage_needs_to_be_allowed_and_is_noted(self) -> None:
        with pytest.raises(FactorVintageOlder, match="is of 2023, the activity of 2026"):
            choose_factor(Activity.GRID_ELECTRICITY, "GB", 2026, allow_older_vintage=False)
        chosen = choose_factor(Activity.GRID_ELECTRICITY, "GB", 2026, allow_older_vintage=True)
        assert chosen.facts()["factor_vintage_note"] == "vintage 2023 used for activity of 2026"

    def test_a_later_vintage_is_never_taken(self) -> None:
        with pytest.raises(FactorMissing):
            choose_factor(Activity.GRID_ELECTRICITY, "GB", 2022, allow_older_vintage=True)

    def test_an_unknown_zone_is_an_error_that_names_the_known_ones(self) -> None:
        with pytest.raises(FactorMissing, match="zone XX in 2023, accepted zones: CN, CN-BJ, CN-NM, CN-SH, GB"):
            choose_factor(Activity.GRID_ELECTRICITY, "XX", 2023, allow_older_vintage=True)


class TestEmissionFactor:
    def test_a_kilowatt_hour_of_the_gb_grid_in_2023(self) -> None:
        assert GRID_GB_2023.carbon_ug(1_000_000_000) == 207_070_000

    def test_a_liter_of_mineral_diesel_in_2023(self) -> None:
        assert DIESEL_MINERAL_2023.carbon_ug(1_000_000) == 2_659_370_000

    def test_export_cannot_become_negative_carbon(self) -> None:
        with pytest.raises(ValueError, match="accepted: 0 or more"):
            GRID_GB_2023.carbon_ug(-1)

    def test_is_exact_on_a_terawatt_hour(self) -> None:
        amount = 10**21
        assert GRID_GB_2023.carbon_ug(amount) == amount * 20707 // 100_000
        assert GRID_GB_2023.ratio == Fraction(20707, 100_000)

    @pytest.mark.parametrize("factor", PUBLISHED, ids=lambda factor: factor.factor_id)
    def test_says_where_it_is_from(self, factor: EmissionFactor) -> None:
        assert factor.source
        assert factor.licence
        assert factor.gwp_set
        assert factor.value > 0
        assert factor.certainty == "V"


@pytest.mark.shared_data
class TestAgainstThePublishersFiles:
    @pytest.mark.parametrize("factor", [GRID_GB_2023, DIESEL_MINERAL_2023, DIESEL_BLEND_2023, GAS_OIL_2023])
    def test_desnz_figures_are_typed_in_right(self, factor: EmissionFactor) -> None:
        path = DATA / "uk" / "desnz_2023_fuels_electricity_subset.csv"
        if not path.is_file():
            pytest.skip("shared/data/carbon/uk is not beside the checkout")
        with path.open() as file:
            rows = {row["id"]: row["factor_2023"] for row in csv.DictReader(file)}
        assert factor.value == Decimal(rows[factor.source.rpartition(" ")[2]])

    def test_mee_figures_are_typed_in_right(self) -> None:
        path = DATA / "cn" / "mee_grid_factors_2021_2023.csv"
        if not path.is_file():
            pytest.skip("shared/data/carbon/cn is not beside the checkout")
        with path.open() as file:
            rows = {
                row["iso3166_2"]: row["kgco2_per_kwh_2023"]
                for row in csv.DictReader(file)
                if row["level"] in {"national", "province"}
            }
        ours = {factor.zone: factor.value for factor in PUBLISHED if factor.factor_id.startswith("mee")}
        assert ours == {zone: Decimal(rows[zone]) for zone in ours}
