"""The time axis of a COMTRADE recording: by its sampling rates, and by its samples' own times where those differ."""

from __future__ import annotations

import numpy as np

from sites.core.comtrade import ComtradeError, FloatArray, Recording


def time_axis(recording: Recording) -> tuple[FloatArray, tuple[str, ...]]:
    """Return the samples' times [s] from the first sample on, and notes on what was not as it should be.

    The rates give the steps: they are exact, where times are rounded. Times that jump against the rates show
    missing samples, and the jump is kept. Raises ComtradeError when neither tells the time.
    """
    by_stamp = _by_stamp(recording)
    steps = _rate_steps(recording)
    if steps is None:
        if by_stamp is None:
            raise ComtradeError("cfg", None, "gives no sampling rate and the samples no times, accepted: one of both")
        return by_stamp, ()
    if by_stamp is None:
        return _with_missing_numbers(recording, steps)
    wrong = np.diff(by_stamp) - steps
    # Where the rate changes the step may be either side's.
    change = np.flatnonzero(np.diff(steps) != 0.0)
    loose = np.zeros(len(steps), dtype=np.bool_)
    loose[change] = loose[np.minimum(change + 1, len(steps) - 1)] = True
    longest = steps.copy()
    longest[loose] = steps.max(initial=0.0)
    jumps = np.abs(wrong) > 0.5 * longest
    share = float(jumps.mean()) if len(jumps) else 0.0
    if share > 0.02:
        scale = float(np.median(np.diff(by_stamp)) / np.median(steps))
        return (
            np.concatenate(([0.0], np.cumsum(steps))),
            (f"dat: the samples' times step by {scale:.4g} of the cfg's sampling period; the rate was taken",),
        )
    steps = np.where(jumps | loose, np.diff(by_stamp), steps)
    return np.concatenate(([0.0], np.cumsum(steps))), ()


def _by_stamp(recording: Recording) -> FloatArray | None:
    stamps = recording.stamps
    if len(stamps) < 2 or not np.all(np.isfinite(stamps)) or np.ptp(stamps) == 0.0:
        return None
    unit_s = recording.configuration.stamp_s * recording.configuration.time_multiplier
    # A binary time is 32 bits wide: in nanoseconds it runs over every 4.3 s.
    turns = np.concatenate(([0.0], np.cumsum(np.diff(stamps) < -(2.0**31))))
    return np.asarray((stamps + turns * 2.0**32 - stamps[0]) * unit_s, dtype=np.float64)


def _rate_steps(recording: Recording) -> FloatArray | None:
    sections = recording.configuration.sections
    count = len(recording.numbers)
    if not sections or count == 0:
        return None
    steps = np.empty(max(0, count - 1))
    first = 0
    for section in sections:
        # The step that leads to a section's first sample is still the earlier section's.
        last = min(max(first, section.last_sample - 1), len(steps))
        steps[first:last] = 1.0 / section.rate_hz
        first = last
    steps[first:] = 1.0 / sections[-1].rate_hz
    return steps


def _with_missing_numbers(recording: Recording, steps: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Without times, a hole in the samples' numbers is all that tells of missing ones."""
    ahead = np.diff(recording.numbers)
    holes = (ahead > 1) & (ahead < 1_000_000)
    if holes.any() and float(holes.mean()) <= 0.02:
        return np.concatenate(([0.0], np.cumsum(np.where(holes, ahead * steps, steps)))), ()
    return np.concatenate(([0.0], np.cumsum(steps))), ()
