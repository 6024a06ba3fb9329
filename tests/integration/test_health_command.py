"""``manage.py health``: a line for each process, with what it misses; 1 when one is not well or none is there."""

from __future__ import annotations

import json
import socket
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from sites.observability.endpoint import Address, watched
from sites.observability.health import Health


def asked(folder: Path) -> tuple[int, dict[str, str]]:
    """Return the exit status and what was said of each process."""
    out = StringIO()
    try:
        call_command("health", folder=folder, stdout=out)
    except SystemExit as end:
        status = int(end.code or 0)
    else:
        status = 0
    return status, {
        line.split()[0].partition("-")[0]: line.split(maxsplit=1)[1] for line in out.getvalue().splitlines()
    }


def test_each_process_is_asked_and_the_reason_told(tmp_path: Path) -> None:
    gone = ""
    good, bad = Health("host"), Health("ingest")
    bad.watch("broker", lambda: gone)
    with (
        watched(good, Address("127.0.0.1", 0), folder=tmp_path),
        watched(bad, Address("127.0.0.1", 0), folder=tmp_path),
    ):
        assert asked(tmp_path) == (0, {"host": "well", "ingest": "well"})
        gone = "broker cannot be reached: refused"
        assert asked(tmp_path) == (1, {"host": "well", "ingest": "broker: broker cannot be reached: refused"})


def test_a_process_that_stands_still_and_files_that_are_none_are_told(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{deaf.getsockname()[1]}"
        (tmp_path / "web-1.json").write_text(json.dumps([{"targets": [target], "labels": {}}]))
        (tmp_path / "host-2.json").write_text("[]")
        status, told = asked(tmp_path)
    assert status == 1
    assert told["web"].startswith(f"does not answer on {target}:")
    assert told["host"] == "host-2.json cannot be read"


def test_nobody_there_is_not_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("health", folder=tmp_path)
    assert end.value.code == 1
    assert f"no process says in {tmp_path} that it runs" in capsys.readouterr().out
