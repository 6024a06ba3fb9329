"""Delay of the decision on measured island formations, and what the field's recordings do to the detector.

Recordings: ../shared/data/waveforms (not part of the product; without them this says so and ends).
usage: python -m tests.benchmarks.bench_recordings [--files] [--csv] [NAME…]
    --files: one line a recording; --csv: as CSV files through ``vpp-edge replay`` and not straight to the detector
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sites.edge.control.detection import Decision, watch
from sites.edge.control.settings import ControlSettings
from sites.edge.studies.replay import ReplaySettings, replay_file
from sites.edge.studies.resampling import to_detector_rate

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "waveforms"
LAB_PEAK_V = 480.0 * np.sqrt(2.0 / 3.0)
LAB_KVA = 100.0
LAB_PEAK_A = np.sqrt(2.0) * LAB_KVA * 1000.0 / (np.sqrt(3.0) * 480.0)
"""The lab's largest inverter; a site knows its converter's rating."""
EARLY_MS = 1.0
"""Recovered instants of current extinction are good to 0.5 ms, and the voltage may move before the arc is out."""
NO_ISLAND = {"0032"}
CRUDE = "crude detectors there: p50 2.8, p90 26, max 301 ms (deviation); magnitude alone: 32 of 77 false"
FIELD = {
    "keating_347V": (60, None, "switching transient"),
    "oita_HV": (60, None, "load cut, +0.4 %"),
    "pycomtrade_test2_GC1": (60, None, "60 ms dip to 0.71 pu"),
    "pycomtrade_test3_B69": (50, None, "0.6 % step"),
    "pycomtrade_test3_G1": (50, None, "0.6 % step"),
    "pycomtrade_test3_G3": (50, None, "0.6 % step"),
    "strathmore_275kV": (50, 0.98, "one phase opens"),
    "wisp3_C60": (50, 0.463, "phase B, then all lost"),
    "xtz_220kV_seg0": (50, 0.2, "1-phase fault 40 ms, 0.66 pu: outside ITIC"),
    "xtz_220kV_seg1": (50, 1.35, "reclosed onto the fault"),
    "ygz_220kV_seg0": (50, 0.2, "1-phase fault, pole opens"),
}
"""Nominal frequency [Hz], about when the loss is [s] (None: a transfer is false), what happens."""


@dataclass(frozen=True)
class Outcome:
    """One lab recording as the detector saw it."""

    name: str
    opened_ms: float
    """First pole's current extinction; NaN when nothing opens."""
    first_ms: float
    """First decision to open the switch; NaN for none."""
    cause: str

    @property
    def delay_ms(self) -> float:
        """Decision after the first pole's opening; NaN when there is none of the two."""
        return self.first_ms - self.opened_ms

    @property
    def is_false(self) -> bool:
        """A transfer before the event, or where there is none."""
        return not np.isnan(self.first_ms) and not self.delay_ms >= -EARLY_MS

    @property
    def is_missed(self) -> bool:
        """The grid opened and no transfer came."""
        return bool(np.isnan(self.first_ms)) and not np.isnan(self.opened_ms)


def first_transfer(decisions: Sequence[Decision], known_s: np.ndarray) -> tuple[float, str]:
    """Return the instant [s] and the cause of the first transfer; NaN when there is none."""
    for decision in decisions:
        if decision.action == "open_switch":
            return float(known_s[decision.sample]), f"{decision.cause}/{decision.path}"
    return float("nan"), ""


def watched(
    v_pu: np.ndarray, i_pu: np.ndarray | None, fs_hz: float, settings: ControlSettings
) -> tuple[list[Decision], np.ndarray]:
    """Return the detector's decisions on a recording and the instants at which its samples were known [s]."""
    t_s = np.arange(v_pu.shape[1]) / fs_hz
    rows = v_pu if i_pu is None else np.concatenate((v_pu, i_pu))
    _, values, known_s = to_detector_rate(t_s, rows)
    currents = values[3:6] if i_pu is not None else (None, None, None)
    return watch(*values[:3], *currents, settings=settings), known_s


def lab_outcome(path: Path, *, with_current: bool) -> Outcome:
    """Watch one lab formation: load side voltage, and the current through the contactor."""
    with np.load(path) as lab:
        volts, amperes = lab["v_island"].astype(float), lab["i_utility"].astype(float)
        fs_hz, opens = float(lab["fs"]), lab["t_open_ms"]
    decisions, known_s = watched(
        volts / LAB_PEAK_V,
        amperes / LAB_PEAK_A if with_current else None,
        fs_hz,
        ControlSettings(nominal_hz=60.0, phases=3),
    )
    first_s, cause = first_transfer(decisions, known_s)
    opened_ms = float("nan") if np.isnan(opens).all() else float(np.nanmin(opens))
    return Outcome(path.stem, opened_ms, first_s * 1000.0, cause)


def replayed_outcome(path: Path, *, with_current: bool) -> Outcome:
    """Write one lab formation as CSV, as a site would measure it, and take it through the replay."""
    with np.load(path) as lab:
        rows = [*lab["v_island"], *(lab["i_utility"] if with_current else ())]
        t_s = np.arange(len(rows[0])) / float(lab["fs"])
        opens = lab["t_open_ms"]
    names = "t_s,va,vb,vc" + (",ia,ib,ic" if with_current else "")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{path.stem}.csv"
        np.savetxt(file, np.column_stack((t_s, *rows)), fmt="%.7g", delimiter=",", header=names, comments="")
        found = replay_file(file, ReplaySettings(nominal_v=480.0 / np.sqrt(3.0), nominal_hz=60.0))
    first = next((d for d in found.decisions if d.action == "open_switch"), None)
    opened_ms = float("nan") if np.isnan(opens).all() else float(np.nanmin(opens))
    if first is None:
        return Outcome(path.stem, opened_ms, float("nan"), "")
    return Outcome(path.stem, opened_ms, first.t_s * 1000.0, f"{first.cause}/{first.path}")


def print_distribution(title: str, outcomes: Sequence[Outcome]) -> None:
    """Print one line of figures for a set of formations."""
    delays = [o.delay_ms for o in outcomes if not o.is_false and not o.is_missed and not np.isnan(o.opened_ms)]
    formations = sum(not np.isnan(o.opened_ms) for o in outcomes)
    if not delays:
        print(f"{title:38s} n={formations:3d}: no transfer in any")
        return
    p50, p90 = np.percentile(delays, (50, 90))
    print(
        f"{title:38s} n={formations:3d}  p50 {p50:5.2f}  p90 {p90:6.2f}  max {max(delays):6.2f} ms  "
        f"<=2 ms {100 * sum(d <= 2.0 for d in delays) / len(delays):3.0f} %  "
        f"false {sum(o.is_false for o in outcomes)}  missed {sum(o.is_missed for o in outcomes)}"
    )


def lab(names: Sequence[str], *, per_file: bool, as_csv: bool) -> None:
    """Print delays over the lab's formations, with and without current."""
    outcome_of = replayed_outcome if as_csv else lab_outcome
    paths = [p for p in sorted(FOLDER.glob("[0-9]*.npz")) if not names or p.stem in names]
    if not paths:
        return
    results = {}
    for with_current in (False, True):
        results[with_current] = [outcome_of(path, with_current=with_current) for path in paths]
    if per_file:
        print("lab: delay from the first pole's opening to the decision [ms]")
        print("file    opens at   voltage only                     with current")
        for plain, aided in zip(results[False], results[True], strict=True):
            cells = [
                f"{o.delay_ms if not np.isnan(o.opened_ms) else o.first_ms:7.2f}{' FALSE' if o.is_false else ''}"
                f"{' MISSED' if o.is_missed else ''} {o.cause}"
                for o in (plain, aided)
            ]
            print(f"{plain.name:6s} {plain.opened_ms:9.1f}   {cells[0]:32s} {cells[1]}")
    print(f"\nlab, {len(paths)} recordings; {CRUDE}")
    for with_current, outcomes in results.items():
        title = "with current" if with_current else "voltage only"
        print_distribution(f"{title}, all", outcomes)
        print_distribution(f"{title}, April (passive loads)", [o for o in outcomes if o.name < "0100"])
        print_distribution(f"{title}, summer (composite loads)", [o for o in outcomes if o.name > "0100"])
        # Neighbors in the list are neighbors in the lab: every second one keeps both halves alike.
        print_distribution(f"{title}, 1st, 3rd, 5th, ...", outcomes[0::2])
        print_distribution(f"{title}, 2nd, 4th, 6th, ...", outcomes[1::2])


def field(names: Sequence[str]) -> None:
    """Print what the detector makes of the field's recordings."""
    print("\nfield: first transfer [s]; none is right where nothing is lost")
    for name, (hertz, lost_s, what) in FIELD.items():
        path = FOLDER / f"{name}.npz"
        if not path.exists() or (names and name not in names):
            continue
        with np.load(path) as found:
            volts, amperes, fs_hz = found["v"].astype(float), found["i"].astype(float), float(found["fs"])
            t0_s = float(found["t0"])
        cycle = round(2.0 * fs_hz / hertz)
        peak_v = float(np.sqrt(2.0 * (volts[:, :cycle] ** 2).mean()))
        settings = ControlSettings(nominal_hz=float(hertz), phases=3)
        cells = []
        for with_current in (False, True):
            if with_current and amperes.size == 0:
                cells.append("no currents")
                continue
            base = max(float(np.sqrt(2.0 * (amperes[:, :cycle] ** 2).mean())), 1e-9) if with_current else 1.0
            decisions, known_s = watched(volts / peak_v, amperes / base if with_current else None, fs_hz, settings)
            first_s, cause = first_transfer(decisions, known_s)
            others = {d.action for d in decisions} - {"open_switch"}
            verdict = "none" if np.isnan(first_s) else f"{t0_s + first_s:.4f} {cause}"
            if lost_s is None and not np.isnan(first_s):
                verdict += " FALSE"
            if others:
                verdict += f" ({', '.join(sorted(others))})"
            cells.append(verdict)
        expected = "none" if lost_s is None else f"{lost_s:g}"
        print(f"{name:22s} {fs_hz:7.0f} Hz  expected {expected:6s} {cells[0]:44s} | {cells[1]:44s} {what}")


def main(arguments: Sequence[str]) -> int:
    """Run on all recordings or on the named ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    if not FOLDER.is_dir():
        print(f"no recordings at {FOLDER}: nothing measured")
        return 0
    lab(options.names, per_file=options.files or bool(options.names), as_csv=options.csv)
    field(options.names)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
