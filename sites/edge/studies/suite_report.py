"""The suite's results as a table for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sites.edge.studies.suite_figures import RunFigures, class_figures, percentiles
from sites.edge.studies.suite_targets import Target, broken_promises, target_of

FALSE_CLASSES: Final = ("nuisance set", "must ride", "soak")
"""Classes in which nothing is lost: every transfer is false."""


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class with its figures, its target and what of it is not kept."""

    name: str
    figures: dict[str, Any]
    target: Target
    broken: tuple[str, ...]

    @property
    def fails(self) -> bool:
        """A promise is not kept."""
        return self.target.guaranteed and bool(self.broken)

    @property
    def verdict(self) -> str:
        """In one line."""
        if not self.target.guaranteed:
            missed = f"; misses {'; '.join(self.broken)}" if self.broken else ""
            return f"not promised: {self.target.reason}{missed}"
        return "; ".join(self.broken) or "kept"


def class_result(name: str, runs: Sequence[RunFigures], failures: Sequence[str] = ()) -> ClassResult:
    """Return a class's result; ``failures`` are what runs missed of their own ends, in words."""
    target = target_of(name)
    transfer_is_false = name.startswith(FALSE_CLASSES)
    figures = class_figures(runs, transfer_is_false=transfer_is_false, guaranteed=target.guaranteed)
    undecided = sum(not run.decided for run in runs)
    least = [run.min_pu_after_2ms for run in runs if math.isfinite(run.min_pu_after_2ms)]
    broken = broken_promises(target, figures, undecided=undecided, least_pu=min(least, default=1.0))
    missed = [f"{len(failures)} of {len(runs)}: {failures[0]}"] if failures else []
    return ClassResult(name, figures, target, (*broken, *missed))


def baseline_figures(found: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, dict[str, Any]]:
    """Return {detector: {class: figures}} of the comparison detectors' decisions [ms, NaN for none]."""
    return {
        name: {
            class_name: {
                "n": len(decisions),
                "decision_ms": percentiles(decisions),
                "undecided": sum(math.isnan(value) for value in decisions),
                "false_transfers": sum(
                    not math.isnan(value) if class_name.startswith(FALSE_CLASSES) else value < 0.0
                    for value in decisions
                ),
            }
            for class_name, decisions in classes.items()
        }
        for name, classes in found.items()
    }


def converter_figures(runs: Sequence[RunFigures]) -> dict[str, Any]:
    """Return what the load saw of losses under one way to control the converter; all its switch's poles opened."""
    figures = class_figures(runs, transfer_is_false=False, guaranteed=False)
    least = min((run.min_pu_after_2ms for run in runs), default=float("nan"))
    kept = ("n", "decision_ms", "transfer_ms", "load_outside_itic", "lost_volt_seconds")
    return {name: figures[name] for name in kept} | {"min_pu_after_2ms": round(least, 3)}


def as_json(results: Sequence[ClassResult], baselines: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON document; ``verdicts`` says in words what each class is promised and does not keep."""
    return {
        "classes": {result.name: result.figures for result in results},
        "baselines": dict(baselines),
        "verdicts": {
            result.name: {"verdict": result.verdict, "hardware": result.target.hardware, "source": result.target.source}
            for result in results
        },
    }


def as_text(results: Sequence[ClassResult], baselines: Mapping[str, Any]) -> str:
    """Return the tables for a terminal."""
    lines = [
        f"{'class':46s}{'n':>6s}  {'decision ms p50/p99/max':>25s}  {'transfer ms p50/p99/max':>25s}"
        f"{'ITIC':>6s}{'false':>6s}{'lost mpu s':>11s}  verdict"
    ]
    for result in results:
        figures = result.figures
        lines.append(
            f"{result.name:46s}{figures['n']:6d}  {_three(figures['decision_ms']):>25s}  "
            f"{_three(figures['transfer_ms']):>25s}{figures['load_outside_itic']:6d}{figures['false_transfers']:6d}"
            f"{1000.0 * figures['lost_volt_seconds']:11.2f}  {result.verdict}"
        )
    lines += ["", "comparison, no switch opens; decisions by voltage alone but ours:"]
    for name, classes in _detectors(baselines):
        for class_name, figures in classes.items():
            lines.append(
                f"{name:26s}{class_name:46s}{figures['n']:6d}  {_three(figures['decision_ms']):>25s}"
                f"  undecided {figures['undecided']}, false {figures['false_transfers']}"
            )
    if "converter" in baselines:
        lines += ["", "converter, load voltage in the same losses:"]
        for name, figures in baselines["converter"].items():
            lines.append(
                f"{name:26s}transfer {_three(figures['transfer_ms'])} ms, outside ITIC {figures['load_outside_itic']}, "
                f"least {figures['min_pu_after_2ms']:.2f} pu after 2 ms, lost {1000 * figures['lost_volt_seconds']:.2f}"
                " mpu s"
            )
    return "\n".join(lines) + "\n"


def as_markdown(results: Sequence[ClassResult], baselines: Mapping[str, Any], heading: Sequence[str]) -> str:
    """Return the report; ``heading`` tells version, machine and command."""
    lines = [
        "# Islanding suite", "", *heading, "",
        "Times in ms of sample time, from the first pole that opens or from the event; lost: mean time integral of the",
        "load voltage missing below 0.9 pu.", "",
        _row("class", "n", "decision p50 / p99 / max", "transfer p50 / p99 / max", "outside ITIC", "false",
             "lost mpu s", "verdict", "hardware"),
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for result in results:
        f = result.figures
        lost = f"{1000.0 * f['lost_volt_seconds']:.2f}"
        times = (_three(f["decision_ms"]), _three(f["transfer_ms"]))
        counts = (f["load_outside_itic"], f["false_transfers"], lost)
        lines.append(_row(result.name, f["n"], *times, *counts, result.verdict, result.target.hardware))
    lines += [
        "", "## Comparison", "",
        "The same losses and nuisances with the switch held closed. Ours has the current through the switch; the",
        "others see voltage alone.", "",
        _row("detector", "class", "n", "decision p50 / p99 / max", "undecided", "false"),
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, classes in _detectors(baselines):
        for class_name, f in classes.items():
            left = (f["undecided"], f["false_transfers"])
            lines.append(_row(name, class_name, f["n"], _three(f["decision_ms"]), *left))
    if "converter" in baselines:
        heads = ("converter", "transfer p50 / p99 / max", "outside ITIC", "least pu after 2 ms", "lost mpu s")
        lines += ["", _row(*heads), "|---|---|---|---|---|"]
        for name, f in baselines["converter"].items():
            lost = f"{1000.0 * f['lost_volt_seconds']:.2f}"
            least = f"{f['min_pu_after_2ms']:.2f}"
            lines.append(_row(name, _three(f["transfer_ms"]), f["load_outside_itic"], least, lost))
    lines += ["", "## Sources of the targets", ""]
    lines += sorted({f"- {result.target.class_name}: {result.target.source}" for result in results})
    return "\n".join(lines) + "\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _detectors(baselines: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, classes) for name, classes in baselines.items() if name != "converter"]


def _three(values: Mapping[str, float | None]) -> str:
    if values["max"] is None:
        return "–"
    return " / ".join(f"{value:.2f}" for value in values.values() if value is not None)
