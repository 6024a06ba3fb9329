"""What a recording's time axis and its beginning are worth: gaps, stuck samples, nominal values, rotation.

The detector of a site has been locked to its grid for days when something happens. A recording gives it a few
cycles at best: the healthy beginning found here stands for those days, and without one nothing is decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.edge.studies.resampling import DETECTOR_HZ

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BRIDGED_S: Final = 0.001
"""A hole up to this long stays one stretch, its samples missing."""
STUCK_S: Final = 0.004
"""A voltage that holds one value this long, and not zero, is no voltage but a stuck or saturated input."""
STUCK_SAMPLES: Final = 8
STUCK_SHARE: Final = 0.05
FLAT_SHARE: Final = 0.08
"""Share of samples on the extreme values from which on a channel counts as flat-topped."""
FIT_CYCLES: Final = 1.5
LONGEST_FIT_CYCLES: Final = 6.0
MAX_GAP_NOTES: Final = 5
BAND: Final = 0.06
"""Share of the nominal frequency by which the beginning may differ from it."""
LOW_PU: Final = 0.8
HIGH_PU: Final = 1.2
LARGEST_RESIDUAL: Final = 0.15
"""R.m.s. of what is not fundamental, of the fundamental's r.m.s.: the noisiest measured healthy sites stay below."""
LARGEST_SPIKE: Final = 0.6
"""Share of the peak by which one sample may be off the fundamental: commutation notches of healthy sites stay below."""
LARGEST_NEGATIVE: Final = 0.2
KNOWN_HZ: Final = (50.0, 60.0)


@dataclass(frozen=True, slots=True)
class Beginning:
    """A healthy beginning: what the grid was before anything happened."""

    starts: int
    """First sample at the detector's rate."""
    ends: int
    """One behind the last one that was looked at."""
    hertz: float
    nominal_hz: float
    phasors: npt.NDArray[np.complex128]
    """Peak phasors of the phases at ``starts``, in volts."""
    is_reversed: bool
    """The phases follow each other a-c-b."""

    @property
    def rms_v(self) -> float:
        """Mean r.m.s. voltage phase to neutral [V]."""
        return float(np.mean(np.abs(self.phasors)) / np.sqrt(2.0))

    def wave(self, samples: npt.NDArray[np.int64]) -> FloatArray:
        """Return the healthy wave [phases, n] at samples of the detector's rate, before or after [V]."""
        angle = 2.0 * np.pi * self.hertz * (samples - self.starts) / DETECTOR_HZ
        return np.asarray(np.real(self.phasors[:, None] * np.exp(1j * angle)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples without a gap between them."""

    first: int
    last: int
    """One behind the last sample."""
    rate_hz: float


def stretches(t_s: FloatArray) -> tuple[FloatArray, list[Stretch], list[str]]:
    """Return the time axis, its stretches without a gap, and notes on what is wrong with it.

    Times that are rounded more coarsely than they step are made even; repeated, falling or missing ones, and a
    change of the rate, end a stretch. A value that is no number ends one, too.
    """
    count = len(t_s)
    if count < 2:
        return t_s, [Stretch(0, count, 0.0)] if count else [], []
    steps = np.diff(t_s)
    even = _evened(t_s, steps)
    if even is not None:
        step_s = (even[-1] - even[0]) / (count - 1)
        return (
            even,
            [Stretch(0, count, 1.0 / step_s)],
            [f"times are rounded; taken as even steps of {step_s * 1e6:.3f} us"],
        )
    found: list[Stretch] = []
    notes: list[str] = []
    first = 0
    while first < count:
        last = _stretch_end(t_s, steps, first)
        span_s = float(t_s[last - 1] - t_s[first])
        found.append(Stretch(first, last, (last - 1 - first) / span_s if span_s > 0.0 else 0.0))
        if last < count and len(notes) < MAX_GAP_NOTES:
            notes.append(_gap_note(t_s, found[-1], _stretch_end(t_s, steps, last)))
        first = last
    if len(notes) == MAX_GAP_NOTES:
        notes.append(f"its time axis has {len(found) - 1} breaks in all")
    return t_s, found, notes


def _evened(t_s: FloatArray, steps: FloatArray) -> FloatArray | None:
    """Return even times where the given ones are those rounded; None where they are not."""
    if not np.all(np.isfinite(t_s)) or np.any(steps < 0.0):
        return None
    grid_s = float(np.min(steps[steps > 0.0], initial=np.inf))
    whole = t_s[-1] - t_s[0]
    step_s = whole / len(steps)
    if not np.isfinite(grid_s) or step_s <= 0.0 or np.ptp(steps) <= 0.02 * step_s:
        return None
    # Rounding spoils many steps a little; a gap spoils one.
    if np.mean(np.abs(steps - step_s) > 0.02 * step_s) < 0.05:
        return None
    even = t_s[0] + np.arange(len(t_s)) * step_s
    return even if np.max(np.abs(even - t_s)) <= 1.01 * grid_s and step_s <= 3.0 * grid_s else None


def _stretch_end(t_s: FloatArray, steps: FloatArray, first: int) -> int:
    """Return one behind the last sample that follows ``first`` evenly."""
    look = steps[first : first + 9]
    good = look[np.isfinite(look) & (look > 0.0)]
    if len(good) == 0:
        return first + 1
    usual = float(np.median(good))
    wrong = ~(np.abs(steps[first:] - usual) <= 0.5 * usual)
    places = np.flatnonzero(wrong)
    return first + int(places[0]) + 1 if len(places) else len(t_s)


def _gap_note(t_s: FloatArray, before: Stretch, following_end: int) -> str:
    ends_s, starts_s = float(t_s[before.last - 1]), float(t_s[before.last])
    if not (np.isfinite(ends_s) and np.isfinite(starts_s)):
        return "a time is missing; the detector settles anew after it"
    if starts_s == ends_s:
        return f"time {ends_s:.6g} s is repeated; the detector settles anew after it"
    if starts_s < ends_s:
        return f"time falls from {ends_s:.6g} s to {starts_s:.6g} s; the detector settles anew after it"
    span_s = float(t_s[following_end - 1] - starts_s)
    following_hz = (following_end - 1 - before.last) / span_s if span_s > 0.0 else 0.0
    if before.rate_hz > 0.0 and following_hz > 0.0 and starts_s - ends_s <= 1.5 / min(before.rate_hz, following_hz):
        return f"the rate changes from {before.rate_hz:.5g} to {following_hz:.5g} Hz at {starts_s:.6g} s"
    gap_ms = (starts_s - ends_s) * 1e3
    return f"{gap_ms:.4g} ms are missing after {ends_s:.6g} s; the detector settles anew after them"


def bridged(t_s: FloatArray, rows: FloatArray) -> tuple[FloatArray, FloatArray, list[str]]:
    """Fill holes of up to 1 ms with missing samples, so that they do not end a stretch."""
    if len(t_s) < 4:
        return t_s, rows, []
    steps = np.diff(t_s)
    good = steps[np.isfinite(steps) & (steps > 0.0)]
    if len(good) == 0:
        return t_s, rows, []
    usual = float(np.median(good))
    missing = np.round(steps / usual) - 1.0
    holes = np.flatnonzero((missing >= 1.0) & (steps <= BRIDGED_S + usual) & (steps > 1.5 * usual))
    if len(holes) == 0 or len(holes) > 0.02 * len(t_s):
        return t_s, rows, []
    extra_t, places = [], []
    for hole in holes:
        count = int(missing[hole])
        extra_t += list(t_s[hole] + (np.arange(count) + 1.0) * steps[hole] / (count + 1.0))
        places += [hole + 1] * count
    nothing = np.full((len(rows), len(places)), np.nan)
    note = f"{len(places)} samples are missing in {len(holes)} holes of up to 1 ms, the first at {t_s[holes[0]]:.6g} s"
    return np.insert(t_s, places, extra_t), np.insert(rows, places, nothing, axis=1), [note]


def without_stuck(volts: FloatArray, rate_hz: float, names: tuple[str, ...]) -> tuple[FloatArray, list[str]]:
    """Return voltages with stuck samples taken as missing, and notes on stuck and flat-topped channels."""
    volts = volts.copy()
    notes = []
    longest = max(STUCK_SAMPLES, round(STUCK_S * rate_hz))
    highest = float(np.nanmax(np.abs(volts), initial=0.0)) if np.isfinite(volts).any() else 0.0
    for row, name in zip(volts, names, strict=False):
        held = row[np.isfinite(row)]
        if len(held) == 0:
            continue
        peak = float(np.max(np.abs(held)))
        stuck = _stuck(row, longest) & (np.abs(row) > STUCK_SHARE * highest)
        if stuck.any():
            first = int(np.flatnonzero(stuck)[0])
            notes.append(f"{name} holds {row[first]:.6g} V for {stuck.sum() / rate_hz * 1e3:.3g} ms: taken as missing")
            row[stuck] = np.nan
        flat = (held >= held.max()) | (held <= held.min())
        if (
            peak > 0.0
            and rate_hz >= 2000.0
            and len(held) >= STUCK_S * rate_hz
            and flat.mean() >= FLAT_SHARE
            and not stuck.any()
        ):
            notes.append(
                f"{name} is flat-topped at {peak:.6g} V in {flat.mean() * 100:.0f} % of its samples: beyond the "
                "recorder's range, its true peak is not known"
            )
    return volts, notes


def _stuck(row: FloatArray, longest: int) -> BoolArray:
    """Mark samples in runs of one value that are longer than ``longest``."""
    same = np.concatenate(([False], np.diff(row) == 0.0, [False]))
    edges = np.flatnonzero(np.diff(same.astype(np.int8)))
    marked = np.zeros(len(row), dtype=np.bool_)
    for start, end in zip(edges[0::2], edges[1::2], strict=True):
        if end - start + 1 > longest:
            marked[start : end + 1] = True
    return marked


def find_beginning(
    volts: FloatArray, *, nominal_hz: float | None, nominal_v: float | None
) -> tuple[Beginning | None, str]:
    """Return the first healthy beginning in a stretch at the detector's rate, or None and why there is none.

    ``volts`` is [phases, n], NaN where missing; nominal values are None where they are not given.
    """
    reason = ""
    candidates = KNOWN_HZ if nominal_hz is None else (nominal_hz,)
    window = round(FIT_CYCLES * DETECTOR_HZ / min(candidates))
    if volts.shape[1] < window:
        return (
            None,
            f"{volts.shape[1] / 10.0:.4g} ms are recorded, and {window / 10.0:.4g} ms are needed to know the grid",
        )
    for start in range(0, volts.shape[1] - window + 1, window // 3):
        found, why = _judge(volts, start, window, candidates, nominal_v)
        if found is not None:
            return _lengthened(volts, found, candidates, nominal_v), ""
        # The first window tells most: what comes later is the event's own doing.
        reason = reason or why
    return None, reason


def _lengthened(
    volts: FloatArray, found: Beginning, candidates: tuple[float, ...], nominal_v: float | None
) -> Beginning:
    """Look at more cycles as long as they go on like the ones before: the frequency becomes more exact."""
    cycle = DETECTOR_HZ / found.nominal_hz
    peak = float(np.mean(np.abs(found.phasors)))
    for cycles in np.arange(FIT_CYCLES + 0.5, LONGEST_FIT_CYCLES + 0.25, 0.5):
        end = found.starts + round(cycles * cycle)
        if end > volts.shape[1]:
            break
        ahead = np.arange(found.ends, end)
        off = volts[:, found.ends : end] - found.wave(ahead)
        if not np.all(np.isfinite(off)) or np.sqrt(np.mean(off**2)) > 0.12 * peak:
            break
        longer, _ = _judge(volts, found.starts, end - found.starts, candidates, nominal_v)
        if longer is None:
            break
        found = longer
    return found


def _judge(
    volts: FloatArray, start: int, window: int, candidates: tuple[float, ...], nominal_v: float | None
) -> tuple[Beginning | None, str]:
    piece = volts[:, start : start + window]
    if not np.all(np.isfinite(piece)):
        return None, "samples are missing at its beginning"
    level = float(np.sqrt(np.mean(piece**2)))
    if level == 0.0:
        return None, "all its voltages are zero"
    hertz, phasors, residual = _fit(piece, candidates)
    rms = np.abs(phasors) / np.sqrt(2.0)
    usual = float(np.median(rms)) if nominal_v is None else nominal_v
    dead = [name for name, value in zip("abc", rms, strict=False) if value < 0.3 * max(float(rms.max()), usual)]
    if dead and len(dead) < len(rms):
        levels = ", ".join(f"{value:.4g}" for value in rms)
        return None, f"phase {' and '.join(dead)} is missing from its beginning ({levels} V r.m.s.)"
    nominal_hz = min(candidates, key=lambda known: abs(known - hertz))
    if residual > LARGEST_RESIDUAL or abs(hertz - nominal_hz) > 0.95 * BAND * nominal_hz:
        other = _other_frequency(piece, candidates)
        if other:
            return None, f"its voltages turn at {other:.4g} Hz and not at {nominal_hz:g} Hz"
        return None, f"its beginning is no steady wave of {' or '.join(f'{c:g}' for c in candidates)} Hz"
    if rms.min() < LOW_PU * usual or rms.max() > HIGH_PU * usual:
        levels = ", ".join(f"{value:.4g}" for value in rms)
        return None, f"its voltages are {levels} V r.m.s. at the beginning, off the nominal {usual:.4g} V"
    found = Beginning(start, start + window, hertz, nominal_hz, phasors, is_reversed=False)
    if np.max(np.abs(piece - found.wave(np.arange(start, start + window)))) > LARGEST_SPIKE * np.abs(phasors).mean():
        return None, "its beginning has a spike in it"
    is_reversed = False
    if len(phasors) == 3:
        turn = np.exp(2j * np.pi / 3.0)
        positive = abs(phasors[0] + turn * phasors[1] + turn**2 * phasors[2]) / 3.0
        negative = abs(phasors[0] + turn**2 * phasors[1] + turn * phasors[2]) / 3.0
        is_reversed = bool(negative > positive)
        if (
            min(positive, negative) > LARGEST_NEGATIVE * max(positive, negative)
            or max(positive, negative) < 0.8 * np.abs(phasors).mean()
        ):
            angles = ", ".join(f"{np.degrees(np.angle(p / phasors[0])):.0f}" for p in phasors)
            return None, f"its phases stand at {angles} degrees and not a third of a turn apart"
    return replace(found, is_reversed=is_reversed), ""


def _fit(piece: FloatArray, candidates: tuple[float, ...]) -> tuple[float, npt.NDArray[np.complex128], float]:
    """Return frequency [Hz], peak phasors and the share of what is left, by least squares over a band."""
    best: tuple[float, float] = (np.inf, candidates[0])
    for nominal in candidates:
        grid = np.linspace(nominal * (1.0 - BAND), nominal * (1.0 + BAND), 25)
        lefts = [_left(piece, hertz)[0] for hertz in grid]
        place = int(np.argmin(lefts))
        hertz = float(grid[place])
        if 0 < place < len(grid) - 1:
            before, here, after = lefts[place - 1 : place + 2]
            bend = before - 2.0 * here + after
            if bend > 0.0:
                hertz += 0.5 * (before - after) / bend * float(grid[1] - grid[0])
        best = min(best, (_left(piece, hertz)[0], hertz))
    left, phasors = _left(piece, best[1])
    power = float(np.sum(np.abs(phasors) ** 2) / 2.0)
    residual = float(np.sqrt(left / piece.shape[1] / power)) if power > 0.0 else np.inf
    return best[1], phasors, residual


def _left(piece: FloatArray, hertz: float) -> tuple[float, npt.NDArray[np.complex128]]:
    angle = 2.0 * np.pi * hertz * np.arange(piece.shape[1]) / DETECTOR_HZ
    basis = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    parts, *_ = np.linalg.lstsq(basis, piece.T, rcond=None)
    left = float(np.sum((piece.T - basis @ parts) ** 2))
    return left, parts[0] - 1j * parts[1]


def _other_frequency(piece: FloatArray, candidates: tuple[float, ...]) -> float:
    """Return the frequency of a clean wave that is not one of the candidates, 0 when there is none."""
    others = tuple(known for known in (*KNOWN_HZ, 16.7, 400.0, 55.0) if known not in candidates)
    hertz, _, residual = _fit(piece, others)
    return hertz if residual <= LARGEST_RESIDUAL else 0.0
