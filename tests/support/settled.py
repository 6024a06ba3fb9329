"""A dispatch of metered sites, settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from support.metered import RATE_HZ, STARTS_AT, a_metered_site, gb_like_hz

from markets import operations, queries
from markets.core.events import Event, EventInterval, EventSignal
from markets.core.products import Basis
from markets.core.settlement import ContractedShare
from markets.models import Obligation

SECONDS = 30.0
AT = STARTS_AT + timedelta(hours=2)


def an_obligation(power_kw: float = 100.0, *, name: str = "e1") -> Obligation:
    operations.ensure_programs()
    duration = timedelta(seconds=SECONDS)
    signal = EventSignal("LOAD_DISPATCH", "delta", (EventInterval(STARTS_AT, duration, -power_kw),), "W", "k")
    context = queries.program_named("neso-dc-low").market_context
    event = Event("VTN", name, 0, "far", context, STARTS_AT, duration, (signal,))
    at = STARTS_AT - timedelta(minutes=1)
    operations.receive_event(raw=b"<raw/>", event=event, available_kw=1e6, at=at)
    return Obligation.objects.get(event__event_id=name)


def a_fleet(armed_kw: Sequence[float], *, lag_s: float = 0.3, gain: float = 1.0) -> list[ContractedShare]:
    """Sites that follow the curve after a lag."""
    frequency_hz = gb_like_hz(SECONDS)
    share = np.interp(50.0 - frequency_hz, [0.015, 0.2, 0.5], [0.0, 0.05, 1.0])
    lagged = np.concatenate((np.zeros(round(lag_s * RATE_HZ)), share))[: len(share)]
    for number, kw in enumerate(armed_kw, 1):
        a_metered_site(
            f"site-{number}", starts_at=STARTS_AT, seconds=SECONDS, frequency_hz=frequency_hz,
            service_kw=lagged * kw * gain, armed_kw=kw, baseline_kw=-3.0,
        )  # fmt: skip
    return [ContractedShare(f"site-{number}", kw, -3.0) for number, kw in enumerate(armed_kw, 1)]


def settle(obligation: Obligation, shares: Sequence[ContractedShare], **changes):
    arguments = {"obligation": obligation, "shares": shares, "basis": Basis.DEMONSTRATION, "at": AT, **changes}
    return operations.settle_obligation(**arguments)
