"""vpp-edge replay: what this controller would have decided on a recording that somebody brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.edge.control.detection import Decision, watch
from sites.edge.control.settings import ControlSettings
from sites.edge.studies.load_view import LoadView, load_view
from sites.edge.studies.recording_health import (
    Beginning,
    Stretch,
    bridged,
    find_beginning,
    stretches,
    without_stuck,
)
from sites.edge.studies.resampling import DETECTOR_HZ, to_detector_rate
from sites.edge.studies.waveform_files import RecordingError, WaveFile, read_wave_file

FloatArray = npt.NDArray[np.float64]

SLOWEST_HZ: Final = 600.0
SLOWEST_CURRENT_HZ: Final = 4_990.0
"""Currents recorded more slowly do not show when a pole stops to conduct. Measured: 39 lab recordings thinned to 4 kHz
without a filter gave 3 transfers before the event, at 5 kHz and above none."""
SURE_HZ: Final = 1_990.0
"""Below, a transient is one sample and aliases. Measured at 1 kHz: 8 of 24 capacitor switchings at 900 Hz passed for a
loss, and one lost phase of three took up to 5.8 ms."""
FASTEST_HZ: Final = 1_000_000.0
LONGEST_S: Final = 900.0
LARGEST_VALUE: Final = 1e9
"""Volts or amperes that no grid has."""
LEAD_S: Final = 0.2
"""The healthy beginning is repeated for so long before the recording: the detector of a site is settled."""
SQRT3: Final = 1.7320508


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What the user says about the recordings."""

    nominal_v: float | None = None
    """R.m.s., phase to neutral [V]; None: taken from the healthy beginning."""
    nominal_hz: float | None = None
    channels: tuple[str, ...] = ()
    switch_ms: float = 1.0
    """Assumed time from the decision until the static switch is open [ms]."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision on the file's own time axis."""

    t_s: float
    action: str
    cause: str
    path: str
    view: LoadView | None
    """What the load saw up to here; None where nothing was disturbed."""


@dataclass(slots=True)
class Watched:
    """One stretch as the detector saw it, kept for the picture."""

    t_s: FloatArray
    pu: FloatArray
    """Voltages [phases, n] per unit of the nominal peak."""
    amperes: FloatArray | None
    beginning: Beginning | None


@dataclass(slots=True)
class Replay:
    """What came of one file."""

    file: str
    fs_hz: float
    title: str
    decisions: list[Replayed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    nominal_v: float | None = None
    nominal_hz: float | None = None

    @property
    def first_transfer_s(self) -> float | None:
        """Instant of the first decision to open the switch, None when there is none."""
        return next((decision.t_s for decision in self.decisions if decision.action == "open_switch"), None)


def replay_file(path: Path, settings: ReplaySettings, *, name: str = "") -> Replay:
    """Run the detector over a file; raise RecordingError naming what was wrong with it."""
    wave = read_wave_file(path, settings.channels)
    try:
        return replay_wave(wave, settings, file=name or str(path))
    except RecordingError as error:
        raise RecordingError(f"{path}: {error}") from None


def replay_wave(wave: WaveFile, settings: ReplaySettings, *, file: str) -> Replay:
    """Run the detector over voltages and currents; raise RecordingError when nominal values contradict them."""
    rows = wave.volts if wave.amperes is None else np.concatenate((wave.volts, wave.amperes))
    absurd = np.abs(rows) > LARGEST_VALUE
    absurd_notes = [f"{absurd.sum()} values above {LARGEST_VALUE:g} were taken as missing"] if absurd.any() else []
    t_s, rows, hole_notes = bridged(wave.t_s, np.where(absurd, np.nan, rows) if absurd_notes else rows)
    t_s, pieces, gap_notes = stretches(t_s)
    usable = [piece for piece in pieces if SLOWEST_HZ <= piece.rate_hz <= FASTEST_HZ * 1.001]
    fs_hz = usable[0].rate_hz if usable else (pieces[0].rate_hz if pieces else 0.0)
    result = Replay(file, round(fs_hz, 3), wave.title, notes=[*wave.notes, *absurd_notes, *hole_notes, *gap_notes])
    if not usable:
        rates = ", ".join(f"{piece.rate_hz:.4g} Hz" for piece in pieces[:3] if piece.rate_hz > 0.0) or "no rate"
        _blind(result, t_s, f"{len(t_s)} samples at {rates}; {SLOWEST_HZ:g} Hz to {FASTEST_HZ / 1e6:g} MHz are watched")
        return result
    if fs_hz < SURE_HZ:
        result.notes.append(
            f"{fs_hz:.4g} Hz shows short transients falsely and losses late: 2 kHz at least are advised"
        )
    for piece in pieces:
        if piece not in usable:
            if piece.last - piece.first < 2:
                continue
            result.notes.append(
                f"{t_s[piece.first]:.6g} s to {t_s[piece.last - 1]:.6g} s at {piece.rate_hz:.4g} Hz was not watched: "
                f"{SLOWEST_HZ:g} Hz at least are needed"
            )
            continue
        if t_s[piece.last - 1] - t_s[piece.first] > LONGEST_S:
            raise RecordingError(
                f"lasts {t_s[piece.last - 1] - t_s[piece.first]:.4g} s without a gap, accepted: up to {LONGEST_S:g} s"
            )
        _watch_stretch(wave, t_s, rows, piece, settings, result)
    if not any(watched.beginning for watched in result.watched):
        _check_nominals(wave, settings, result)
    return result


def _blind(result: Replay, t_s: FloatArray, why: str) -> None:
    at_s = float(t_s[0]) if len(t_s) and np.isfinite(t_s[0]) else 0.0
    result.notes.append(f"no decision, because {why}")
    result.decisions.append(Replayed(at_s, "detector_blind", "no_healthy_beginning", "recording", None))


def _watch_stretch(
    wave: WaveFile, t_s: FloatArray, rows: FloatArray, piece: Stretch, settings: ReplaySettings, result: Replay
) -> None:
    phases = len(wave.volts)
    volts, notes = without_stuck(rows[:phases, piece.first : piece.last], piece.rate_hz, wave.names)
    result.notes += notes
    amperes_seen = rows[phases:, piece.first : piece.last]
    if len(amperes_seen) and piece.rate_hz < SLOWEST_CURRENT_HZ:
        result.notes.append(f"currents at {piece.rate_hz:.4g} Hz were not used: 5 kHz at least are needed for them")
        amperes_seen = amperes_seen[:0]
    values = np.concatenate((volts, amperes_seen))
    grid_s, values, known_s = to_detector_rate(t_s[piece.first : piece.last], values)
    volts, amperes = values[:phases], values[phases:] if len(values) > phases else None
    beginning, why, ratio = _beginning(wave, volts, settings, result)
    if beginning is None:
        where = f"from {t_s[piece.first]:.6g} s: " if piece.first else ""
        if len(grid_s):
            result.watched.append(
                Watched(grid_s, volts / max(float(np.nanmax(np.abs(volts), initial=1e-9)), 1e-9), amperes, None)
            )
        _blind(result, t_s[piece.first : piece.last], where + why)
        return
    volts = volts * ratio
    _tell_beginning(settings, beginning, ratio, float(grid_s[beginning.starts]), result)
    nominal_v = settings.nominal_v or result.nominal_v or beginning.rms_v
    peak_v = nominal_v * np.sqrt(2.0)
    result.nominal_v, result.nominal_hz = nominal_v, beginning.nominal_hz
    pu = volts / peak_v
    result.watched.append(Watched(grid_s, pu, amperes, beginning))
    for sample, decision in _decide(pu, amperes, beginning, peak_v):
        view = None
        if decision.action in {"open_switch", "ride_through", "relock"}:
            before = max((d.t_s for d in result.decisions), default=-np.inf)
            start = int(np.searchsorted(grid_s, before, side="right"))
            opens = decision.action == "open_switch"
            view = load_view(
                pu, max(start, beginning.starts), sample, beginning.wave(np.arange(len(grid_s))) / peak_v,
                switch_ms=settings.switch_ms if opens else None, nominal_v=nominal_v, nominal_hz=beginning.nominal_hz,
            )  # fmt: skip
        result.decisions.append(Replayed(float(known_s[sample]), decision.action, decision.cause, decision.path, view))


def _beginning(
    wave: WaveFile, volts: FloatArray, settings: ReplaySettings, known: Replay
) -> tuple[Beginning | None, str, float]:
    reason = ""
    # What the first stretch told of the site holds for those behind a gap, too.
    nominal_v = settings.nominal_v or known.nominal_v
    nominal_hz = settings.nominal_hz or known.nominal_hz
    for ratio in wave.ratios if settings.nominal_v is not None else (1.0,):
        found, why = find_beginning(volts * ratio, nominal_hz=nominal_hz, nominal_v=nominal_v)
        if found is not None:
            return found, "", ratio
        reason = reason or why
    return None, reason, 1.0


def _decide(
    pu: FloatArray, amperes: FloatArray | None, beginning: Beginning, peak_v: float
) -> list[tuple[int, Decision]]:
    """Return the detector's decisions with their sample in the stretch, in order of time."""
    lead = round(LEAD_S * DETECTOR_HZ)
    decisions: list[Decision] = []
    for with_rest in (True, False):
        decisions = _run_detector(pu, amperes, beginning, peak_v, lead=lead, with_rest=with_rest)
        # A transient within the beginning, repeated in each cycle before it, can be taken for a loss itself.
        if all(decision.sample >= lead for decision in decisions if decision.action == "open_switch"):
            break
    return [(d.sample - lead + beginning.starts, d) for d in decisions if d.sample >= lead]


def _run_detector(
    pu: FloatArray, amperes: FloatArray | None, beginning: Beginning, peak_v: float, *,
    lead: int, with_rest: bool,
) -> list[Decision]:  # fmt: skip
    """Run the detector from ``lead`` samples before the beginning on, over its healthy wave and then what was seen."""
    phases, first = len(pu), beginning.starts
    cycle = round(DETECTOR_HZ / beginning.hertz)
    before = np.arange(first - lead, first)
    ahead = beginning.wave(before) / peak_v
    if with_rest:
        # What is not fundamental goes on, too: a detector that knows its site has seen its noise.
        rest = pu[:, first : first + cycle] - beginning.wave(np.arange(first, first + cycle)) / peak_v
        ahead += rest[:, (before - first) % cycle]
    voltages = np.concatenate((ahead, pu[:, first:]), axis=1)
    currents = None
    if amperes is not None:
        inner = amperes[:, first:] / _current_scale(amperes, beginning)
        currents = np.concatenate((inner[:, (before - first) % cycle], inner), axis=1)
    if beginning.is_reversed:
        voltages = voltages[[0, 2, 1]]
        currents = currents[[0, 2, 1]] if currents is not None else None
    settings = ControlSettings(phases=phases, nominal_hz=beginning.nominal_hz, rate_hz=DETECTOR_HZ)
    vb, vc = (voltages[1], voltages[2]) if phases == 3 else (None, None)
    i = [currents[k] if currents is not None and k < phases else None for k in range(3)]
    return watch(voltages[0], vb, vc, i[0], i[1], i[2], settings=settings)


def _current_scale(amperes: FloatArray, beginning: Beginning) -> float:
    """Return the peak of the currents in the healthy beginning [A], at least a tenth of the largest ever.

    A site whose load and generation balance draws next to nothing: its own noise must not become the scale.
    """
    usual = float(np.nanmax(np.abs(amperes[:, beginning.starts : beginning.ends]), initial=0.0))
    largest = float(np.nanmax(np.abs(amperes), initial=0.0))
    return max(usual, 0.1 * largest, 1e-9)


def _tell_beginning(settings: ReplaySettings, found: Beginning, ratio: float, at_s: float, result: Replay) -> None:
    span_ms = (found.ends - found.starts) / DETECTOR_HZ * 1e3
    later = f" from {at_s:.6g} s on" if found.starts else ""
    if found.starts:
        result.notes.append(f"watched from {at_s:.6g} s on: before that there is no healthy voltage")
    estimated = []
    if settings.nominal_v is None and result.nominal_v is None:
        estimated.append(f"nominal voltage {volts_text(found.rms_v)} r.m.s. phase to neutral")
    if settings.nominal_hz is None and result.nominal_hz is None:
        estimated.append(f"nominal frequency {found.nominal_hz:g} Hz ({found.hertz:.2f} Hz measured)")
    if estimated:
        result.notes.append(f"{' and '.join(estimated)}: estimated from its healthy {span_ms:.0f} ms{later}")
    if ratio != 1.0:
        result.notes.append(f"voltages times {ratio:g}, the transformer's ratio: so they fit the nominal voltage")
    if found.is_reversed:
        result.notes.append("phases follow each other a-c-b (negative sequence): b and c were swapped for the detector")


def _check_nominals(wave: WaveFile, settings: ReplaySettings, result: Replay) -> None:
    """Raise RecordingError when a healthy beginning is there and only the nominal values given do not fit it."""
    if settings.nominal_v is None and settings.nominal_hz is None:
        return
    rows = wave.volts
    t_s, pieces, _ = stretches(wave.t_s)
    for piece in pieces:
        if not SLOWEST_HZ <= piece.rate_hz <= FASTEST_HZ * 1.001:
            continue
        _, volts, _ = to_detector_rate(t_s[piece.first : piece.last], rows[:, piece.first : piece.last])
        found, _ = find_beginning(volts, nominal_hz=None, nominal_v=None)
        if found is None:
            continue
        if settings.nominal_hz is not None and found.nominal_hz != settings.nominal_hz:
            raise RecordingError(
                f"its voltages turn at {found.hertz:.2f} Hz and --nominal-hz says {settings.nominal_hz:g}, accepted: "
                f"--nominal-hz {found.nominal_hz:g}"
            )
        if settings.nominal_v is not None:
            share = settings.nominal_v / found.rms_v
            hint = ""
            for factor, what in (
                (SQRT3, "phase to phase"),
                (np.sqrt(2.0), "a peak value"),
                (SQRT3 * np.sqrt(2.0), "both"),
            ):
                if abs(share / factor - 1.0) < 0.1:
                    hint = f" (that is {what}, it seems)"
            raise RecordingError(
                f"begins with {volts_text(found.rms_v)} r.m.s., --nominal-voltage says {settings.nominal_v:g}{hint}, "
                f"accepted: r.m.s. phase to neutral, {found.rms_v / 1.2:.4g} to {found.rms_v / 0.8:.4g} V"
            )


def volts_text(volts: float) -> str:
    """Return a voltage for people."""
    return f"{volts / 1000.0:.4g} kV" if volts >= 10_000.0 else f"{volts:.4g} V"


def replay_files(
    names: Sequence[str], settings: ReplaySettings
) -> tuple[list[Replay], list[tuple[str, RecordingError]]]:
    """Run over files as they were named; return what came of them, and the errors of those that were not usable."""
    done: list[Replay] = []
    failed: list[tuple[str, RecordingError]] = []
    for name in names:
        try:
            done.append(replay_file(Path(name), settings, name=name))
        except RecordingError as error:
            failed.append((name, error))
    return done, failed
