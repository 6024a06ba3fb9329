"""The front-end's install step: done once per lock state, and an error that says what npm answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vpp.console import frontend_build


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A served folder as a finished build leaves it."""
    for name in frontend_build.WANTED.values():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("content")
    (tmp_path / frontend_build.STAMP).write_text(frontend_build.lock_hash() + "\n")
    return tmp_path


def test_the_lock_file_holds_no_address_of_a_registry() -> None:
    lock = json.loads((frontend_build.SOURCE_DIR / "package-lock.json").read_text())
    packages = {name: row for name, row in lock["packages"].items() if name}
    assert packages["node_modules/uplot"]["integrity"].startswith("sha512-")
    assert not [name for name, row in packages.items() if "resolved" in row]


def test_a_current_folder_is_left_alone(served: Path, tmp_path: Path) -> None:
    assert frontend_build.build_frontend(work_dir=tmp_path / "work", target_dir=served) is False
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("spoil", ["uplot/uPlot.esm.js", frontend_build.STAMP])
def test_a_missing_file_makes_it_build_again(served: Path, spoil: str) -> None:
    (served / spoil).unlink()
    assert not frontend_build.is_current(served, frontend_build.lock_hash())


def test_another_lock_state_makes_it_build_again(served: Path) -> None:
    assert not frontend_build.is_current(served, "0" * 64)


def test_what_npm_answered_stands_in_the_error(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "package.json").write_text('{"name": "x", "version": "1.0.0", "dependencies": {"uplot": "1.6.32"}}')
    # A lock file that does not match is npm ci's own refusal; it needs no network.
    (source / "package-lock.json").write_text('{"name": "x", "version": "1.0.0", "lockfileVersion": 3, "packages": {}}')
    with pytest.raises(frontend_build.FrontendNotBuilt, match="in sync"):
        frontend_build.build_frontend(source_dir=source, work_dir=tmp_path / "work", target_dir=tmp_path / "out")
    assert not (tmp_path / "out" / frontend_build.STAMP).exists()
