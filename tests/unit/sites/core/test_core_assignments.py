"""Assignments: exact bytes, named faults, and what a site must refuse."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sites.core.assignments import Assignment, Refusal, assignment_from_bytes, curve_of, judge
from sites.core.bodies import BodyError
from sites.core.curves import CATALOGUE, Direction, curve_named
from sites.core.envelope import OperatingEnvelope

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def an_assignment(**changes: object) -> Assignment:
    curve = curve_named("neso-dc-low")
    assignment = Assignment(
        assignment_id="a-1",
        site_id="site-0001",
        sequence=7,
        dispatch_id="DC-1",
        curve_name=curve.name,
        direction=curve.direction,
        points=curve.points,
        power_kw=25.0,
        baseline_kw=0.0,
        starts_at=AT + timedelta(seconds=10),
        ends_at=AT + timedelta(minutes=15),
    )
    return replace(assignment, **changes)


def an_envelope(**changes: object) -> OperatingEnvelope:
    return replace(
        OperatingEnvelope("site-0001", AT, discharge_kw=30.0, charge_kw=30.0, usable_energy_kwh=50.0), **changes
    )


class TestBytes:
    @given(
        power_kw=st.floats(0.0, 1e5), baseline_kw=st.floats(-1e5, 1e5), sequence=st.integers(1, 2**53 - 1),
        length_s=st.integers(1, 10**7), direction=st.sampled_from(Direction),
    )  # fmt: skip
    def test_come_back_as_the_same_assignment(self, power_kw, baseline_kw, sequence, length_s, direction):
        sent = an_assignment(
            power_kw=power_kw, baseline_kw=baseline_kw, sequence=sequence, direction=direction,
            ends_at=AT + timedelta(seconds=10 + length_s),
        )  # fmt: skip
        received = assignment_from_bytes(sent.to_bytes())
        assert received == sent
        assert received.content_hash == sent.content_hash

    @pytest.mark.parametrize("product", sorted(CATALOGUE))
    def test_carry_every_product_of_the_catalogue(self, product):
        curve = curve_named(product)
        sent = an_assignment(
            curve_name=curve.name, direction=curve.direction, points=curve.points,
            trigger=curve.trigger, recovery=curve.recovery,
        )  # fmt: skip
        received = assignment_from_bytes(sent.to_bytes())
        assert received == sent
        carried = curve_of(received)
        assert (carried.points, carried.direction, carried.trigger, carried.recovery) == (
            curve.points, curve.direction, curve.trigger, curve.recovery,
        )  # fmt: skip

    def test_a_plain_curve_keeps_the_first_version_and_its_bytes(self):
        body = json.loads(an_assignment().to_bytes())
        assert body["v"] == 1
        assert not {"trigger", "recovery"} & set(body)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"v": 2}, "v is 2, accepted for this content: 1"),
            ({"v": 1, "direction": "both"}, "v is 1, accepted for this content: 2"),
            ({"v": 2, "trigger": {"ramp_s": 0}}, "trigger is .* accepted: an object of ramp_s, sustain_s"),
            ({"v": 2, "recovery": {"share": 2, "after_s": 0, "ramp_per_min": 1}}, "share is 2.0, accepted"),
            ({"v": 2, "recovery": {"share": "x", "after_s": 0, "ramp_per_min": 1}}, "recovery.share is 'x', accepted"),
        ],
    )
    def test_what_latches_or_recovers_is_checked_too(self, changes, says):
        body = json.loads(an_assignment().to_bytes()) | changes
        with pytest.raises(BodyError, match=says):
            assignment_from_bytes(json.dumps(body).encode())

    def test_carry_the_curve_itself(self):
        assert curve_of(assignment_from_bytes(an_assignment().to_bytes())).points == curve_named("neso-dc-low").points

    @pytest.mark.parametrize(
        ("key", "value", "says"),
        [
            ("v", 3, "v is 3, accepted: 1, 2"),
            ("site_id", "", "site_id is ''"),
            ("sequence", 0, "sequence is 0"),
            ("sequence", True, "sequence is True"),
            ("power_kw", -1, "power_kw is -1"),
            ("power_kw", "25", "power_kw is '25'"),
            ("power_kw", None, "power_kw is None"),
            ("power_kw", 10**400, "power_kw is 1000"),
            ("starts_at", "0001-01-01T00:00:00+14:00", "starts_at is '0001-01-01T00:00:00+14:00'"),
            ("direction", "up", "direction is 'up', accepted: low, high"),
            ("points", [[0.2, 0.0]], "1 points, accepted: 2 to 8"),
            ("points", [[0.2, 0.0], [0.1, 1.0]], "deviations that rise"),
            ("points", [[0.2, 0.0], ["x", 1.0]], "points is 'x'"),
            ("points", "none", "points is not a list"),
            ("starts_at", "2026-01-01T12:00:00", "starts_at is '2026-01-01T12:00:00'"),
            ("ends_at", "2025-01-01T12:00:00+00:00", "accepted: after its start"),
        ],
    )
    def test_a_fault_names_its_field(self, key, value, says):
        body = json.loads(an_assignment().to_bytes())
        body[key] = value
        with pytest.raises(BodyError) as fault:
            assignment_from_bytes(json.dumps(body).encode())
        assert says in str(fault.value)

    @given(st.binary(max_size=5000))
    def test_any_bytes_are_an_assignment_or_a_named_fault(self, body):
        with pytest.raises(BodyError):
            assignment_from_bytes(body)

    def test_infinity_is_refused(self):
        body = an_assignment().to_bytes().replace(b'"power_kw":25.0', b'"power_kw":1e999')
        with pytest.raises(BodyError, match="power_kw is inf, accepted: a finite number"):
            assignment_from_bytes(body)


class TestJudge:
    @pytest.mark.parametrize(
        ("changes", "held_sequence", "locked_out", "refusal"),
        [
            ({}, None, False, None),
            ({}, 6, False, None),
            ({}, 8, False, Refusal.STALE),
            ({"power_kw": 26.0}, 7, False, Refusal.REPEATED),
            ({"site_id": "site-0002"}, None, False, Refusal.WRONG_SITE),
            ({"starts_at": AT - timedelta(hours=2), "ends_at": AT}, None, False, Refusal.EXPIRED),
            ({"power_kw": 31.0}, None, False, Refusal.OUT_OF_ENVELOPE),
            ({"direction": Direction.HIGH, "power_kw": 31.0}, None, False, Refusal.OUT_OF_ENVELOPE),
            ({}, None, True, Refusal.LOCKED_OUT),
            ({"power_kw": 0.0}, 6, True, None),
        ],
    )
    def test_table(self, changes, held_sequence, locked_out, refusal):
        held = an_assignment(sequence=held_sequence) if held_sequence else None
        assert (
            judge(an_assignment(**changes), held=held, envelope=an_envelope(), locked_out=locked_out, at=AT) is refusal
        )

    def test_the_held_assignment_again_is_no_refusal(self):
        held = an_assignment()
        assert judge(an_assignment(), held=held, envelope=an_envelope(), locked_out=False, at=AT) is None
