"""Desired and reported assignment of each site meet: sent at once, repeated, lost, refused, lapsed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from vpp.dispatch.exchange import REORDER_S, DesiredRow, Exchange, Outcome
from vpp.dispatch.reports import SiteReport

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RESEND_S = 1.0


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_row(
    site_id: str = "site-1", sequence: int = 1, *, ends_s: float = 60.0, acknowledged: bool = False
) -> DesiredRow:
    return DesiredRow(
        assignment_pk=sequence,
        site_id=site_id,
        sequence=sequence,
        body=b"{}",
        content_hash=f"{site_id}#{sequence}",
        ends_at=after(ends_s),
        acknowledged=acknowledged,
        refused=False,
    )


def a_report(held: str = "", *, site_id: str = "site-1", at_s: float = 0.1, refused: str = "") -> SiteReport:
    return SiteReport(site_id=site_id, received_at=after(at_s), held_hash=held, refused_hash=refused)


def an_exchange(*rows: DesiredRow, in_flight: int = 100) -> Exchange:
    exchange = Exchange(resend_after_s=RESEND_S, in_flight=in_flight)
    exchange.desire(rows)
    return exchange


def sent(exchange: Exchange, seconds: float) -> list[str]:
    return [row.content_hash for row in exchange.due(at=after(seconds))]


class TestSending:
    def test_a_new_assignment_is_due_at_once_and_only_once(self) -> None:
        exchange = an_exchange(a_row())
        assert sent(exchange, 0.0) == ["site-1#1"]
        assert sent(exchange, 0.5) == []

    def test_it_is_repeated_ever_more_slowly_until_the_site_agrees(self) -> None:
        exchange = an_exchange(a_row())
        sent_at_s = [s / 2 for s in range(60) if sent(exchange, s / 2)]
        assert sent_at_s == [0.0, 1.0, 3.0, 7.0, 15.0, 23.0]
        assert exchange.receive(a_report("site-1#1", at_s=29.9), is_birth=False) is Outcome.AGREED
        assert sent(exchange, 40.0) == []
        assert exchange.open_count == 0

    def test_it_is_not_sent_once_its_window_has_ended(self) -> None:
        exchange = an_exchange(a_row(ends_s=1.5))
        assert [len(sent(exchange, s)) for s in (0.0, 1.0, 2.0, 3.0)] == [1, 1, 0, 0]

    def test_an_acknowledged_one_is_not_sent_after_a_restart(self) -> None:
        assert sent(an_exchange(a_row(acknowledged=True)), 0.0) == []

    def test_the_newer_assignment_replaces_the_older(self) -> None:
        exchange = an_exchange(a_row(sequence=1))
        sent(exchange, 0.0)
        exchange.desire([a_row(sequence=2)])
        assert sent(exchange, 0.1) == ["site-1#2"]
        exchange.desire([a_row(sequence=1)])
        assert sent(exchange, 1.2) == ["site-1#2"]

    def test_an_acknowledgement_of_the_older_one_does_not_stop_the_newer(self) -> None:
        exchange = an_exchange(a_row(sequence=1))
        sent(exchange, 0.0)
        exchange.desire([a_row(sequence=2)])
        sent(exchange, 0.1)
        assert exchange.receive(a_report("site-1#1", at_s=0.2), is_birth=False) is Outcome.DIFFERS
        assert sent(exchange, 1.2) == ["site-1#2"]

    def test_no_more_than_the_given_number_waits_for_answers(self) -> None:
        exchange = an_exchange(*(a_row(f"site-{n}") for n in range(5)), in_flight=2)
        assert sent(exchange, 0.0) == ["site-0#1", "site-1#1"]
        exchange.receive(a_report("site-0#1", site_id="site-0"), is_birth=False)
        assert sent(exchange, 0.1) == ["site-2#1"]

    def test_sites_that_are_gone_do_not_hold_up_the_others(self) -> None:
        exchange = an_exchange(*(a_row(f"site-{n}") for n in range(5)), in_flight=2)
        assert sent(exchange, 0.0) == ["site-0#1", "site-1#1"]
        exchange.receive(a_report("site-1#1", site_id="site-1"), is_birth=False)
        assert sent(exchange, 0.1) == ["site-2#1"]
        # site-2 was sent later and has answered: site-0 is not waited for any more.
        exchange.receive(a_report("site-2#1", site_id="site-2"), is_birth=False)
        assert sent(exchange, 0.1 + REORDER_S) == ["site-3#1", "site-4#1"]

    def test_with_nobody_answering_the_next_ones_go_after_the_time_of_a_repetition(self) -> None:
        exchange = an_exchange(*(a_row(f"site-{n}") for n in range(4)), in_flight=2)
        sent(exchange, 0.0)
        assert sent(exchange, 0.9) == []
        assert set(sent(exchange, 1.0)) == {"site-0#1", "site-1#1", "site-2#1", "site-3#1"}


class TestReceiving:
    def test_a_newborn_site_without_it_gets_it_at_once(self) -> None:
        exchange = an_exchange(a_row(acknowledged=True))
        assert exchange.receive(a_report(""), is_birth=True) is Outcome.DIFFERS
        assert sent(exchange, 0.2) == ["site-1#1"]

    def test_a_birth_right_after_a_sending_does_not_double_it(self) -> None:
        exchange = an_exchange(a_row())
        sent(exchange, 0.0)
        exchange.receive(a_report("", at_s=0.05), is_birth=True)
        assert sent(exchange, 0.1) == []
        assert sent(exchange, 1.0) == ["site-1#1"]

    def test_a_site_that_lost_what_it_had_agreed_to_gets_it_again(self) -> None:
        exchange = an_exchange(a_row())
        sent(exchange, 0.0)
        exchange.receive(a_report("site-1#1", at_s=0.1), is_birth=False)
        exchange.receive(a_report("", at_s=5.0), is_birth=False)
        assert sent(exchange, 5.0) == ["site-1#1"]

    def test_a_refused_one_is_not_repeated(self) -> None:
        exchange = an_exchange(a_row())
        sent(exchange, 0.0)
        assert exchange.receive(a_report(refused="site-1#1"), is_birth=False) is Outcome.REFUSED
        assert exchange.receive(a_report(refused="site-1#1", at_s=2.0), is_birth=True) is Outcome.REFUSED
        assert sent(exchange, 10.0) == []

    def test_a_refusal_of_another_one_changes_nothing(self) -> None:
        exchange = an_exchange(a_row(sequence=2))
        sent(exchange, 0.0)
        assert exchange.receive(a_report(refused="site-1#1"), is_birth=False) is Outcome.DIFFERS
        assert sent(exchange, 1.0) == ["site-1#2"]

    def test_what_a_site_says_after_the_window_means_nothing(self) -> None:
        exchange = an_exchange(a_row(ends_s=10.0))
        exchange.receive(a_report("site-1#1"), is_birth=False)
        assert exchange.receive(a_report("", at_s=10.0), is_birth=False) is Outcome.UNKNOWN

    def test_a_site_of_which_nothing_is_desired(self) -> None:
        assert an_exchange().receive(a_report("x"), is_birth=True) is Outcome.UNKNOWN


class TestLossyLink:
    @given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=15), st.integers(1, 4))
    def test_whatever_is_lost_a_link_that_works_again_brings_agreement(
        self, losses: list[tuple[bool, bool]], in_flight: int
    ) -> None:
        """Each round the way down and the way up may lose everything; then it works."""
        sites = [f"site-{n}" for n in range(6)]
        exchange = an_exchange(*(a_row(site, ends_s=1e6) for site in sites), in_flight=in_flight)
        held: dict[str, str] = {}
        seconds = 0.0
        for down_works, up_works in losses + [(True, True)] * 30:
            seconds += RESEND_S
            for row in list(exchange.due(at=after(seconds))):
                if down_works:
                    held[row.site_id] = row.content_hash
                    if up_works:
                        report = a_report(row.content_hash, site_id=row.site_id, at_s=seconds)
                        exchange.receive(report, is_birth=False)
        assert exchange.open_count == 0
        assert held == {site: f"{site}#1" for site in sites}


class TestClockSteps:
    def test_after_a_step_back_what_is_unanswered_is_repeated_at_once(self) -> None:
        exchange = Exchange(resend_after_s=1.0, in_flight=8)
        exchange.desire([a_row("s1", 1), a_row("s2", 1)])
        assert len(list(exchange.due(at=after(0)))) == 2
        exchange.receive(a_report("s1#1", site_id="s1", at_s=0.1), is_birth=False)
        # An hour back: the repetition would come in an hour.
        assert [row.site_id for row in exchange.due(at=after(-3600))] == ["s2"]
        assert list(exchange.due(at=after(-3599.5))) == []
        assert [row.site_id for row in exchange.due(at=after(-3590))] == ["s2"]

    def test_a_step_forward_repeats_once_and_lapses_what_has_ended(self) -> None:
        exchange = Exchange(resend_after_s=1.0, in_flight=8)
        exchange.desire([a_row("s1", 1, ends_s=600.0)])
        assert len(list(exchange.due(at=after(0)))) == 1
        assert len(list(exchange.due(at=after(300)))) == 1
        assert list(exchange.due(at=after(300.5))) == []
        assert list(exchange.due(at=after(900))) == []


class TestStorm:
    def test_it_lasts_from_the_decision_until_nearly_all_have_answered(self) -> None:
        sites = [f"s{number}" for number in range(200)]
        exchange = an_exchange(*(a_row(site) for site in sites), in_flight=200)
        assert exchange.is_storming
        seen = 0
        while exchange.open_count:
            for row in list(exchange.due(at=after(0.001 * seen))):
                exchange.receive(a_report(row.content_hash, site_id=row.site_id, at_s=0.001 * seen), is_birth=False)
            seen += 1
        assert not exchange.is_storming

    def test_answers_that_are_on_their_way_belong_to_it_and_sites_that_are_gone_do_not_prolong_it(self) -> None:
        exchange = an_exchange(*(a_row(f"s{number}") for number in range(130)), in_flight=100)
        sent(exchange, 0.0)
        sent(exchange, RESEND_S)
        # All are sent once; those of the second round are on their way.
        assert exchange.is_storming
        sent(exchange, 3 * RESEND_S)
        assert not exchange.is_storming
