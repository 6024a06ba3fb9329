"""What one sample of one phase does to what is kept of it: pure formulas, for a site and for tiles of a fleet.

Nothing here branches, and what is chosen between is computed before, so that the compiler makes a selection of it: the
same few operations on every sample, whatever it shows, so that the sites of a tile go through the processor's vector
units side by side. A phase that a site does not have is a voltage and a current of 0.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from sites.edge.control.kernels.compiled import inlined

Fit: TypeAlias = tuple[float, float, float, float]
Wave: TypeAlias = tuple[float, float, float, float]
Current: TypeAlias = tuple[float, float, float, float, float, float, float]
Ratio: TypeAlias = tuple[float, float, float, float, float, float]

HALF_SQRT3: Final = 0.8660254037844386
DEAD_SHARE: Final = 0.18
DEAD_FLOOR_PU: Final = 0.02
"""A phase is silent below this share of its last cycle; at a zero crossing the floor keeps noise from speaking for
it."""
REVIVED: Final = 3.0
"""How much faster a phase that shows voltage clears itself than silence accuses it."""
STILL_SHARE: Final = 0.5
OFFSET_SQUARE: Final = 0.08
"""A current stands still around zero within 20 % of the peak: at its crest a sine stands still, too."""
MIN_SQUARE: Final = 1e-4
"""Below 1 % of the rating there is no current to miss [pu²]."""


@inlined
def drawn(mean: float, sample: float, memory: float) -> float:
    """Return a mean drawn towards a sample."""
    return mean + memory * (sample - mean)


@inlined
def silent_area(area: float, voltage: float, past: float) -> float:
    """Return the wave of the last cycle that should have been seen since a phase fell silent, after a sample [pu]."""
    size = abs(voltage)
    should = abs(past)
    cleared = area - REVIVED * size
    cleared = cleared if cleared > 0.0 else 0.0
    silent = area + should
    return silent if size < DEAD_SHARE * should + DEAD_FLOOR_PU else cleared


@inlined
def share_left(like: float, own: float) -> float:
    """Return how much of the last cycle is left, from the product with it and its own square."""
    return like / (own if own > 0.02 else 0.02)


@inlined
def follow_fit(voltage: float, cosine: float, sine: float, memory: float, kept: Fit) -> Fit:
    """Take one sample of a phase's voltage [pu] into what a sine is fitted to, in the frame of its expected wave.

    Kept are the sums of this window of 5 ms and the means over ``phasor_memory``, in phase and across.
    """
    window_along, window_across, fit_along, fit_across = kept
    along = voltage * cosine
    across = voltage * sine
    return (
        window_along + along,
        window_across + across,
        fit_along + memory * (along - fit_along),
        fit_across + memory * (across - fit_across),
    )


@inlined
def follow_wave(
    voltage: float, past: float, cosine: float, reference: float, memories: tuple[float, float], kept: Wave
) -> Wave:
    """Take one sample of a phase's voltage beside its last cycle and its expected wave [pu].

    ``memories`` of the lack and of the news. Kept are:

    - ``dead_area``, the wave of the last cycle that should have been seen since the phase fell silent: a zero crossing
      that has only moved, by a jump of up to 60 degrees, is over before enough of it is missed;
    - ``lack``, the part of the expected wave that is missing, weighted with the wave itself over half a millisecond,
      and ``weight``;
    - ``news``, the voltage that differs from the last cycle, its mean.
    """
    area, lack, weight, news = kept
    lack_memory, news_memory = memories
    return (
        silent_area(area, voltage, past),
        drawn(lack, cosine * (reference * cosine - voltage), lack_memory),
        drawn(weight, cosine * cosine, lack_memory),
        drawn(news, voltage - past, news_memory),
    )


@inlined
def follow_current(
    current: float,
    past: float,
    cycle_ticks: float,
    flat_square: float,
    memories: tuple[float, float, float],
    kept: Current,
) -> Current:
    """Take one sample of the current through one pole beside its last cycle [pu].

    ``memories`` of the latest current, of its mean and of the usual one. Kept are mean squares (``usual``, ``lately``
    and ``moving``, that of what moves around the mean: a transformer's or a probe's own offset outlives the current),
    the mean, for how many samples there has been no current to speak of (``flat``), for how many of them none at all
    (``gone``), and ``area``, the current that should have flowed since: it separates a pole that is out from a zero
    crossing that has only moved.
    """
    usual, lately, mean, moving, flat, gone, area = kept
    lately_memory, mean_memory, usual_memory = memories
    square = current * current
    lately = lately + lately_memory * (square - lately)
    mean = mean + mean_memory * (current - mean)
    moved = current - mean
    moving = moving + lately_memory * (moved * moved - moving)
    none = lately < flat_square * usual
    still = (moving < STILL_SHARE * flat_square * usual) & (mean * mean < OFFSET_SQUARE * usual)
    out = (none | still) & (usual >= MIN_SQUARE)
    longer = flat + 1.0
    flat = longer if out else 0.0
    # No current for a cycle: nothing more to miss, and the scale may follow.
    counts = out & (flat <= cycle_ticks)
    followed = usual + usual_memory * (square - usual)
    longer = gone + 1.0
    longer = longer if none else 0.0
    missed = area + abs(past - mean)
    gone = gone if out else 0.0
    area = area if out else 0.0
    return (
        usual if counts else followed,
        lately,
        mean,
        moving,
        flat,
        longer if counts else gone,
        missed if counts else area,
    )


@inlined
def follow_ratio(
    like: float, own: float, size: float, memories: tuple[float, float, float], kept: Ratio
) -> tuple[Ratio, float, float]:
    """Take one sample of all phases together: their product with the last cycle, its square, their own.

    ``memories`` of what dies away slowly, of the ratio and of its own mean. Return what is kept, the ratio (how much
    of the last cycle is left, 1: all) and how far its mean stood above it.
    """
    slow_like, slow_own, mean_like, mean_own, mean_size, trend = kept
    slow_memory, ratio_memory, trend_memory = memories
    mean_like = drawn(mean_like, like, ratio_memory)
    mean_own = drawn(mean_own, own, ratio_memory)
    mean_size = drawn(mean_size, size, ratio_memory)
    ratio = share_left(mean_like, mean_own)
    after = (
        drawn(slow_like, like, slow_memory),
        drawn(slow_own, own, slow_memory),
        mean_like,
        mean_own,
        mean_size,
        drawn(trend, ratio, trend_memory),
    )
    return after, ratio, trend - ratio


@inlined
def turned_back(phase: int, cosine: float, sine: float) -> tuple[float, float]:
    """Return the double angle of a phase's own frame from that of phase a."""
    if phase == 1:
        return -0.5 * cosine - HALF_SQRT3 * sine, -0.5 * sine + HALF_SQRT3 * cosine
    if phase == 2:
        return -0.5 * cosine + HALF_SQRT3 * sine, -0.5 * sine - HALF_SQRT3 * cosine
    return cosine, sine


@inlined
def sine_in(along: float, across: float, samples: float, cos_2: float, sin_2: float) -> tuple[float, float]:
    """Return the sine that fits a voltage by least squares: v = a cos θ + b sin θ.

    From the sums of v cos θ and v sin θ, their count, and the sums of cos 2θ and sin 2θ, in the phase's own frame;
    means do as well, with a count of 1.
    """
    cc = 0.5 * (samples + cos_2)
    ss = 0.5 * (samples - cos_2)
    cs = 0.5 * sin_2
    inverse = 1.0 / (cc * ss - cs * cs)
    return (along * ss - across * cs) * inverse, (across * cc - along * cs) * inverse
