"""Draws a replay: voltages, currents, magnitude with half-cycle r.m.s., and the decisions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.figure import Figure

from sites.core.ridethrough import half_cycle_magnitude, voltage_magnitude
from sites.edge.studies.replay import Replay, Replayed, Watched
from sites.edge.studies.resampling import DETECTOR_HZ

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# It tells of its fonts, which nobody asked.
logging.getLogger("matplotlib").setLevel(logging.WARNING)

PHASES: Final = (("a", "#b45309"), ("b", "#0f766e"), ("c", "#4338ca"))
MARKS: Final = {
    "open_switch": ("#b91c1c", "-", "opens"),
    "relock": ("#6b7280", "--", "follows a jump"),
    "ride_through": ("#6b7280", ":", "rode through"),
    "return_possible": ("#15803d", "--", "grid is back"),
    "detector_blind": ("#6b7280", "-.", "blind"),
}
MAX_POINTS: Final = 6000
AROUND_S: Final = 0.06
"""Shown before and after the first transfer in the close view."""
LEVELS: Final = (0.7, 0.8, 0.9, 1.1)


def draw(replay: Replay, path: Path) -> None:
    """Write a picture of a replay; the kind of file follows from the extension."""
    has_current = any(watched.amperes is not None for watched in replay.watched)
    rows = 3 if has_current else 2
    first_s = replay.first_transfer_s
    long = sum(w.t_s[-1] - w.t_s[0] for w in replay.watched if len(w.t_s)) > 3.0 * AROUND_S
    columns = 2 if first_s is not None and long else 1
    figure = Figure(figsize=(8.5 * columns, 2.7 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, sharex="col", squeeze=False)
    for column in range(columns):
        window = (-np.inf, np.inf)
        if column == 1 and first_s is not None:
            window = (first_s - AROUND_S, first_s + AROUND_S)
        _draw_column(replay, axes[:, column], window, has_current=has_current)
    axes[0, 0].set_title(Path(replay.file).name, loc="left", fontsize=11)
    if columns == 2:
        axes[0, 1].set_title("around the first transfer", loc="left", fontsize=11)
    figure.savefig(path, dpi=110)


def _draw_column(replay: Replay, axes: Any, window: tuple[float, float], *, has_current: bool) -> None:
    voltage, magnitude = axes[0], axes[1]
    for number, watched in enumerate(replay.watched):
        _draw_stretch(replay, watched, axes, window, named=number == 0, has_current=has_current)
    for level in LEVELS:
        magnitude.axhline(level, color="#d1d5db", linewidth=0.8, zorder=0)
    magnitude.annotate(
        "ITIC: at most 10 s below 0.9 pu, 0.5 s below 0.8, 20 ms below 0.7",
        (0.01, 0.04),
        xycoords="axes fraction",
        fontsize=8,
        color="#6b7280",
    )
    voltage.set_ylabel("voltage [pu of peak]")
    magnitude.set_ylabel("magnitude [pu]")
    magnitude.set_ylim(bottom=0.0)
    if has_current:
        axes[2].set_ylabel("current [A]")
    axes[-1].set_xlabel("time of the file [s]")
    for axis in axes:
        axis.grid(visible=True, color="#f3f4f6")
        axis.spines[["top", "right"]].set_visible(False)
        _mark(axis, replay.decisions, window)
    for axis in (voltage, magnitude):
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            axis.legend(
                handles, labels, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, fontsize=8, frameon=False
            )


def _draw_stretch(
    replay: Replay, watched: Watched, axes: Any, window: tuple[float, float], *, named: bool, has_current: bool
) -> None:
    inside = np.flatnonzero((watched.t_s >= window[0]) & (watched.t_s <= window[1]))
    if len(inside) == 0:
        return
    shown = slice(inside[0], inside[-1] + 1, max(1, len(inside) // MAX_POINTS))
    t_s = watched.t_s[shown]
    phases = PHASES if len(watched.pu) == 3 else PHASES[:1]
    hertz = replay.nominal_hz or 50.0
    for (name, color), row in zip(phases, watched.pu, strict=True):
        label = f"v{name}" if named else None
        axes[0].plot(t_s, row[shown], color=color, linewidth=0.9, label=label)
        rms = half_cycle_magnitude(np.nan_to_num(row), DETECTOR_HZ, hertz)
        axes[1].plot(t_s, rms[shown], color=color, linewidth=1.0, label=f"half-cycle r.m.s. {name}" if named else None)
    if len(watched.pu) == 3:
        vector = voltage_magnitude(np.nan_to_num(watched.pu.T), DETECTOR_HZ, hertz)
        axes[1].plot(t_s, vector[shown], color="#111827", linewidth=1.2, label="three phases" if named else None)
    if has_current and watched.amperes is not None:
        for (_, color), row in zip(phases, watched.amperes, strict=True):
            axes[2].plot(t_s, row[shown], color=color, linewidth=0.9)


def _mark(axis: Axes, decisions: list[Replayed], window: tuple[float, float]) -> None:
    for decision in decisions[:40]:
        if not window[0] <= decision.t_s <= window[1]:
            continue
        color, style, text = MARKS.get(decision.action, ("#6b7280", ":", decision.action))
        axis.axvline(decision.t_s, color=color, linestyle=style, linewidth=1.2)
        subplot = axis.get_subplotspec()
        if subplot is not None and subplot.is_first_row():
            cause = f" {decision.cause.replace('_', ' ')}" if decision.cause else ""
            axis.annotate(
                f"{text}{cause and ':'}{cause}", (decision.t_s, 0.02), xycoords=("data", "axes fraction"), rotation=90,
                fontsize=8, color=color, ha="right", va="bottom", bbox={"color": "white", "alpha": 0.7, "pad": 1.0},
            )  # fmt: skip
