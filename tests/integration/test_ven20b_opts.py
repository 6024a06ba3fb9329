"""Our opt schedules to an operator's VTN (EiOpt): told once, over the end of either side, taken back again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support.openadr import PlatformProcesses
from support.vtn20b import CONTEXT, OurVtnProcess

from markets import operator_opts
from markets.operator_opts import OperatorOpt, OptRefused

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HELD = "SELECT opt_id, opt_type, opt_reason, market_context, windows, targets, cancelled_at FROM markets_optschedule"


@pytest.fixture
def sides(tmp_path) -> Iterator[tuple[PlatformProcesses, OurVtnProcess]]:
    """Our platform, and a VTN that stands for the operator's."""
    vtn = OurVtnProcess(tmp_path / "vtn", None)
    (tmp_path / "ven").mkdir()
    ven = PlatformProcesses(tmp_path / "ven")
    vtn.manage("vtn_vens", "add", "open-vpp", "--open")
    ven.env["VPP_VTN_URL"] = vtn.url
    try:
        yield ven, vtn
    finally:
        ven.stop_ven()
        vtn.stop()


def states(ven: PlatformProcesses) -> dict[str, str]:
    return {row["opt_id"]: row["state"] for row in ven.rows("SELECT opt_id, state FROM markets_operatoropt")}


@pytest.mark.long
def test_an_opt_out_outlives_the_end_of_either_side_and_is_told_once(sides):
    ven, vtn = sides
    start = datetime.now(UTC).replace(microsecond=0) + HOUR
    window = ["--start", start.isoformat(), "--end", (start + HOUR).isoformat()]
    told = json.loads(
        ven.manage("openadr_opt", "create", "--operator", "operator", *window, "--market-context", "http://c.example/p",
                   "--resource", "site-0001", "--reason", "outageRunStatus")
    )  # fmt: skip
    # Neither the VTN nor our VEN has run yet: the database holds it.
    assert told["state"] == "wanted"
    ven.start_ven(vtn.url)
    ven.wait_until(lambda: "link.down" in ven.log_path.read_text())
    ven.kill_ven()
    vtn.start()
    ven.start_ven(vtn.url)
    ven.wait_until(lambda: states(ven) == {told["opt_id"]: "told"})
    (held,) = vtn.rows(HELD)
    assert (held["opt_id"], held["opt_type"], held["opt_reason"]) == (told["opt_id"], "optOut", "outageRunStatus")
    assert (held["market_context"], json.loads(held["targets"])) == (
        "http://c.example/p",
        [{"resourceID": "site-0001"}],
    )
    ((begins, ends),) = json.loads(held["windows"])
    assert (datetime.fromisoformat(begins), datetime.fromisoformat(ends)) == (start, start + HOUR)
    ven.manage("openadr_opt", "cancel", told["opt_id"])
    ven.wait_until(lambda: states(ven) == {told["opt_id"]: "cancelled"})
    (held,) = vtn.rows(HELD)
    assert held["cancelled_at"] is not None


PROGRAM = """
[[operator]]
name = "grid"
url = "{url}"
ven_name = "open-vpp"

[[operator.program]]
name = "grid-low"
product = "neso-dc-low"
market_context = "{context}"
signal_sign = -1
sign_note = "less consumption is negative"
"""


@pytest.mark.long
def test_an_event_that_has_to_make_room_is_answered_anew(sides):
    """100 kW of 147 go to the later, more urgent event; the VTN hears that the first one is no longer taken."""
    ven, vtn = sides
    del ven.env["VPP_VTN_URL"]
    ven.declare(PROGRAM.format(url=vtn.url, context=CONTEXT))
    ven.add_sites(3)
    vtn.start()
    ven.start_ven()
    ven.wait_until(lambda: ven.rows("SELECT ven_id FROM markets_registration"))
    vtn.issue("first", "open-vpp", value=-100.0)
    vtn.wait_until(lambda: vtn.answers("first")["open-vpp"]["opt_type"] == "optIn")
    vtn.issue("urgent", "open-vpp", value=-100.0, priority="1")
    vtn.wait_until(lambda: vtn.answers("urgent")["open-vpp"]["opt_type"] == "optIn")
    vtn.wait_until(lambda: vtn.answers("first")["open-vpp"]["opt_type"] == "optOut")
    ven.wait_until(
        lambda: ven.rows("SELECT count(*) AS n FROM markets_obligationchange WHERE told_at IS NULL")[0]["n"] == 0
    )


@pytest.mark.django_db
class TestKept:
    def keep(self, **facts) -> OperatorOpt:
        return operator_opts.keep_opt(
            **{"operator": "north", "starts_at": AT + HOUR, "ends_at": AT + 2 * HOUR, "at": AT, **facts}
        )

    def test_what_is_over_before_it_was_told_lapses(self):
        opt = self.keep()
        assert operator_opts.opts_to_tell(operator="north", at=AT) == [opt]
        assert operator_opts.opts_to_tell(operator="north", at=AT + 2 * HOUR) == []
        opt.refresh_from_db()
        assert opt.state == "lapsed"

    def test_one_operator_is_not_told_another_s(self):
        self.keep()
        assert operator_opts.opts_to_tell(operator="south", at=AT) == []

    def test_a_cancellation_while_it_is_on_its_way_is_told_too(self):
        on_its_way = self.keep()
        operator_opts.cancel_opt(opt_id=on_its_way.opt_id, at=AT)
        operator_opts.keep_told(opt=on_its_way, is_taken=True, answer="", at=AT)
        (waiting,) = operator_opts.opts_to_tell(operator="north", at=AT)
        assert waiting.state == "cancel_wanted"

    def test_a_refusal_is_kept_with_its_words_and_asked_no_more(self):
        opt = self.keep()
        operator_opts.keep_told(opt=opt, is_taken=False, answer="459 no EiOpt here", at=AT)
        assert operator_opts.opts_to_tell(operator="north", at=AT) == []
        opt.refresh_from_db()
        assert (opt.state, opt.answer) == ("refused", "459 no EiOpt here")

    @pytest.mark.parametrize(
        ("facts", "named"),
        [
            ({"ends_at": AT + HOUR}, "after its start"),
            ({"starts_at": AT - 2 * HOUR, "ends_at": AT}, "after now"),
            ({"ends_at": AT + timedelta(days=400)}, "366 days"),
            ({"reason": "lunch"}, "accepted: economic"),
            ({"resource": "x" * 65}, "64 printable"),
        ],
    )
    def test_nonsense_is_refused_by_name(self, facts, named):
        with pytest.raises(OptRefused, match=named):
            self.keep(**facts)

    def test_only_one_in_force_is_ended(self):
        opt = self.keep()
        operator_opts.cancel_opt(opt_id=opt.opt_id, at=AT)
        for opt_id in (opt.opt_id, "opt-unknown"):
            with pytest.raises(OptRefused, match="not in force"):
                operator_opts.cancel_opt(opt_id=opt_id, at=AT)

    @pytest.mark.parametrize(
        ("facts", "context", "expected"),
        [
            ({}, "c", True),
            ({"market_context": "c"}, "c", True),
            ({"market_context": "other"}, "c", False),
            ({"resource": "site-0001"}, "c", False),
            ({"opt_type": "optIn"}, "c", False),
            ({"operator": "south"}, "c", False),
        ],
    )
    def test_what_we_opted_out_of(self, facts, context, expected):
        self.keep(**facts)
        window = {"starts_at": AT + 1.5 * HOUR, "ends_at": AT + 3 * HOUR}
        assert operator_opts.opted_out(operator="north", market_context=context, **window).exists() is expected
        after = {"starts_at": AT + 2 * HOUR, "ends_at": AT + 3 * HOUR}
        assert not operator_opts.opted_out(operator="north", market_context=context, **after).exists()
