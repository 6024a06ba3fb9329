"""vpp-edge respond: a product's response over a recorded frequency, by the real controller on a simulated site."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sites.core.curves import CurveError, Direction, ResponseCurve, curve_named, required_course
from sites.edge.plant.frequency import FrequencyTrace
from sites.edge.plant.parameters import SiteParameters
from sites.edge.studies.frequency_files import TraceError, read_trace
from sites.edge.studies.response_score import ResponseScore, score
from sites.output_files import judge_outputs, replacing, write_text

FloatArray = npt.NDArray[np.float64]

RATE_HZ: Final = 10_000
SETTLE_S: Final = 3
"""The site runs at the recording's first frequency for this long before it counts."""
CHUNK_S: Final = 10
CALM_FROM_S: Final = 3600.0
"""Calm recordings that are longer run in milliseconds."""
LONG_S: Final = 4 * 3600.0
"""Longer recordings are kept in rows of 50 ms; the simulation's steps stay the same."""
LONG_ROW: Final = 5
RATING_SHARE: Final = 0.9
"""Contract over the rating of the reference site."""
START_SOC: Final = {Direction.LOW: 0.7, Direction.HIGH: 0.4, Direction.BOTH: 0.55}


@dataclass(frozen=True, slots=True)
class Response:
    """A run over a recording: rows of equal length, means over each."""

    product: str
    contract_kw: float
    in_waves: bool
    """Sample by sample; else in milliseconds (calm_grid.py)."""
    row_s: float
    t_s: FloatArray
    """Start of each row, on the recording's own time axis [s]."""
    frequency_hz: FloatArray
    """The recording, linear between its rows [Hz]."""
    estimate_hz: FloatArray
    """What the site measured [Hz]."""
    required_kw: FloatArray
    """Due by the product at the recording's frequency, positive into the bus [kW]."""
    delivered_kw: FloatArray
    """The battery's meter; 0 while the site is islanded [kW]."""
    tied: npt.NDArray[np.bool_]
    score: ResponseScore

    @property
    def energy_kwh(self) -> float:
        """Net energy delivered, positive into the bus [kWh]."""
        return float(self.delivered_kw.sum()) * self.row_s / 3600.0

    def figures(self) -> dict[str, Any]:
        """Return the published figures; a figure that does not exist is None."""
        lags_ms = self.score.lags_ms
        error_hz = (self.estimate_hz - self.frequency_hz)[self.tied]
        return {
            "product": self.product,
            "contract_kw": self.contract_kw,
            "response_ms": {
                "p50": round(float(np.median(lags_ms)), 1) if lags_ms else None,
                "max": round(max(lags_ms), 1) if lags_ms else None,
            },
            "delivered_ratio_worst_10s": _rounded(self.score.delivered_ratio_worst),
            "over_delivery_max": _rounded(self.score.over_delivery_max),
            "frequency_error_mhz_rms": (
                round(1000.0 * math.sqrt(float((error_hz**2).mean())), 3) if len(error_hz) else None
            ),
            "energy_kwh": round(self.energy_kwh, 6),
        }


def reference_site(
    curve: ResponseCurve,
    power_kw: float,
    *,
    site_kva: float | None = None,
    battery_kwh: float | None = None,
    soc_ratio: float | None = None,
    short_circuit_ratio: float = 10.0,
    phases: int | None = None,
    meter_bias_hz: float = 0.0,
) -> SiteParameters:
    """Return a site sized to a contract: rating 111 % of it, energy for the product's duration twice over.

    Raises ValueError naming what does not fit.
    """
    kva = power_kw / RATING_SHARE if site_kva is None else site_kva
    if kva < power_kw:
        raise ValueError(f"site-kva is {kva:g} for a contract of {power_kw:g} kW, accepted: {power_kw:g} or more")
    hours = max(2.0, 2.0 * curve.sustain_s / 3600.0)
    kwh = power_kw * hours if battery_kwh is None else battery_kwh
    phases = (1 if power_kw <= 10.0 else 3) if phases is None else phases
    return SiteParameters(
        site_id="reference",
        name="reference site",
        kind="cabinet",
        nominal_hz=curve.nominal_hz,
        nominal_voltage_v=230.0 if phases == 1 else 400.0,
        phases=phases,
        pcs_kva=kva,
        battery_kwh=kwh,
        soc_ratio=START_SOC[curve.direction] if soc_ratio is None else soc_ratio,
        reserve_kwh=0.1 * kwh,
        pv_kw=0.0,
        pv_now_ratio=0.0,
        load_kw=0.2 * kva,
        genset_kw=0.0,
        import_limit_kw=1.5 * kva,
        export_limit_kw=1.5 * kva,
        short_circuit_ratio=short_circuit_ratio,
        meter_bias_hz=meter_bias_hz,
    )


def respond(
    curve: ResponseCurve,
    power_kw: float,
    trace: FrequencyTrace,
    site: SiteParameters,
    *,
    seed: int,
    in_waves: bool | None = None,
) -> Response:
    """Run a site's controller and plant in closed loop over a recording and score it.

    ``in_waves``: sample by sample, or in milliseconds where that shows the same (calm_grid.py); None: the latter for
    calm recordings of more than an hour.
    """
    # Imported here: a recording that is refused needs no compiled kernels.
    from sites.edge.studies.calm_grid import GridLeft, is_calm

    if in_waves is None:
        in_waves = float(trace.t_s[-1] - trace.t_s[0]) <= CALM_FROM_S or not is_calm(trace, curve.nominal_hz)
    if in_waves:
        return _run(curve, power_kw, trace, site, seed=seed, in_waves=True)
    try:
        return _run(curve, power_kw, trace, site, seed=seed, in_waves=False)
    except GridLeft:
        return _run(curve, power_kw, trace, site, seed=seed, in_waves=True)


def _run(
    curve: ResponseCurve, power_kw: float, trace: FrequencyTrace, site: SiteParameters, *, seed: int, in_waves: bool
) -> Response:
    from sites.edge.studies.calm_grid import STEPS_HZ, CalmSite
    from sites.edge.studies.closed_loop import ClosedLoop

    loop = ClosedLoop([site], seed=seed, sample_rate_hz=RATE_HZ)
    settle = SETTLE_S * RATE_HZ
    # A droop stands where the first frequency puts it; a trigger must not fire before the recording begins.
    loop.arm(0, curve, power_kw, 0.0, settle if curve.trigger is not None else 0, 2**62)
    loop.advance(np.full(settle, trace.f_hz[0]))
    loop.drain_records()
    calm = None if in_waves else CalmSite(loop)
    rate_hz = RATE_HZ if in_waves else STEPS_HZ
    span_s = float(trace.t_s[-1] - trace.t_s[0])
    merged = LONG_ROW if span_s > LONG_S else 1
    row_steps = rate_hz // 100 * merged
    rows = max(1, math.ceil(span_s * rate_hz / row_steps))
    truth = np.empty(rows)
    measured = np.empty((rows, 3), np.float32)
    per_chunk = CHUNK_S * rate_hz // row_steps
    told = time.monotonic()
    for first in range(0, rows, per_chunk):
        count = min(per_chunk, rows - first)
        steps = np.arange(first * row_steps, (first + count) * row_steps)
        grid_hz = trace.at(trace.t_s[0] + steps / rate_hz)
        if calm is None:
            loop.advance(grid_hz)
            record = loop.drain_records()[1][:, 0, :]
        else:
            record = calm.advance(grid_hz)
        truth[first : first + count] = grid_hz.reshape(count, row_steps).mean(axis=1)
        # Frequency estimate, battery and switch of the 100 Hz record.
        kept = record[:, (0, 1, 4)].reshape(count, merged, 3)
        measured[first : first + count] = kept.mean(axis=1)
        if time.monotonic() - told > 10.0:
            told = time.monotonic()
            sys.stderr.write(f"{(first + count) * row_steps / rate_hz:.0f} of {span_s:.0f} s\n")
    row_s = row_steps / rate_hz
    t_s = trace.t_s[0] + np.arange(rows) * row_s
    tied = measured[:, 2] > 0.5
    delivered_kw = np.where(tied, measured[:, 1], 0.0).astype(float)
    required_kw = required_course(curve, t_s, truth, curve.nominal_hz) * power_kw
    return Response(
        product=curve.name,
        contract_kw=power_kw,
        in_waves=in_waves,
        row_s=row_s,
        t_s=t_s,
        frequency_hz=truth,
        estimate_hz=measured[:, 0].astype(float),
        required_kw=required_kw,
        delivered_kw=delivered_kw,
        tied=tied,
        score=score(required_kw, delivered_kw, row_s=row_s, contract_kw=power_kw, within_s=curve.full_within_s),
    )


def in_words(run: Response, curve: ResponseCurve) -> str:
    """Return the figures for people."""
    figures, judged = run.figures(), run.score
    span_s = len(run.t_s) * run.row_s
    lags = figures["response_ms"]
    ratio = figures["delivered_ratio_worst_10s"]
    away_s = float((~run.tied).sum()) * run.row_s
    response = "response: the required power never rose by 10 % of the contract"
    if judged.lags_ms:
        response = (
            f"response at 90 % of {len(judged.lags_ms)} excursions: p50 {lags['p50']:g} ms, max {lags['max']:g} ms"
        )
        response += f", in rows of {1000 * run.row_s:g} ms"
    if judged.missed:
        response += f"; {judged.missed} ended before 90 % was reached"
    lines = [
        f"{run.product}, {run.contract_kw:g} kW over {span_s:g} s (certainty {curve.certainty}: {curve.source})",
        "run sample by sample" if run.in_waves else "a calm recording, run in milliseconds; --waves runs each sample",
        response,
        f"delivered over required, worst 10 s inside the allowed lag of {curve.full_within_s:g} s: "
        + (f"{ratio:.3f}" if ratio is not None else "nothing was due"),
        f"over-delivery, worst 10 s: {figures['over_delivery_max']:.3f} of the contract",
        f"outside the timed envelope: worst {100 * judged.outside_worst:.1f} % of the contract, "
        f"{judged.outside_s:g} s by more than 3 %",
        f"frequency error of the site's estimate: {figures['frequency_error_mhz_rms']} mHz r.m.s.",
        f"energy {figures['energy_kwh']:.4f} kWh into the bus, net; "
        f"{float(np.abs(run.delivered_kw).sum()) * run.row_s / 3600.0:.4f} kWh both ways",
    ]
    if away_s:
        lines.append(f"the site left the grid for {away_s:g} s, where it delivers nothing")
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FREQUENCY.csv", help="t_s,frequency_hz")
    parser.add_argument("--product", required=True, metavar="NAME", help="such as neso-dc-low, entsoe-fcr, nordic-ffr")
    parser.add_argument("--power-kw", type=_number(0.1, 90_000.0), required=True, metavar="P", help="contracted power")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures; - is standard output")
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write t_s,frequency_hz,required_kw,delivered_kw")
    parser.add_argument("--rows-hz", type=_number(0.01, 100.0), metavar="R", help="rows of --csv per second")
    parser.add_argument("--site-kva", type=_number(0.1, 100_000.0), metavar="S", help="the converter's rating")
    parser.add_argument("--battery-kwh", type=_number(0.1, 1_000_000.0), metavar="E")
    parser.add_argument("--soc", type=_number(0.0, 1.0), metavar="RATIO", help="state of charge at the start")
    parser.add_argument(
        "--scr", type=_number(2.0, 100.0), default=10.0, metavar="R", help="grid strength, on the rating"
    )
    parser.add_argument("--phases", type=int, choices=(1, 3))
    parser.add_argument("--meter-bias-hz", type=_number(-0.05, 0.05), default=0.0, metavar="B")
    parser.add_argument("--recover", action="store_true", help="take energy back inside the product's allowance")
    parser.add_argument(
        "--waves", action="store_true", help="every sample also where a long recording is calm: minutes for a day"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N")


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the command; bad input ends it with status 2 and says what was wrong."""
    try:
        judge_outputs(options.csv, None if str(options.json) == "-" else options.json)
        curve = curve_named(options.product)
        if not options.recover:
            curve = dataclasses.replace(curve, recovery=None)
        trace = read_trace(options.file, curve.nominal_hz)
        site = reference_site(
            curve,
            options.power_kw,
            site_kva=options.site_kva,
            battery_kwh=options.battery_kwh,
            soc_ratio=options.soc,
            short_circuit_ratio=options.scr,
            phases=options.phases,
            meter_bias_hz=options.meter_bias_hz,
        )
        in_waves = True if options.waves else None
        result = respond(curve, options.power_kw, trace, site, seed=options.seed, in_waves=in_waves)
        if options.csv is not None:
            write_rows(result, options.csv, options.rows_hz)
        if options.json is not None:
            text = json.dumps(result.figures(), indent=2) + "\n"
            if str(options.json) == "-":
                sys.stdout.write(text)
                return 0
            write_text(options.json, text)
    except (CurveError, TraceError, ValueError, OSError) as error:
        sys.stderr.write(f"vpp-edge respond: {type(error).__name__}: {error}\n")
        return 2
    sys.stdout.write(in_words(result, curve))
    return 0


def write_rows(run: Response, path: Path, rows_hz: float | None) -> None:
    """Write the course as CSV, each row a mean from its ``t_s`` on.

    Without ``rows_hz``: 100 rows a second up to a quarter of an hour, 10 up to three hours, then one.
    """
    span_s = len(run.t_s) * run.row_s
    if rows_hz is None:
        rows_hz = 100.0 if span_s <= 900.0 else 10.0 if span_s <= 10_800.0 else 1.0
    merged = max(1, round(1.0 / rows_hz / run.row_s))
    starts = np.arange(0, len(run.t_s), merged)
    counts = np.diff(np.append(starts, len(run.t_s)))
    columns = [
        np.add.reduceat(values, starts) / counts for values in (run.frequency_hz, run.required_kw, run.delivered_kw)
    ]
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("t_s", "frequency_hz", "required_kw", "delivered_kw"))
        for t_s, *values in zip(run.t_s[starts], *columns, strict=True):
            writer.writerow((f"{t_s:.3f}", *(f"{value:.6f}" for value in values)))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _number(low: float, high: float) -> Any:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"is {text!r}, accepted: {low:g} to {high:g}")
        return value

    return read
