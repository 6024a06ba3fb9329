"""vpp-edge respond: its files, its faults, and its figures in closed loop."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from sites.core.curves import curve_named, required_share
from sites.edge.__main__ import main

SHARED = Path(__file__).parents[6] / "shared" / "data" / "frequency"


def a_file(folder: Path, frequency_hz: np.ndarray, step_s: float = 0.1, header: str = "t_s,frequency_hz") -> Path:
    path = folder / "frequency.csv"
    lines = [f"{n * step_s:.3f},{f:.4f}" for n, f in enumerate(frequency_hz)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def a_dip(nominal_hz: float, depth_hz: float, rows: int = 600) -> np.ndarray:
    """10 s of quiet and then a step, in rows of 0.1 s."""
    return np.where(np.arange(rows) < 100, nominal_hz, nominal_hz - depth_hz)


def respond(folder: Path, path: Path, product: str, power_kw: float, *more: str) -> tuple[dict, np.ndarray]:
    out, rows = folder / "out.json", folder / "out.csv"
    given = ["respond", "--product", product, "--power-kw", str(power_kw), str(path)]
    code = main([*given, "--json", str(out), "--csv", str(rows), *more])
    assert code == 0
    with rows.open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["t_s", "frequency_hz", "required_kw", "delivered_kw"]
    return json.loads(out.read_text()), np.array([[float(value) for value in row.values()] for row in table])


@pytest.mark.parametrize(
    ("product", "nominal_hz", "depth_hz", "power_kw"),
    [
        ("neso-dc-low", 50.0, 0.55, 100.0),
        ("neso-dc-high", 50.0, -0.55, 100.0),
        ("entsoe-fcr", 50.0, 0.1, 5.0),
        ("nordic-ffr", 50.0, 0.35, 1000.0),
        ("ercot-ffr", 60.0, 0.2, 250.0),
        ("cn-primary", 50.0, -0.4, 100.0),
    ],
)
def test_a_step_is_answered_within_200_ms_and_told_in_the_published_shape(
    tmp_path: Path, product: str, nominal_hz: float, depth_hz: float, power_kw: float
) -> None:
    figures, rows = respond(tmp_path, a_file(tmp_path, a_dip(nominal_hz, depth_hz)), product, power_kw)
    assert list(figures) == [
        "product", "contract_kw", "response_ms", "delivered_ratio_worst_10s", "over_delivery_max",
        "frequency_error_mhz_rms", "energy_kwh",
    ]  # fmt: skip
    assert (figures["product"], figures["contract_kw"]) == (product, power_kw)
    assert 0.0 <= figures["response_ms"]["p50"] <= figures["response_ms"]["max"] <= 200.0
    assert figures["delivered_ratio_worst_10s"] > 0.97
    assert figures["over_delivery_max"] < 0.01
    # The rows are the course: their energy is the energy told, and a droop's due power is the curve's.
    step_s = rows[1, 0] - rows[0, 0]
    assert rows[:, 3].sum() * step_s / 3600.0 == pytest.approx(figures["energy_kwh"], rel=1e-3)
    curve = curve_named(product)
    if curve.trigger is None:
        due = required_share(curve, rows[:, 1], nominal_hz) * power_kw
        np.testing.assert_allclose(rows[:, 2], due, atol=0.01 * power_kw)


def test_at_a_steady_frequency_the_estimate_is_within_2_millihertz(tmp_path: Path) -> None:
    figures, rows = respond(tmp_path, a_file(tmp_path, np.full(100, 49.9)), "neso-dr-low", 50.0)
    assert figures["frequency_error_mhz_rms"] < 2.0
    assert figures["response_ms"] == {"p50": None, "max": None}
    assert len(rows) == 990


def test_where_nothing_is_due_the_ratio_is_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures, _ = respond(tmp_path, a_file(tmp_path, np.full(100, 50.0)), "neso-dc-low", 50.0)
    assert figures["delivered_ratio_worst_10s"] is None
    assert "nothing was due" in capsys.readouterr().out


def test_an_empty_battery_shows_in_the_ratio(tmp_path: Path) -> None:
    figures, _ = respond(
        tmp_path, a_file(tmp_path, a_dip(50.0, 0.6, 400)), "neso-dc-low", 100.0, "--battery-kwh", "10", "--soc", "0.11"
    )
    assert figures["delivered_ratio_worst_10s"] < 0.5


def test_the_other_name_of_the_column_and_lines_of_source_are_read(tmp_path: Path) -> None:
    path = a_file(tmp_path, np.full(50, 50.0), header="# measured by nobody\nt_s,f_hz")
    figures, _ = respond(tmp_path, path, "fcr-d-up", 20.0)
    assert figures["product"] == "fcr-d-up"


class TestBadInput:
    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("t_s,frequency_hz\n0,50\n1,nan\n2,50\n", "line 3: frequency_hz is 'nan', accepted: a finite number"),
            ("t_s,frequency_hz\n0,50\n1,\n2,50\n", "line 3: frequency_hz is '', accepted"),
            ("t_s,frequency_hz\n0,50\n1\n2,50\n", "line 3: frequency_hz is '', accepted"),
            ("t_s,frequency_hz\n0,50\ninf,50\n2,50\n", "line 3: t_s is 'inf', accepted"),
            ("t_s,frequency_hz\n0,50\n1,50\n0.5,50\n", "line 4: t_s is 0.5 after 1, accepted: times that rise"),
            ("t_s,frequency_hz\n0,50\n1,50\n1,49\n", "line 4: t_s is 1 after 1, accepted: times that rise"),
            ("t_s,frequency_hz\n0,50\n1,50\n2,50\n3,50\n60,50\n", "line 6: a gap of 57 s before t_s 60, accepted"),
            ("t_s,frequency_hz\n0,50\n1,50\n", "2 rows, accepted: 3 or more"),
            ("t_s,frequency_hz\n", "0 rows, accepted: 3 or more"),
            ("", "no rows, accepted: a header"),
            ("time,f\n0,50\n1,50\n2,50\n", "columns 'time,f', accepted: t_s,frequency_hz"),
            ("t_s,t_s,frequency_hz\n0,0,50\n1,1,50\n2,2,50\n", "hold a name twice"),
            ("t_s,frequency_hz\n0,50\n1,5000\n2,50\n", "line 3: 5000 Hz, accepted: 40 to 70"),
            ("t_s,frequency_hz\n0,50\n1e9,50\n2e9,50\n", "steps of 1e+09 s are usual, accepted: up to 60 s"),
            ("t_s,frequency_hz\n0," + "5" * 200_000 + "\n", "field larger than field limit"),
            ("t_s,frequency_hz\n0,60\n1,60\n2,60\n", "stands at 60.00 Hz, accepted: a grid of 50 Hz"),
        ],
    )
    def test_is_named_with_its_line_and_ends_with_status_2(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
    ) -> None:
        path = tmp_path / "bad.csv"
        path.write_text(text)
        assert main(["respond", "--product", "neso-dc-low", "--power-kw", "10", str(path)]) == 2
        error = capsys.readouterr().err
        assert "vpp-edge respond: TraceError: " in error
        assert says in error

    def test_a_pipe_is_refused_and_not_waited_for(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        os.mkfifo(tmp_path / "f.csv")
        assert main(["respond", "--product", "fcr-n", "--power-kw", "10", str(tmp_path / "f.csv")]) == 2
        assert "is a pipe or a device" in capsys.readouterr().err

    def test_a_file_that_is_not_there_or_no_text(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["respond", "--product", "fcr-n", "--power-kw", "10", str(tmp_path / "none.csv")]) == 2
        (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
        assert main(["respond", "--product", "fcr-n", "--power-kw", "10", str(tmp_path / "binary.csv")]) == 2
        assert "No such file" in capsys.readouterr().err

    def test_an_unknown_product_tells_the_known_ones(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["respond", "--product", "nix", "--power-kw", "10", str(tmp_path / "x.csv")]) == 2
        assert "curve 'nix' is not in the catalogue, accepted: aemo-l1" in capsys.readouterr().err

    @pytest.mark.parametrize("power", ["0", "-5", "nan", "inf", "ten"])
    def test_a_power_that_is_none(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], power: str) -> None:
        with pytest.raises(SystemExit) as end:
            main(["respond", "--product", "fcr-n", "--power-kw", power, str(tmp_path / "x.csv")])
        assert end.value.code == 2
        assert "accepted: 0.1 to 90000" in capsys.readouterr().err

    def test_a_site_that_is_too_small(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = a_file(tmp_path, np.full(50, 50.0))
        more = ["--site-kva", "5"]
        assert main(["respond", "--product", "fcr-n", "--power-kw", "10", str(path), *more]) == 2
        assert "site-kva is 5 for a contract of 10 kW, accepted: 10 or more" in capsys.readouterr().err


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the measured recordings in {SHARED}")
def test_the_recorded_fall_of_9_august_2019_is_followed(tmp_path: Path) -> None:
    figures, _ = respond(tmp_path, SHARED / "gb_20190809_digitised_1s.csv", "neso-dc-low", 100.0)
    assert figures["response_ms"]["max"] <= 200.0
    assert figures["delivered_ratio_worst_10s"] > 0.95
    assert figures["over_delivery_max"] < 0.01
