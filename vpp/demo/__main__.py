"""Run the main job on this machine: a grid operator, a broker, a platform and N sites, then the scorecard.

usage: make demo ARGS="--headless --json FILE --sites N --seed S"
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vpp.demo.processes import Processes
from vpp.demo.progress import Progress
from vpp.demo.workspace import BASE_DIR, DemoError, Workspace, make_workspace


def arguments_of(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make demo ARGS=…", description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=200, help="simulated sites, 3 to 2000 (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="which fleet (default 1)")
    parser.add_argument("--headless", action="store_true", help="end after the scorecard; no console is left running")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scorecard there")
    arguments = parser.parse_args(argv)
    if not 3 <= arguments.sites <= 2000:
        parser.error(f"--sites is {arguments.sites}, accepted: 3 to 2000")
    if arguments.json is not None and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json is {arguments.json}, accepted: a file in a folder that exists")
    return arguments


def run(arguments: argparse.Namespace, workspace: Workspace, progress: Progress, started: float) -> dict[str, Any]:
    """Play the story and return the scorecard; leaves the console running unless headless."""
    import django

    django.setup()
    from django.conf import settings

    from sites.wire.signature import public_key_of
    from vpp.demo import scorecard, story

    processes = Processes(workspace)
    try:
        progress.stage("make the keys and the database")
        processes.start_sites(
            sites=arguments.sites,
            seed=arguments.seed,
            interval_s=story.INTERVAL_S,
            platform_key=public_key_of(settings.SIGNING_KEYS[0]),
        )
        story.make_keys(workspace)
        story.make_database()
        passwords = story.prepare_platform(processes.manifest())
        progress.stage("start the broker, the platform and the grid operator")
        story.admit_services(workspace)
        processes.start_broker()
        processes.start_grid_operator()
        processes.start_platform()
        processes.start_web()
        processes.keep_broker()
        progress.note(f"console: {processes.console_url}")
        for name, password in passwords.items():
            progress.note(f"{name:<12}{password}")
        # The sites' clock begins with their certificates: a platform that starts beside them would take their time.
        progress.stage("enroll the fleet: a certificate for each site")
        story.certify_fleet(workspace, url=processes.console_url)
        progress.stage(f"{arguments.sites} sites join")
        story.await_fleet(processes, progress, sites=arguments.sites)
        progress.stage("the grid operator's OpenADR event arms the fleet")
        plan = story.issue_event(processes)
        dispatch_id = story.await_armed(processes, progress, plan)
        islanded = story.open_a_feeder(processes, plan, dispatch_id=dispatch_id)
        progress.stage("9 August 2019, in real time")
        story.follow_event(processes, progress, plan, dispatch_id=dispatch_id, islanded=islanded)
        progress.stage("records and meters come in")
        metered = story.await_books_ready(processes, progress, plan, dispatch_id=dispatch_id, islanded=islanded)
        progress.stage("two books close, and are added up again")
        story.close_books(dispatch_id=dispatch_id, metered=metered)
        card = scorecard.read_scorecard(
            dispatch_id=dispatch_id, metered=metered, event=story.event_period(plan), at=datetime.now(UTC)
        )
        card["wall_s"] = round(time.monotonic() - started, 1)
        if arguments.json is not None:
            draft = arguments.json.with_name(arguments.json.name + ".new")
            draft.write_text(json.dumps(card, indent=2) + "\n")
            draft.replace(arguments.json)
        progress.stage("scorecard")
        progress.end()
        progress.console.print(scorecard.table_of(card))
        if "VPP_DEMO_DATABASE_URL" not in os.environ:
            # Not printed otherwise: the user's own address may hold a password.
            command = f"DATABASE_URL={os.environ['DATABASE_URL']} .venv/bin/python manage.py verify_books"
            progress.console.print(f"To look into this run: {command}", soft_wrap=True)
        if not arguments.headless:
            progress.console.print(f"\nThe console is at {processes.console_url} — Ctrl-C ends everything.")
            for name, password in passwords.items():
                progress.console.print(f"    {name:<12}{password}")
            while True:
                processes.supervisor.require_alive()
                time.sleep(0.5)
        return card
    finally:
        processes.supervisor.stop()


def main() -> int:
    """Return 0 when the story ended well, 1 when it could not, 130 after Ctrl-C in it."""
    started = time.monotonic()
    arguments = arguments_of(sys.argv[1:])
    workspace = make_workspace(BASE_DIR / "var" / "demo")
    os.environ.update(workspace.environment() | workspace.signing_environment())
    os.environ["VPP_LOG_LEVEL"] = "WARNING"
    # A stopped terminal or an init system ends the demo as Ctrl-C does: by stopping its children.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Progress(started) as progress:
        try:
            run(arguments, workspace, progress, started)
        except DemoError as error:
            progress.console.print(f"[red]The demo could not go on:[/red] {error}")
            progress.console.print(f"logs: {workspace.logs}")
            return 1
        except KeyboardInterrupt:
            return 130 if arguments.headless else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
