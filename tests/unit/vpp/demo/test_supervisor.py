"""The supervisor: a killed child comes back, one that cannot start is given up and named, all end by id."""

import json
import os
import signal
import sys
import time

import pytest

from vpp.demo.processes import Processes
from vpp.demo.supervisor import Child, Supervisor
from vpp.demo.workspace import DemoError, free_ports, make_workspace

ECHO = """
import json, sys
print(json.dumps({"event": "ready"}), flush=True)
for line in sys.stdin:
    print(line, flush=True)
"""


def until(condition, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.02)


@pytest.fixture
def supervisor():
    supervisor = Supervisor()
    yield supervisor
    supervisor.stop()


def a_child(tmp_path, code=ECHO, **options):
    return Child("child", [sys.executable, "-c", code], dict(os.environ), tmp_path / "child.log", **options)


def test_a_child_that_speaks_is_heard(supervisor, tmp_path):
    child = supervisor.add(a_child(tmp_path, speaks=True))
    assert child.await_said(lambda said: said["event"] == "ready", within_s=10, what="ready") == {"event": "ready"}
    child.tell('{"event": "again"}')
    child.await_said(lambda said: said["event"] == "again", within_s=10, what="again")


def test_a_killed_child_comes_back(supervisor, tmp_path):
    child = supervisor.add(a_child(tmp_path, code="import time\nwhile True: time.sleep(0.1)"))
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: child.restarts == 1 and child.process.pid != first and child.process.poll() is None)


def test_a_child_that_cannot_live_is_given_up_and_named(supervisor, tmp_path):
    child = supervisor.add(a_child(tmp_path, code="raise SystemExit(3)"))
    until(lambda: not child.restartable)
    with pytest.raises(DemoError, match="child ended with code 3"):
        supervisor.require_alive()


def test_waiting_for_a_child_that_ended_says_so_at_once(supervisor, tmp_path):
    child = supervisor.add(a_child(tmp_path, code="raise SystemExit(4)", speaks=True, restartable=False))
    with pytest.raises(DemoError, match="ended with code 4 before: a word"):
        child.await_said(lambda said: True, within_s=30, what="a word")


def test_a_simulation_that_cannot_keep_up_is_named_and_one_that_has_caught_up_is_not(supervisor, tmp_path):
    processes = Processes(make_workspace(tmp_path))
    processes.simulator = supervisor.add(a_child(tmp_path, speaks=True))
    for lag_s, fails in ((0.7, False), (12.4, True), (0.0, False)):
        processes.simulator.tell(json.dumps({"event": "behind", "lag_s": lag_s}))
        until(lambda lag_s=lag_s: processes.simulator.last_said.get("behind", {}).get("lag_s") == lag_s)
        if fails:
            with pytest.raises(DemoError, match="12 s behind the clock: this machine is too busy"):
                processes.require_real_time()
        else:
            processes.require_real_time()


def test_stopping_ends_every_child(tmp_path):
    supervisor = Supervisor()
    children = [supervisor.add(a_child(tmp_path, code="import time\ntime.sleep(600)")) for _ in range(3)]
    supervisor.stop()
    assert all(child.process.poll() is not None for child in children)


def test_ports_are_free_and_different():
    ports = free_ports(4)
    assert len(set(ports)) == 4


def test_old_runs_are_tidied_away(tmp_path):
    for _ in range(6):
        make_workspace(tmp_path)
    assert len(list(tmp_path.glob("run-*"))) == 4
