"""Bus mix and totals: identities I2 and I3 are zero to the microgram for any dispatch."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbon.core.flows import StepEnergy, advance_step, share_out
from carbon.core.inventory import METHOD_EFFICIENCY, Pool, PoolOverdrawn
from carbon.core.totals import site_totals

KWH = 1_000_000_000
GRID = Fraction(20707, 100_000)
flows = st.integers(0, 20 * KWH)


@st.composite
def steps(draw: st.DrawFn) -> StepEnergy:
    net = draw(st.integers(-20 * KWH, 20 * KWH))
    return StepEnergy(
        import_uwh=max(net, 0),
        export_uwh=max(-net, 0),
        pv_uwh=draw(flows),
        genset_uwh=draw(flows),
        genset_ug=draw(flows),
        load_uwh=draw(flows),
        charge_own_uwh=draw(flows),
        charge_grid_uwh=draw(flows),
        discharge_own_uwh=draw(flows),
        discharge_grid_uwh=draw(flows),
    )


class TestShareOut:
    def test_the_largest_sink_takes_the_remainder(self) -> None:
        shares = share_out(10, 1, 5, 1, 1)
        assert (shares.load, shares.export, shares.charge_own, shares.charge_grid) == (1, 7, 1, 1)

    def test_without_a_metered_sink_the_load_takes_all(self) -> None:
        assert share_out(10, 0, 0, 0, 0).load == 10

    @given(flows, st.tuples(flows, flows, flows, flows))
    def test_adds_up_and_stays_within_three_of_the_exact_share(
        self, amount: int, weights: tuple[int, int, int, int]
    ) -> None:
        shares = share_out(amount, *weights)
        parts = (shares.load, shares.export, shares.charge_own, shares.charge_grid)
        assert shares.total == amount
        assert min(parts) >= 0
        if sum(weights):
            assert all(
                abs(part - Fraction(amount * weight, sum(weights))) <= 3
                for part, weight in zip(parts, weights, strict=True)
            )


class TestStepEnergy:
    def test_a_pcc_that_imports_and_exports_at_once_is_refused(self) -> None:
        with pytest.raises(ValueError, match="net flow at the PCC"):
            StepEnergy(import_uwh=1, export_uwh=1)

    def test_a_negative_flow_is_refused_by_name(self) -> None:
        with pytest.raises(ValueError, match="load_uwh is -1"):
            StepEnergy(load_uwh=-1)


class TestSiteTotals:
    @given(st.lists(steps(), max_size=12), st.integers(0, 2000 * KWH), st.integers(0, 2000 * KWH))
    def test_both_identities_are_zero_for_any_dispatch(self, day: list[StepEnergy], energy: int, carbon: int) -> None:
        totals, each = site_totals(
            day, grid=GRID, own=Pool(energy, carbon), service=Pool(), efficiency=METHOD_EFFICIENCY, cover_shortfall=True
        )
        assert totals.carbon_residual_ug == 0
        assert totals.swap_residual_ug == 0
        assert all(step.swap_residual_ug == 0 for step in each)
        assert totals.scope1_ug == sum(step.genset_ug for step in day)

    @given(st.lists(steps(), max_size=6), st.integers(0, 50 * KWH))
    def test_a_discharge_beyond_the_stock_is_refused_unless_covered(self, day: list[StepEnergy], energy: int) -> None:
        options = {"grid": GRID, "own": Pool(energy, energy), "service": Pool(), "efficiency": METHOD_EFFICIENCY}
        covered, _ = site_totals(day, cover_shortfall=True, **options)  # type: ignore[arg-type]
        if covered.adjustment_uwh or covered.transfer_uwh:
            with pytest.raises(PoolOverdrawn):
                site_totals(day, cover_shortfall=False, **options)  # type: ignore[arg-type]
        else:
            assert site_totals(day, cover_shortfall=False, **options)[0].load_ug == covered.load_ug  # type: ignore[arg-type]

    def test_an_islanded_step_has_no_scope_2(self) -> None:
        step = StepEnergy(load_uwh=KWH, discharge_own_uwh=KWH)
        totals, _ = site_totals(
            [step],
            grid=GRID,
            own=Pool(2 * KWH, KWH),
            service=Pool(),
            efficiency=METHOD_EFFICIENCY,
            cover_shortfall=False,
        )
        assert totals.scope2_location_ug == 0
        # 1,052,631,579 uWh leave the store (1 kWh / 0.95) at 0.5 ug/uWh, a half rounded to even.
        assert totals.load_ug == 526_315_790

    def test_an_export_does_not_reduce_scope_2(self) -> None:
        day = [StepEnergy(import_uwh=KWH, load_uwh=KWH), StepEnergy(pv_uwh=5 * KWH, export_uwh=5 * KWH)]
        totals, _ = site_totals(
            day, grid=GRID, own=Pool(), service=Pool(), efficiency=METHOD_EFFICIENCY, cover_shortfall=False
        )
        assert totals.scope2_location_ug == 207_070_000
        assert totals.export_ug == 0

    def test_a_meter_error_is_counted_and_conserves_carbon(self) -> None:
        step = StepEnergy(import_uwh=KWH, load_uwh=KWH - 5)
        flow, *_ = advance_step(step, GRID, Fraction(0), Pool(), Pool(), METHOD_EFFICIENCY)
        assert step.residual_uwh == 5
        assert flow.carbon.load == 207_070_000
