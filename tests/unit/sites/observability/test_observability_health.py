"""Health: what is gone is named, and silence is a fault."""

from sites.observability.health import Health


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def test_a_process_without_faults_is_well():
    health = Health("ingest")
    health.watch("broker", lambda: "")
    assert health.faults() == {}


def test_what_is_gone_is_named_with_its_reason():
    health = Health("ingest")
    health.watch("broker", lambda: "broker cannot be reached")
    health.watch("database", lambda: "")
    assert health.faults() == {"broker": "broker cannot be reached"}


def test_a_loop_that_stands_still_is_a_fault_until_it_beats_again():
    clock = Clock()
    health = Health("ingest", now_s=clock)
    beat = health.expect_beat("loop", within_s=10.0)
    clock.s += 10.0
    assert health.faults() == {}
    clock.s += 1.0
    assert health.faults() == {"loop": "no sign of life for 11 s, accepted: 10 s"}
    beat()
    assert health.faults() == {}


def test_a_check_that_breaks_is_a_fault():
    def check() -> str:
        raise RuntimeError("no answer")

    health = Health("web")
    health.watch("database", check)
    assert health.faults() == {"database": "the check failed: RuntimeError"}
