"""Outputs are replaced whole, or left as they were."""

from __future__ import annotations

import json
import os
import stat

import pytest

from sites.output_files import OutputError, write_json


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("old")
    out.chmod(0o640)
    write_json(out, {"a": 1})
    assert json.loads(out.read_text()) == {"a": 1}
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["out.json"]


def test_what_a_link_points_at_is_replaced_and_the_link_stays(tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write_json(link, [1])
    assert link.is_symlink()
    assert json.loads(target.read_text()) == [1]


def test_a_device_is_written_to_and_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_json(pipe, {"a": 1})
    assert json.loads(os.read(reader, 100)) == {"a": 1}
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_figure_that_json_has_no_word_for_leaves_the_old_file(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(out, {"a": float("nan")})
    assert out.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_folder_and_a_place_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="is a folder, accepted: a file"):
        write_json(tmp_path, {})
    with pytest.raises(OutputError, match=r"there is no folder .*none, accepted: a file in a folder that exists"):
        write_json(tmp_path / "none" / "out.json", {})
