"""vpp-edge islanding-suite: the scenario matrix in closed loop, against its targets and against other detectors."""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sites.edge.studies.suite_cases import Case, all_cases, converter_cases
from sites.edge.studies.suite_report import (
    as_json,
    as_markdown,
    as_text,
    baseline_figures,
    class_result,
    converter_figures,
)
from sites.edge.studies.suite_run import compare_baselines, run_cases, spread
from sites.edge.studies.suite_transitions import by_class, stories, story_classes, tell
from sites.output_files import judge_outputs, write_text

COMPARED: Final = (
    "loss 3 of 3 phases, sic",
    "loss 1 of 3 phases, sic",
    "loss, one-phase site",
    "nuisance set",
    "must ride",
)
"""Classes on which the comparison detectors are run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures of each class")
    parser.add_argument("--report", type=Path, metavar="OUT.md", help="write the tables as Markdown")
    parser.add_argument("--quick", action="store_true", help="a part of the matrix, in less than a minute")
    parser.add_argument("--class", dest="classes", action="append", metavar="NAME", help="only these; repeatable")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")


def run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the matrix; return 0 when every guaranteed class keeps its targets, else 1."""
    judge_outputs(options.json, options.report)
    started_s = time.monotonic()
    cases = all_cases(quick=options.quick)
    names = [*dict.fromkeys(case.class_name for case in cases), *story_classes(stories(quick=options.quick))]
    chosen = [name for name in names if options.classes is None or name.startswith(tuple(options.classes))]
    if not chosen:
        sys.stderr.write(f"vpp-edge islanding-suite: no class {options.classes}, accepted: {'; '.join(names)}\n")
        return 2
    document, text, markdown, failed = study(
        cases, chosen, workers=options.workers, heading=_heading(options), quick=options.quick
    )
    sys.stdout.write(text)
    sys.stdout.write(f"\n{document['runs']} runs in {time.monotonic() - started_s:.0f} s; ")
    sys.stdout.write(f"{failed} of {len(chosen)} classes do not keep what is promised\n")
    if options.json is not None:
        write_text(options.json, json.dumps(document, indent=2) + "\n")
    if options.report is not None:
        write_text(options.report, markdown)
    return 1 if failed else 0


def study(
    cases: Sequence[Case], chosen: Sequence[str], *, workers: int | None, heading: Sequence[str], quick: bool
) -> tuple[dict[str, Any], str, str, int]:
    """Return (JSON document, terminal text, Markdown, failed classes) of the chosen classes."""
    wanted = [case for case in cases if case.class_name in chosen]
    outcomes = run_cases(wanted, workers=workers)
    told = [story for story in stories(quick=quick) if set(story[0].split("; ")) & set(chosen)]
    lived = by_class(list(itertools.chain.from_iterable(spread(tell, told, workers=workers))))
    results = [
        class_result(name, *lived[name])
        if name in lived
        else class_result(name, [o.run for o in outcomes if o.class_name == name])
        for name in chosen
    ]
    compared = [case for case in wanted if case.class_name.startswith(COMPARED)]
    baselines = baseline_figures(compare_baselines(compared, workers=workers)) if compared else {}
    if compared:
        ways = run_cases(converter_cases(quick), workers=workers)
        names = dict.fromkeys(outcome.class_name for outcome in ways)
        baselines["converter"] = {
            name: converter_figures([o.run for o in ways if o.class_name == name]) for name in names
        }
    document = as_json(results, baselines) | {
        "runs": len(wanted) + len(compared) + sum(len(runs) for runs, _ in lived.values())
    }
    return (
        document,
        as_text(results, baselines),
        as_markdown(results, baselines, heading),
        sum(r.fails for r in results),
    )


def _heading(options: argparse.Namespace) -> list[str]:
    what = "a part of the matrix (`--quick`)" if options.quick else "the whole matrix"
    return [
        f"`vpp-edge islanding-suite{' --quick' if options.quick else ''}`, {what}. Python {platform.python_version()}, "
        f"{platform.machine()}. All times are sample time and do not depend on the machine.",
    ]
