"""A dispatch of metered sites, settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from support.metered import COLUMNS, RATE_HZ, STARTS_AT, a_metered_site, gb_like_hz

from markets import operations, queries
from markets.core.events import Event, EventInterval, EventSignal
from markets.core.products import Basis
from markets.core.settlement import ContractedShare
from markets.models import Obligation
from sites.metering.models import HighRateRecord, MeterInterval
from sites.wire.records import pack_samples, unpack_samples

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


def revise(site_id: str, number: int = 4) -> None:
    """Let a site say of one of its record's chunks and its interval that less was served."""
    chunk = HighRateRecord.objects.get(site__site_id=site_id, number=number)
    samples = unpack_samples(bytes(chunk.samples), len(COLUMNS))
    samples[:, COLUMNS.index("battery_kw")] = samples[:, COLUMNS.index("baseline_kw")]
    HighRateRecord.objects.create(
        site=chunk.site, number=chunk.number, revision=1, starts_at=chunk.starts_at, ends_at=chunk.ends_at,
        rate_hz=chunk.rate_hz, columns=chunk.columns, samples=pack_samples(samples),
        received_at=AT + timedelta(hours=1),
    )  # fmt: skip
    row = MeterInterval.objects.get(asset__site__site_id=site_id, number=5)
    row.pk, row.revision, row.service_into_uwh = None, 1, row.service_into_uwh // 2
    row.received_at = AT + timedelta(hours=1)
    row.save()
