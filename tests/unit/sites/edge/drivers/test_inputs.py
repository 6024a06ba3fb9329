"""Contacts are read as they are wired, and a broken wire trips."""

from __future__ import annotations

from pathlib import Path

from sites.edge.control.exchange import INPUT_NAMES
from sites.edge.drivers.inputs import FAIL_SAFE, InputCard, InputLine


def a_card(folder: Path, **wiring: bool) -> InputCard:
    return InputCard({name: InputLine(folder / name, is_closed) for name, is_closed in wiring.items()})


def test_every_contact_has_a_value_for_a_broken_wire() -> None:
    assert set(FAIL_SAFE) == set(INPUT_NAMES)
    assert all(FAIL_SAFE[name] == 1 for name in ("emergency_stop", "fire", "bms_trip"))


def test_only_what_changed_is_handed_on_and_a_normally_closed_contact_is_turned_around(tmp_path: Path) -> None:
    (tmp_path / "emergency_stop").write_text("1\n")
    (tmp_path / "local_reset").write_text("0")
    card = a_card(tmp_path, emergency_stop=True, local_reset=False)
    assert sorted(card.changes()) == [("emergency_stop", 0), ("local_reset", 0)]
    assert card.changes() == []
    (tmp_path / "emergency_stop").write_text("0\n")
    (tmp_path / "local_reset").write_text("1")
    assert sorted(card.changes()) == [("emergency_stop", 1), ("local_reset", 1)]


def test_a_line_that_can_not_be_read_counts_as_tripped_until_it_is_back(tmp_path: Path) -> None:
    card = a_card(tmp_path, emergency_stop=True, local_reset=False)
    assert sorted(card.changes()) == [("emergency_stop", 1), ("local_reset", 0)]
    (tmp_path / "emergency_stop").write_text("nonsense")
    assert card.changes() == []
    (tmp_path / "emergency_stop").write_text("1")
    assert card.changes() == [("emergency_stop", 0)]
    (tmp_path / "emergency_stop").unlink()
    assert card.changes() == [("emergency_stop", 1)]
