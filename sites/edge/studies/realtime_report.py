"""vpp-edge realtime-report: wake latency and step time of the control loop on this machine.

The loop is the one that ``vpp-edge control`` runs: plant and controller at 10 kHz, in ticks of 1 ms, on a thread
of its own. It is measured alone, beside a Python thread that holds the interpreter, and beside an uplink that is
dead: everything is published into a shared block that nobody reads.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numba

from sites.edge.control.loop import ControlLoop, LoopSettings
from sites.edge.control.pacing import NS_PER_S, Pace, PaceFigures
from sites.edge.control.realtime import ask_for_real_time
from sites.edge.drivers.simulated import SAMPLE_RATE_HZ, SimulatedSites
from sites.edge.link.shared_block import ControlSide, SharedBlock
from sites.edge.plant.fleet import synthetic_fleet
from sites.edge.studies.grid_play import GridPlay
from sites.output_files import judge_outputs, write_text

CASES: Final = ("alone", "busy Python thread", "dead uplink")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--seconds", type=float, default=20.0, metavar="N", help="length of each case (default 20)")
    parser.add_argument("--tick-ms", type=int, default=1, choices=(1, 2, 5, 10), help="batch of samples (default 1)")
    parser.add_argument("--json", type=Path, metavar="OUT")


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Measure, print the table and write the JSON."""
    if not 1.0 <= options.seconds <= 86_400.0:
        sys.stderr.write(f"vpp-edge realtime-report: --seconds is {options.seconds:g}, accepted: 1 to 86400\n")
        return 2
    judge_outputs(options.json)
    report = measure(options.seconds, options.tick_ms / 1000.0)
    sys.stdout.write(as_text(report))
    if options.json is not None:
        write_text(options.json, json.dumps(report, indent=2) + "\n")
    return 0


def measure(seconds: float, tick_s: float) -> dict[str, Any]:
    """Return the machine, what it granted and each case's figures."""
    machine = describe_machine()
    warm(tick_s)
    privileges: dict[str, str] = {}
    cases = {}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            figures = run_case(name, seconds, tick_s, Path(folder), privileges)
        cases[name] = asdict(figures)
    return {
        "machine": machine | {"load_after": round(os.getloadavg()[0], 2)},
        "granted": privileges,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "tick_ms": tick_s * 1000.0,
        "seconds": seconds,
        "cases": cases,
    }


class _Prepared:
    """A driver of one site with its pace, as ``ControlLoop`` wants one that runs already."""

    def __init__(self, seconds: float, tick_s: float) -> None:
        now_us = time.time_ns() // 1000
        self.driver = SimulatedSites(synthetic_fleet(1, 1), seed=1, starts_at_us=now_us, grid=GridPlay(50.0))
        ticks = round(seconds / tick_s) + 1000
        self.pace = Pace(period_ns=round(tick_s * NS_PER_S), starts_ns=time.monotonic_ns(), kept_ticks=ticks)
        self.driver.prepare_pace(self.pace, round(tick_s * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ, SAMPLE_RATE_HZ)


def run_case(name: str, seconds: float, tick_s: float, folder: Path, privileges: dict[str, str]) -> PaceFigures:
    """Run the loop on its own thread for some seconds with one of ``CASES`` beside it on this one.

    ``folder`` takes the shared block; ``privileges`` what the machine granted.
    """
    prepared = _Prepared(seconds, tick_s)
    pace, stop, ready = prepared.pace, threading.Event(), threading.Event()

    def work() -> None:
        privileges.update(ask_for_real_time())
        # Read at the last moment: building and asking must not count as lateness.
        pace.record["starts_ns"] = time.monotonic_ns()
        ready.set()
        prepared.driver.run_paced()

    loop = threading.Thread(target=work, name="control")
    timer = threading.Timer(seconds, stop.set)
    loop.start()
    ready.wait()
    timer.start()
    try:
        if name == "busy Python thread":
            hold_interpreter(stop)
        elif name == "dead uplink":
            _serve_nobody(prepared, stop, tick_s, folder)
        stop.wait()
    finally:
        stop.set()
        pace.stop()
        loop.join()
        timer.cancel()
        gc.unfreeze()
        gc.enable()
    return pace.figures()


def hold_interpreter(stop: threading.Event) -> None:
    """Hold the interpreter's lock as long as it lets one: JSON in one C call, objects, the collector."""
    document = json.dumps([{"name": str(n), "values": list(range(40))} for n in range(2000)])
    gc.enable()
    while not stop.is_set():
        kept = json.loads(document)
        kept.append(kept)
        del kept
        gc.collect()


def _serve_nobody(prepared: _Prepared, stop: threading.Event, tick_s: float, folder: Path) -> None:
    """Publish all that a site publishes into a shared block that no uplink reads."""
    exchange = ControlSide(SharedBlock(folder / "block"), folder)
    loop = ControlLoop(prepared.driver, exchange, LoopSettings(tick_s, 1))
    while not stop.wait(0.005):
        loop.serve(prepared.driver, prepared.pace)


def warm(tick_s: float) -> None:
    """Compile the loop, or load it from the cache, before anything counts."""
    prepared = _Prepared(1.0, tick_s)
    prepared.pace.stop()
    prepared.driver.run_paced()


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on: kernel, processor, governor, load, compiler."""
    return {
        "kernel": platform.release(),
        "preemption": _kernel_preemption(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "none shown"),
        "clock_source": _read(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource"), "not shown"),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "numba": numba.__version__,
    }


def _kernel_preemption() -> str:
    if _read(Path("/sys/kernel/realtime"), "0") == "1":
        return "PREEMPT_RT"
    words = platform.version().split()
    return next((word for word in words if word.startswith("PREEMPT")), "none named")


def _processor() -> str:
    for line in _read(Path("/proc/cpuinfo"), "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "not named"


def _read(path: Path, otherwise: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return otherwise


def as_text(report: Mapping[str, Any]) -> str:
    """Return the report as a table for the terminal."""
    machine = report["machine"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['architecture']}; kernel {machine['kernel']} "
        f"{machine['preemption']}; governor {machine['governor']}; clock {machine['clock_source']}",
        f"Python {machine['python']}, numba {machine['numba']}; load {machine['load_before']} before, "
        f"{machine['load_after']} after",
        "asked for: " + ", ".join(f"{what} {how}" for what, how in report["granted"].items()),
        f"one site, {report['sample_rate_hz']} Hz in ticks of {report['tick_ms']:g} ms, {report['seconds']:g} s a case",
        "",
        f"{'':20s}{'ticks':>8s}{'late':>7s}{'overrun':>9s}   {'wake latency us':^34s}   {'step us':^34s}",
        f"{'':44s}   " + "   ".join([f"{'p50':>7s}{'p99':>9s}{'p99.99':>9s}{'max':>9s}"] * 2),
    ]
    for name, case in report["cases"].items():
        columns = [
            "".join(f"{case[part][key]:{width}.1f}" for key, width in zip(case[part], (7, 9, 9, 9), strict=True))
            for part in ("wake_us", "step_us")
        ]
        lines.append(f"{name:20s}{case['ticks']:8d}{case['late']:7d}{case['overruns']:9d}   " + "   ".join(columns))
    lines += ["", "late: began more than one tick after its time; every sample is run all the same."]
    return "\n".join(lines) + "\n"
