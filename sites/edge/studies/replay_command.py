"""The command ``vpp-edge replay``: its arguments, what it prints, its JSON and its check."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sites.edge.studies.replay import Replay, Replayed, ReplaySettings, replay_files, volts_text
from sites.edge.studies.waveform_files import RecordingError
from sites.output_files import judge_outputs, replacing, write_text

EXPECT: Final = re.compile(r"island@([0-9.eE+-]+)\Z")
EARLY_MS: Final = 1.0
"""An event's instant is not known better than this: a transfer may seem to come so much before it."""
PICTURES: Final = (".png", ".svg", ".pdf")
NOT_MET: Final = 1
BAD_INPUT: Final = 2
ACTION_TEXTS: Final = {
    "open_switch": "opens the switch",
    "relock": "follows a jump of the grid's phase; the switch stays closed",
    "ride_through": "rode a disturbance through; the switch stayed closed",
    "return_possible": "the grid is back",
    "detector_blind": "is blind",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What ``--expect`` asks for."""

    island_s: float | None
    """First transfer at this instant of the file's axis; None: none at all."""

    def fault(self, replay: Replay, tolerance_ms: float) -> str:
        """Return how a replay misses it; empty when it does not."""
        first_s = replay.first_transfer_s
        if self.island_s is None and first_s is not None:
            return f"a transfer at {first_s:.4f} s, expected: none"
        if self.island_s is None:
            unseen = [decision.t_s for decision in replay.decisions if decision.cause == "no_healthy_beginning"]
            return f"blind from {unseen[0]:.4f} s on (no healthy beginning), expected: none, seen" if unseen else ""
        if first_s is None:
            return f"no transfer, expected: one at {self.island_s:g} s"
        late_ms = (first_s - self.island_s) * 1e3
        if -EARLY_MS <= late_ms <= tolerance_ms:
            return ""
        return (
            f"first transfer at {first_s:.4f} s, expected: {self.island_s:g} s, up to {EARLY_MS:g} ms before and "
            f"{tolerance_ms:g} ms after it"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="COMTRADE (.cfg with .dat, .cff) or CSV")
    parser.add_argument(
        "--nominal-voltage", type=_positive, metavar="V",
        help="r.m.s., phase to neutral [V]; without it the healthy beginning tells",
    )  # fmt: skip
    parser.add_argument("--nominal-hz", type=float, choices=(50.0, 60.0), help="without it the beginning tells")
    parser.add_argument(
        "--channels", type=_names, default=(), metavar="A,B,C[,…]",
        help="COMTRADE channels, by name or place: va[,ia] or va,vb,vc[,ia,ib,ic]",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the decisions as JSON")
    parser.add_argument("--plot", type=_picture, metavar="OUT.png", help="draw voltages, magnitude and decisions")
    parser.add_argument("--expect", type=_expect, metavar="island@T|none", help="exit status 1 when it is not so")
    parser.add_argument("--tolerance-ms", type=_positive, default=30.0, metavar="MS", help="after T (default 30)")
    parser.add_argument(
        "--switch-ms", type=_positive, default=1.0, metavar="MS",
        help="assumed time of the static switch (default 1, forced commutation)",
    )  # fmt: skip


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < 1e7:
        raise argparse.ArgumentTypeError(f"is {text!r}, accepted: a number above 0")
    return value


def _picture(text: str) -> Path:
    if Path(text).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"is {text!r}, accepted: a file of kind {', '.join(PICTURES)}")
    return Path(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _expect(text: str) -> Wanted:
    if text == "none":
        return Wanted(None)
    match = EXPECT.match(text)
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(
            f"is {text!r}, accepted: none, or island@T with T in seconds of the file's axis"
        )
    return Wanted(value)


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Replay the files; return 0, 1 when an expectation was not met, 2 for input that cannot be used."""
    del environment
    judge_outputs(options.json, options.plot)
    settings = ReplaySettings(
        nominal_v=options.nominal_voltage,
        nominal_hz=options.nominal_hz,
        channels=options.channels,
        switch_ms=options.switch_ms,
    )
    done, failed = replay_files(options.files, settings)
    for replay in done:
        sys.stdout.write("\n".join(report(replay)) + "\n")
    for _, error in failed:
        sys.stderr.write(f"vpp-edge replay: {error}\n")
    try:
        if options.json is not None:
            write_text(options.json, json.dumps(as_json(options.files, done, failed), indent=2) + "\n")
        if options.plot is not None:
            _draw(done, options.plot)
    except RecordingError as error:
        sys.stderr.write(f"vpp-edge replay: {error}\n")
        return BAD_INPUT
    if failed:
        return BAD_INPUT
    return _check(options, done)


def _check(options: argparse.Namespace, done: Sequence[Replay]) -> int:
    if options.expect is None:
        return 0
    faults = [(replay.file, fault) for replay in done if (fault := options.expect.fault(replay, options.tolerance_ms))]
    for file, fault in faults:
        sys.stderr.write(f"vpp-edge replay: {file}: {fault}\n")
    return NOT_MET if faults else 0


def report(replay: Replay) -> list[str]:
    """Return what is printed of one file."""
    lines = [f"{replay.file}: {replay.title}, {replay.fs_hz:.6g} Hz"]
    lines += [f"  note: {note}" for note in replay.notes]
    if replay.nominal_v is not None:
        lines.append(f"  nominal: {volts_text(replay.nominal_v)} r.m.s. phase to neutral, {replay.nominal_hz:g} Hz")
    if not replay.decisions:
        lines.append("  no decision: nothing was lost")
    lines += [f"  {line}" for decision in replay.decisions for line in _sentences(decision)]
    return lines


def _sentences(decision: Replayed) -> list[str]:
    why = f": {decision.cause.replace('_', ' ')}" if decision.cause else ""
    how = f" ({decision.path.replace('_', ' ')})" if decision.path else ""
    lines = [f"{decision.t_s:.4f} s  {ACTION_TEXTS.get(decision.action, decision.action)}{why}{how}"]
    view = decision.view
    if view is not None:
        verdict = "inside" if view.inside_itic else "OUTSIDE"
        where = "measured"
        if view.switch_ms is not None:
            where = f"measured to the decision, {view.switch_ms:g} ms of switch and the island's voltage then: assumed"
        lines.append(
            f"    load saw {view.least_pu:.2f} to {view.greatest_pu:.2f} pu, {view.lost_volt_seconds:.3g} V s lost, "
            f"{verdict} ITIC ({where})"
        )
    return lines


def as_json(
    names: Sequence[str], done: Sequence[Replay], failed: Sequence[tuple[str, RecordingError]]
) -> dict[str, Any]:
    """Return the files' decisions in the order of the command line; a file that was not usable has ``error``."""
    errors = dict(failed)
    replays = {replay.file: replay for replay in done}
    files: list[dict[str, Any]] = []
    for name in names:
        if name in errors:
            files.append(
                {"file": name, "fs_hz": None, "decisions": [], "first_transfer_s": None, "error": str(errors[name])}
            )
            continue
        replay = replays[name]
        files.append(
            {
                "file": name,
                "fs_hz": replay.fs_hz,
                "decisions": [
                    {"t_s": round(d.t_s, 7), "action": d.action, "cause": d.cause, "path": d.path}
                    for d in replay.decisions
                ],
                "first_transfer_s": None if replay.first_transfer_s is None else round(replay.first_transfer_s, 7),
            }
        )
    return {"files": files}


def _draw(done: Sequence[Replay], path: Path) -> None:
    # Imported here: only this option needs the drawing library, which an edge does without.
    try:
        from sites.edge.studies.replay_plot import draw
    except ModuleNotFoundError as error:
        raise RecordingError(
            f"--plot needs {error.name}, accepted: an installation with the extra: open-vpp[studies]"
        ) from None
    for number, replay in enumerate(done, 1):
        target = path if len(done) == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        with replacing(target) as beside:
            draw(replay, beside)
