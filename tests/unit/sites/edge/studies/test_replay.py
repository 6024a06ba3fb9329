"""vpp-edge replay: decisions on recordings, their JSON and check, and input that must never cause a transfer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.recordings import RMS_V, waves, write_csv

from sites.edge.__main__ import main

LOST_S = 0.1503


def replay(path: Path, *options: str) -> tuple[int, dict[str, object]]:
    """Run the command on one file; return its exit status and the file's JSON."""
    out = path.parent / "out.json"
    status = main(["replay", str(path), "--json", str(out), *options])
    (found,) = json.loads(out.read_text())["files"]
    return status, found


class TestDecisions:
    @pytest.mark.parametrize("rate_hz", [600.0, 1200.0, 10_000.0, 20_000.0, 30_707.2])
    def test_a_lost_grid_is_left_within_the_tolerance_at_any_rate(self, rate_hz: float, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "r.csv", *waves(rate_hz=rate_hz, lost_at_s=LOST_S))
        status, found = replay(path, "--expect", f"island@{LOST_S}", "--tolerance-ms", "12")
        assert status == 0
        assert found["fs_hz"] == pytest.approx(rate_hz, rel=1e-3)
        assert found["file"] == str(path)

    @pytest.mark.parametrize("hertz", [50.0, 60.0])
    @pytest.mark.parametrize("phases", [1, 3])
    def test_one_and_three_phases_at_either_frequency(self, hertz: float, phases: int, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "r.csv", *waves(hertz=hertz, phases=phases, lost_at_s=LOST_S))
        options = ("--nominal-hz", f"{hertz:g}", "--nominal-voltage", "230", "--expect", f"island@{LOST_S}")
        assert replay(path, *options)[0] == 0

    def test_an_event_after_forty_milliseconds_is_seen(self, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "r.csv", *waves(seconds=0.12, lost_at_s=0.040))
        assert replay(path, "--expect", "island@0.040")[0] == 0

    def test_currents_recorded_too_slowly_are_named_and_not_used(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        t_s, volts = waves(rate_hz=4000.0)
        # What a filter in front of the recorder would have taken out: harmonics folded onto the currents' zeros.
        amperes = volts / 23.0 * (np.abs(volts) > 100.0)
        path = write_csv(tmp_path / "r.csv", t_s, np.concatenate((volts, amperes)))
        assert replay(path, "--expect", "none")[0] == 0
        assert "currents at 4000 Hz were not used" in capsys.readouterr().out

    def test_a_healthy_recording_has_no_decision(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        status, found = replay(write_csv(tmp_path / "r.csv", *waves()), "--expect", "none")
        assert (status, found["decisions"], found["first_transfer_s"]) == (0, [], None)
        printed = capsys.readouterr().out
        assert "nominal voltage 230" in printed
        assert "estimated from its healthy" in printed

    def test_swapped_phases_are_named_and_watched_all_the_same(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        t_s, volts = waves(lost_at_s=LOST_S)
        path = write_csv(tmp_path / "r.csv", t_s, volts[[0, 2, 1]])
        assert replay(path, "--expect", f"island@{LOST_S}")[0] == 0
        assert "a-c-b (negative sequence)" in capsys.readouterr().out

    def test_it_says_what_the_load_saw_and_what_of_it_is_assumed(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        replay(write_csv(tmp_path / "r.csv", *waves(lost_at_s=LOST_S)), "--switch-ms", "2")
        printed = capsys.readouterr().out
        assert "load saw 0.0" in printed
        assert (
            "inside ITIC (measured to the decision, 2 ms of switch and the island's voltage then: assumed)" in printed
        )

    def test_each_decision_has_exactly_the_promised_keys(self, tmp_path: Path) -> None:
        _, found = replay(write_csv(tmp_path / "r.csv", *waves(lost_at_s=LOST_S)))
        assert set(found) == {"file", "fs_hz", "decisions", "first_transfer_s"}
        decisions = found["decisions"]
        assert isinstance(decisions, list)
        assert set(decisions[0]) == {"t_s", "action", "cause", "path"}
        assert decisions[0]["t_s"] == found["first_transfer_s"]

    def test_the_files_own_time_axis_is_kept(self, tmp_path: Path) -> None:
        t_s, volts = waves(lost_at_s=LOST_S)
        path = write_csv(tmp_path / "r.csv", t_s - 7.0, volts)
        assert replay(path, "--expect", f"island@{LOST_S - 7.0}")[0] == 0


class TestExpectation:
    @pytest.mark.parametrize(
        ("expect", "status"), [("none", 1), ("island@0.1", 1), ("island@0.16", 1), (f"island@{LOST_S}", 0)]
    )
    def test_a_wrong_expectation_is_status_1(self, expect: str, status: int, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "r.csv", *waves(lost_at_s=LOST_S))
        assert replay(path, "--expect", expect)[0] == status

    def test_a_transfer_that_does_not_come_is_status_1(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert replay(write_csv(tmp_path / "r.csv", *waves()), "--expect", "island@0.1")[0] == 1
        assert "no transfer, expected: one at 0.1 s" in capsys.readouterr().err

    @pytest.mark.parametrize("expect", ["island", "island@now", "later"])
    def test_an_expectation_that_is_none_is_refused(self, expect: str) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["replay", "r.csv", "--expect", expect])
        assert caught.value.code == 2


class TestWrongNominals:
    def test_another_frequency_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        status, found = replay(write_csv(tmp_path / "r.csv", *waves(hertz=60.0)), "--nominal-hz", "50")
        assert (status, found["decisions"]) == (2, [])
        assert "turn at 60.00 Hz and --nominal-hz says 50, accepted: --nominal-hz 60" in capsys.readouterr().err

    def test_phase_to_phase_for_phase_to_neutral_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write_csv(tmp_path / "r.csv", *waves(lost_at_s=LOST_S))
        assert replay(path, "--nominal-voltage", "400")[0] == 2
        assert "--nominal-voltage says 400 (that is phase to phase, it seems)" in capsys.readouterr().err


def quiet_rows(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a recording of a healthy grid in which only the recorder fails."""
    t_s, volts = waves()
    if kind == "gap":
        kept = (t_s < 0.1) | (t_s > 0.1637)
        return t_s[kept], volts[:, kept]
    if kind == "jump":
        return np.where(t_s < 0.1, t_s, t_s + 3.0), np.where(t_s < 0.1, volts, np.roll(volts, 57, axis=1))
    if kind == "falls":
        return np.where(t_s < 0.1, t_s, t_s - 0.06), np.where(t_s < 0.1, volts, np.roll(volts, 57, axis=1))
    if kind == "repeated":
        return np.insert(t_s, 2000, t_s[2000]), np.insert(volts, 2000, volts[:, 2000], axis=1)
    if kind == "few missing":
        kept = np.ones(len(t_s), dtype=bool)
        kept[2000:2009] = False
        return t_s[kept], volts[:, kept]
    if kind == "nan":
        volts[1, 2000:2100] = np.nan
    if kind == "spike at first":
        volts[:, :8] = -volts[:, :8] - 200.0
    if kind == "nan for long":
        volts[:, 2000:5130] = np.nan
    if kind == "nan in one phase for long":
        volts[1, 2000:5130] = np.nan
    if kind == "nan phase":
        volts[1] = np.nan
    if kind == "missing phase":
        volts[2] = 0.01
    if kind == "stuck":
        volts[0, 2000:] = volts[0, 2000]
    if kind == "flat":
        volts = np.clip(volts, -305.0, 305.0)
    if kind == "railed":
        volts[:, 3000:] = 400.0
    if kind == "dc":
        volts[:] = 325.0
    if kind == "noise":
        volts = np.random.default_rng(3).normal(0.0, 200.0, volts.shape)
    if kind == "one inverted":
        volts[1] *= -1.0
    if kind == "rounded times":
        return np.round(t_s, 4), volts
    if kind == "rounded hard":
        return np.round(t_s, 3), volts
    if kind == "nan time":
        t_s = t_s.copy()
        t_s[2000] = np.nan
    if kind == "16.7 Hz":
        return waves(hertz=16.7)
    if kind == "two samples":
        return t_s[:2], volts[:, :2]
    if kind == "one sample":
        return t_s[:1], volts[:, :1]
    if kind == "half a cycle":
        return t_s[:200], volts[:, :200]
    if kind == "slow":
        return t_s[::100], volts[:, ::100]
    return t_s, volts


NAMED = {
    "gap": "63.8 ms are missing after 0.09995 s",
    "jump": "3000 ms are missing after 0.09995 s",
    "falls": "time falls from 0.09995 s to 0.04 s",
    "repeated": "time 0.1 s is repeated",
    "few missing": "9 samples are missing in 1 holes",
    "nan": "",
    "nan for long": "is blind",
    "nan in one phase for long": "is blind",
    "spike at first": "watched from 0.01 s on",
    "nan phase": "no decision, because samples are missing",
    "missing phase": "no decision, because phase c is missing",
    "stuck": "va holds",
    "flat": "va is flat-topped",
    "railed": "va holds 400 V",
    "dc": "no decision, because",
    "noise": "no decision, because",
    "one inverted": "no decision, because its phases stand at",
    "rounded times": "times are rounded; taken as even steps of 50.0",
    "rounded hard": "times are rounded; taken as even steps of 50.0",
    "nan time": "a time is missing",
    "16.7 Hz": "no decision, because its voltages turn at 16.7",
    "two samples": "no decision, because",
    "one sample": "no decision, because",
    "half a cycle": "no decision, because 10 ms are recorded",
    "slow": "no decision, because",
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_failing_recorder_is_named_and_never_a_transfer(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = replay(write_csv(tmp_path / "r.csv", *quiet_rows(kind)), "--expect", "none")
    told = capsys.readouterr()
    assert found["first_transfer_s"] is None
    assert NAMED[kind] in told.out
    # A detector that could not begin has shown nothing: the check says so.
    blind = "no decision, because" in told.out
    assert status == int(blind)
    assert ("no healthy beginning" in told.err) == blind


def test_after_a_gap_a_lost_grid_is_seen_again(tmp_path: Path) -> None:
    t_s, volts = waves(lost_at_s=0.25)
    kept = (t_s < 0.1) | (t_s > 0.1637)
    path = write_csv(tmp_path / "r.csv", t_s[kept], volts[:, kept])
    assert replay(path, "--expect", "island@0.25")[0] == 0


def test_a_file_that_cannot_be_used_is_status_2_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_csv(tmp_path / "good.csv", *waves())
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"")
    out = tmp_path / "out.json"
    assert main(["replay", str(bad), str(good), str(tmp_path), "--json", str(out)]) == 2
    files = json.loads(out.read_text())["files"]
    assert [("error" in found, found["decisions"]) for found in files] == [(True, []), (False, []), (True, [])]
    error = capsys.readouterr().err
    assert f"{bad}: is empty" in error
    assert f"{tmp_path}: is a folder" in error


@given(data=st.binary(max_size=400), suffix=st.sampled_from([".csv", ".cfg", ".cff"]), other=st.binary(max_size=200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_status_2_or_a_safe_line(
    data: bytes, suffix: str, other: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"g{suffix}"
    path.write_bytes(data)
    (tmp_path / "g.dat").write_bytes(other)
    assert main(["replay", str(path), "--expect", "none"]) in {0, 1, 2}
    assert "a transfer at" not in capsys.readouterr().err


@given(
    cells=st.lists(
        st.tuples(st.floats(allow_nan=True, allow_infinity=True, width=32), st.floats(-500.0, 500.0, width=32)),
        min_size=1, max_size=60,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_without_sense_are_never_a_transfer(
    cells: list[tuple[float, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "n.csv"
    path.write_text("t_s,va\n" + "\n".join(f"{a},{b}" for a, b in cells))
    assert main(["replay", str(path), "--expect", "none"]) in {0, 1, 2}
    assert "a transfer at" not in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("factor", [1e300, 1e12])
def test_values_that_no_grid_has_are_missing_ones(factor: float, tmp_path: Path) -> None:
    t_s, volts = waves(rate_hz=10_000.0)
    path = tmp_path / "r.csv"
    np.savetxt(path, np.column_stack((t_s, *(volts * factor))), fmt="%.9g", delimiter=",")
    _, found = replay(path)
    assert [d["action"] for d in found["decisions"]] == ["detector_blind"]


def test_a_slow_recording_is_told_to_be_slow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay(write_csv(tmp_path / "r.csv", *waves(rate_hz=1_000.0)))
    assert "1000 Hz shows short transients falsely" in capsys.readouterr().out


class TestPicture:
    def test_a_kind_of_picture_that_cannot_be_drawn_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["replay", "r.csv", "--plot", "p.xyz"])
        assert "accepted: a file of kind .png, .svg, .pdf" in capsys.readouterr().err

    def test_it_is_drawn_with_currents_and_without(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib", reason="matplotlib (extra studies) is not installed")
        t_s, volts = waves(lost_at_s=LOST_S)
        plain = write_csv(tmp_path / "a.csv", t_s, volts)
        aided = write_csv(tmp_path / "b.csv", t_s, np.concatenate((volts, volts / RMS_V)))
        assert main(["replay", str(plain), str(aided), "--plot", str(tmp_path / "p.png")]) == 0
        pictures = sorted(tmp_path.glob("p-*.png"))
        assert [picture.read_bytes()[:4] for picture in pictures] == [b"\x89PNG"] * 2

    def test_without_the_library_the_extra_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "sites.edge.studies.replay_plot", None)
        path = write_csv(tmp_path / "a.csv", *waves())
        assert main(["replay", str(path), "--plot", str(tmp_path / "p.png")]) == 2
        assert "open-vpp[studies]" in capsys.readouterr().err
