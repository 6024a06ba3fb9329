"""What was sent and reported, on a real database; and leaders that are fenced by their lease."""

from __future__ import annotations

import pytest
from support.dispatched import NOW, a_fleet, acknowledge, after, an_obligation, current, refuse

from sites.metering.models import LiveState
from vpp.dispatch import leases, operations, queries, recording
from vpp.dispatch.leases import LeaseLost
from vpp.dispatch.models import Dispatch
from vpp.dispatch.recording import Sending
from vpp.dispatch.reports import SiteReport

pytestmark = pytest.mark.django_db


class TestRecording:
    def test_first_sending_and_first_acknowledgement_stay(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        acknowledge(current(dispatch), at=after(2.0))
        (row,) = current(dispatch)
        assert (row.first_sent_at, row.last_sent_at, row.sends) == (after(1.0), after(2.0), 2)
        assert row.acknowledged_at == after(1.04)
        assert queries.arm_latencies_ms(dispatch_id="DC-1") == pytest.approx([40.0])

    def test_a_hash_of_another_site_acknowledges_nothing(self) -> None:
        a_fleet(50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        first, second = current(dispatch)
        report = SiteReport(site_id=first.site.site_id, received_at=after(1.0), held_hash=second.content_hash)
        recording.record_acknowledgements(reports=[report])
        assert all(row.acknowledged_at is None for row in current(dispatch))

    def test_a_refusal_is_kept_by_its_name(self) -> None:
        a_fleet(50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(40.0), at=NOW)
        refuse(current(dispatch)[0], "out_of_envelope", at=after(1.0))
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(1.0))
        assert (summary.armed, summary.acknowledged, summary.refused) == (0, 0, 1)
        assert current(dispatch)[0].refusal == "out_of_envelope"

    def test_the_summary_counts_only_fresh_and_agreeing_sites_as_firm(self) -> None:
        sites = a_fleet(50.0, 50.0, 50.0)
        dispatch = operations.arm_obligation(obligation=an_obligation(147.0), at=NOW)
        acknowledge(current(dispatch), at=after(1.0))
        LiveState.objects.filter(site=sites[0]).update(measured_at=after(-60.0))
        lost = SiteReport(site_id="site-0002", received_at=after(2.0), state="idle")
        recording.record_acknowledgements(reports=[lost])
        summary = queries.dispatch_summary(dispatch_id="DC-1", at=after(2.0))
        assert (summary.sites, summary.armed, summary.acknowledged) == (3, 3, 3)
        assert summary.acknowledged_kw == pytest.approx(150.0)
        assert summary.firm_kw == pytest.approx(50.0)
        assert summary.arm_ms_p50 == pytest.approx(40.0)
        assert summary.all_acknowledged_ms == pytest.approx(1040.0)


class TestLease:
    def test_one_holder_at_a_time_and_a_rising_token(self) -> None:
        take = {"name": "x", "lease_s": 5.0}
        assert leases.take_lease(holder="a", at=NOW, **take) == 1  # type: ignore[arg-type]
        assert leases.take_lease(holder="b", at=after(4.9), **take) is None  # type: ignore[arg-type]
        leases.renew_lease(name="x", token=1, lease_s=5.0, at=after(4.0))
        assert leases.take_lease(holder="b", at=after(8.9), **take) is None  # type: ignore[arg-type]
        assert leases.take_lease(holder="b", at=after(9.0), **take) == 2  # type: ignore[arg-type]
        with pytest.raises(LeaseLost, match="token 1"):
            leases.renew_lease(name="x", token=1, lease_s=5.0, at=after(9.1))

    def test_a_lease_given_back_is_free_at_once(self) -> None:
        leases.take_lease(name="x", holder="a", lease_s=5.0, at=NOW)
        leases.release_lease(name="x", token=1, at=after(1.0))
        assert leases.take_lease(name="x", holder="b", lease_s=5.0, at=after(1.0)) == 2

    def test_a_former_leader_writes_nothing(self) -> None:
        a_fleet(50.0)
        obligation = an_obligation(40.0)
        old = leases.take_lease(name=leases.DISPATCH, holder="a", lease_s=1.0, at=NOW)
        new = leases.take_lease(name=leases.DISPATCH, holder="b", lease_s=1.0, at=after(2.0))
        with pytest.raises(LeaseLost):
            operations.arm_obligation(obligation=obligation, at=after(2.0), token=old)
        assert not Dispatch.objects.exists()
        dispatch = operations.arm_obligation(obligation=obligation, at=after(2.0), token=new)
        with pytest.raises(LeaseLost):
            recording.record_sent(sendings=[Sending(current(dispatch)[0].pk, after(2.0))], token=old)
        assert current(dispatch)[0].sends == 0
