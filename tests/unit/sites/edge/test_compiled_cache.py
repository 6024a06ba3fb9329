"""Where compiled kernels are kept: beside the sources, or copied once for a user who may not write there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sites.edge.control.kernels import compiled


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    folder = tmp_path / "opt" / "kernels-abc"
    folder.mkdir(parents=True)
    (folder / "compiled.nbc").write_bytes(b"code")
    return folder


@pytest.fixture
def foreign(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, as a service's user sees it."""
    may = os.access
    monkeypatch.setattr(compiled.os, "access", lambda path, mode: Path(path) != shipped and may(path, mode))
    return shipped


def test_it_stays_beside_the_sources_where_we_may_write(shipped: Path, tmp_path: Path) -> None:
    assert compiled.cache_folder(shipped, {"HOME": str(tmp_path / "home")}) == shipped
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"CACHE_DIRECTORY": "cache:other", "HOME": "home"}, "cache/vpp-edge"),
        ({"XDG_CACHE_HOME": "xdg", "HOME": "home"}, "xdg/vpp-edge"),
        ({"HOME": "home"}, "home/.cache/vpp-edge"),
    ],
)
def test_what_was_compiled_is_copied_into_a_folder_of_our_own(
    foreign: Path, tmp_path: Path, environment: dict[str, str], place: str
) -> None:
    given = {name: str(tmp_path / value) for name, value in environment.items()}
    own = compiled.cache_folder(foreign, given)
    assert own == tmp_path / place / "kernels-abc"
    assert (own / "compiled.nbc").read_bytes() == b"code"
    # A second process finds it, and what was compiled since stays.
    (own / "more.nbc").write_bytes(b"more")
    assert compiled.cache_folder(foreign, given) == own
    assert (own / "more.nbc").exists()
    assert [path.name for path in own.parent.iterdir()] == ["kernels-abc"]


def test_without_any_folder_nothing_is_kept(foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert compiled.cache_folder(foreign, {}) is None
    assert compiled.cache_folder(foreign, {"HOME": str(tmp_path / "file")}) is None


def test_what_is_shipped_others_may_read_and_a_users_own_they_may_not(foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fresh = compiled.cache_folder(tmp_path / "new" / "kernels-def", {})
    own = compiled.cache_folder(tmp_path / "file" / "kernels-def", {"HOME": str(tmp_path / "home")})
    assert fresh is not None
    assert own is not None
    assert [stat.S_IMODE(folder.stat().st_mode) & 0o077 for folder in (fresh, own)] == [0o055, 0]
