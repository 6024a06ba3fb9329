"""Outputs of the studies: judged first, replaced whole, refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sites.edge.__main__ import main
from sites.output_files import OutputError, judge_outputs, replacing, write_text


def test_a_file_is_replaced_whole_with_its_mode_and_through_a_link(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    write_text(link, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [path, link]


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "x")
    (tmp_path / "b.json").write_text("x")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b.json").stat().st_mode


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_text(path, "told")
    assert os.read(reader, 10) == b"told"
    os.close(reader)
    assert path.is_fifo()


def test_a_folder_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder, accepted: a file"):
        judge_outputs(None, tmp_path)
    with pytest.raises(OutputError, match=r"there is no folder .*/none, accepted"):
        judge_outputs(tmp_path / "none" / "a.json")


def test_a_folder_or_file_that_is_read_only_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    # Whoever runs the tests as root may write everywhere: the system's answer is given here.
    monkeypatch.setattr(os, "access", lambda place, _: Path(place).is_dir())
    with pytest.raises(OutputError, match="is read-only"):
        judge_outputs(path)
    monkeypatch.setattr(os, "access", lambda place, _: not Path(place).is_dir())
    with pytest.raises(OutputError, match="folder cannot be written"):
        judge_outputs(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("islanding-suite", "--quick"),
        ("realtime-report", "--seconds", "86400"),
        ("respond", "--product", "fcr-n", "--power-kw", "10", "none.csv"),
        ("replay", "none.csv"),
    ],
)
def test_each_study_refuses_its_output_before_it_works(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json", str(tmp_path / "none" / "out.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err
