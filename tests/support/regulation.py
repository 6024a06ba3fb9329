"""Regulation signals made by hand: noise of a few values' memory, kept to −1 … 1, its mean over the signal zero."""

from __future__ import annotations

import numpy as np


def regulation_signal(count: int, *, seed: int, memory: float) -> list[float]:
    """Return values of a fast signal that is neutral over its length, as PJM's RegD is over a quarter of an hour.

    ``memory`` is the share of a value that its successor keeps: 0.6 for 2 s (RegD), 0.8 for the slower AGC.
    """
    random = np.random.default_rng(seed)
    values = np.zeros(count)
    for at in range(1, count):
        values[at] = memory * values[at - 1] + random.normal(0.0, 0.6)
    values -= values.mean()
    return [round(float(value), 6) for value in values / max(1.0, np.abs(values).max())]
