"""manage.py score_response: its JSON, and files that are wrong, told with file, line, column and what is accepted."""

from __future__ import annotations

import json
import os
from io import StringIO

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.responses import write_response

from markets.core.products import product_named
from sites.core.curves import required_share

SECONDS = 60
T_S = np.arange(SECONDS * 20) / 20.0
FALL_HZ = np.where(T_S < 10.0, 50.0, 49.5)
FULL_KW = 100.0 * required_share(product_named("neso-dc-low").curve, FALL_HZ, 50.0)
GOOD = [
    "t_s,frequency_hz,power_kw",
    *(f"{t:.2f},{f:.3f},{p:.3f}" for t, f, p in zip(T_S, FALL_HZ, FULL_KW, strict=True)),
]


def scored(path, *more: str, product: str = "neso-dc-low", contract: str = "100") -> dict:
    out = StringIO()
    call_command("score_response", "--product", product, "--contract-kw", contract, str(path), *more, stdout=out)
    return json.loads(out.getvalue())


def a_file(folder, lines: list[str]):
    path = folder / "measured.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


class TestResult:
    def test_has_the_published_form(self, tmp_path):
        result = scored(a_file(tmp_path, GOOD))
        assert list(result) == ["product", "score", "components", "available", "data_quality"]
        assert (result["product"], result["score"], result["available"]) == ("neso-dc-low", 1.0, 1.0)
        assert result["components"]["certainty"] == "U"
        assert result["components"]["rule"] == "neso-k"
        assert result["data_quality"] == {
            "rate_hz": 20.0, "duration_s": 60.0, "rows": 1200, "missing": 0, "missing_share": 0.0, "gaps": 0,
            "longest_gap_s": 0.0,
        }  # fmt: skip

    def test_power_out_of_the_grid_in_a_fall_is_no_delivery(self, tmp_path):
        path = write_response(tmp_path / "wrong_sign.csv", T_S, FALL_HZ, -FULL_KW)
        assert scored(path)["score"] == 0.0

    def test_a_baseline_is_taken_off(self, tmp_path):
        path = write_response(tmp_path / "charging.csv", T_S, FALL_HZ, FULL_KW - 30.0)
        assert scored(path, "--baseline-kw", "-30")["score"] == 1.0
        assert scored(path)["score"] == 0.0

    def test_rows_that_are_left_out_are_gaps_and_told(self, tmp_path):
        result = scored(a_file(tmp_path, [*GOOD[:500], *GOOD[540:]]))
        assert result["score"] == 0.0
        assert result["data_quality"]["missing"] == 40
        assert result["data_quality"]["gaps"] == 1
        assert result["data_quality"]["longest_gap_s"] == 2.0
        assert result["available"] == pytest.approx(1160 / 1200)
        assert "gap scores 0" in result["components"]["missing_data"]

    def test_goes_to_a_file_by_renaming(self, tmp_path):
        out = tmp_path / "out.json"
        out.write_text("old")
        said = StringIO()
        call_command(
            "score_response", "--product", "neso-dc-low", "--contract-kw", "100", str(a_file(tmp_path, GOOD)),
            "--json", str(out), stdout=said,
        )  # fmt: skip
        assert json.loads(out.read_text())["score"] == 1.0
        assert "score 1.0" in said.getvalue()
        assert sorted(os.listdir(tmp_path)) == ["measured.csv", "out.json"]

    def test_nothing_due_is_no_score(self, tmp_path):
        t_s = np.arange(600) / 10.0
        path = write_response(tmp_path / "calm.csv", t_s, np.full(600, 50.0), np.zeros(600))
        assert scored(path, product="nordic-ffr")["score"] is None

    def test_comments_blanks_at_the_end_other_columns_and_a_byte_order_mark_are_borne(self, tmp_path):
        lines = [
            "# a meter",
            "state,frequency_hz,t_s,power_kw",
            *(f"on,{row.split(',')[1]},{row.split(',')[0]},{row.split(',')[2]}" for row in GOOD[1:]),
            "",
            "",
        ]
        path = tmp_path / "measured.csv"
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines[1:]).encode())
        assert scored(path)["score"] == 1.0
        assert scored(a_file(tmp_path, lines))["score"] == 1.0

    def test_the_rule_of_a_day_may_be_asked_for(self, tmp_path):
        t_s = np.arange(600.0)
        hz = np.where(t_s < 60.0, 50.0, 49.5)
        late = np.where(t_s < 75.0, 0.0, 100.0)
        path = write_response(tmp_path / "late.csv", t_s, hz, np.where((t_s >= 65.0) & (t_s < 75.0), 50.0, late))
        before = scored(path, "--at", "2020-01-01", product="fcr-d-up")["score"]
        assert before == 1.0
        assert scored(path, product="fcr-d-up")["score"] < before

    def test_a_signal_product_takes_its_signal(self, tmp_path):
        t_s = np.arange(1800) * 2.0
        signal = np.sin(t_s / 200.0)
        path = write_response(tmp_path / "regd.csv", t_s, np.full(1800, 60.0), 250.0 * signal, signal)
        result = scored(path, product="pjm-regd", contract="250")
        assert result["score"] == pytest.approx(1.0)
        assert result["components"]["certainty"] == "V"

    def test_the_help_says_which_way_power_counts(self, capsys):
        with pytest.raises(SystemExit):
            call_command("score_response", "--help")
        assert "power INTO the grid is positive" in capsys.readouterr().out


def changed(row: int, text: str) -> list[str]:
    """Return the good file with one line changed; ``row`` as its line is counted, from 1."""
    return [*GOOD[: row - 1], text, *GOOD[row:]]


class TestWrongFiles:
    @pytest.mark.parametrize(
        ("lines", "says"),
        [
            (changed(1, "t_s,frequency_hz,power_w"), r"line 1, column power_kw: missing in 't_s,frequency_hz,power_w'"),
            (changed(1, "t_s,t_s,frequency_hz,power_kw"), "line 1, column t_s: twice"),
            (changed(1, "t_s;frequency_hz;power_kw"), "line 1, column t_s: missing"),
            (changed(7, "0.25,nan,0"), "line 7, column frequency_hz: no finite number, accepted: numbers"),
            (changed(7, "0.25,50.0,"), "line 7, column power_kw: no finite number"),
            (changed(7, "0.25,50.0,inf"), "line 7, column power_kw: no finite number"),
            (changed(7, ""), "line 7, column t_s: no finite number"),
            (changed(7, "0.25,50.0,full"), r"line 7, column power_kw: 'full', accepted: a number such as"),
            (changed(7, '0.25,"50,0",1'), "line 7"),
            (changed(7, "0.25,50.0,0.0,1,2"), "line 7: 5 cells, accepted: 3"),
            (changed(7, "0.19,50.0,0.0"), r"line 7, column t_s: 0.19 follows 0.2, accepted: instants that rise"),
            (changed(7, "0.20,50.0,0.0"), r"line 7, column t_s: 0.2 follows 0.2"),
            (changed(7, "0.27,50.0,0.0"), r"line 7, column t_s: comes 0.07 s after .*accepted: one rate"),
            (changed(9, "0.35,59.98,0.0"), r"line 9, column frequency_hz: 59.98, accepted: 42 to 58 Hz"),
            (changed(500, f"{498 / 20},49.5,100000.0"), r"line 500, column power_kw: 100000, accepted: kW.*is it in W"),
            (GOOD[:1], "has 0 rows, accepted: two or more"),
            (GOOD[:2], "has 1 rows, accepted: two or more"),
            (GOOD[:101], "the record is 5 s long, accepted: 10 s or more"),
            ([GOOD[0], *GOOD[1::4]], "the record has 5 rows a second, accepted for neso-dc-low: 20 rows a second"),
        ],
    )  # fmt: skip
    def test_are_refused_with_their_place(self, tmp_path, lines, says):
        path = a_file(tmp_path, lines)
        with pytest.raises(CommandError, match=says) as refused:
            scored(path)
        assert str(path) in str(refused.value)
        assert "accepted" in str(refused.value)

    def test_an_empty_file(self, tmp_path):
        path = tmp_path / "empty.csv"
        path.touch()
        with pytest.raises(CommandError, match=r"empty.csv: is empty, accepted: a header t_s,frequency_hz,power_kw"):
            scored(path)

    def test_two_gigabytes_are_not_read(self, tmp_path):
        path = a_file(tmp_path, GOOD)
        os.truncate(path, 2_000_000_000)
        with pytest.raises(CommandError, match=r"has 2,000,000,000 bytes, accepted: up to 400,000,000"):
            scored(path)

    def test_a_gap_that_would_fill_the_memory(self, tmp_path):
        path = a_file(tmp_path, [*GOOD, "40000000.0,50.0,0.0"])
        with pytest.raises(CommandError, match=r"span \d+ samples at 20 Hz, accepted: 20000000"):
            scored(path)

    def test_no_file_a_folder_and_no_text(self, tmp_path):
        with pytest.raises(CommandError, match=r"absent.csv: No such file"):
            scored(tmp_path / "absent.csv")
        with pytest.raises(CommandError, match="is no file, accepted: a CSV file"):
            scored(tmp_path)
        binary = tmp_path / "binary.csv"
        binary.write_bytes(b"t_s,frequency_hz,power_kw\n\xff\xfe\x00")
        with pytest.raises(CommandError, match="no text in UTF-8, accepted: a CSV file"):
            scored(binary)

    def test_another_grid_s_frequency(self, tmp_path):
        path = write_response(tmp_path / "us.csv", T_S, FALL_HZ + 10.0, FULL_KW)
        with pytest.raises(
            CommandError, match=r"column frequency_hz: 60, accepted: 42 to 58 Hz, neso-dc-low is of 50 Hz"
        ):
            scored(path)
        near = write_response(tmp_path / "near.csv", T_S, FALL_HZ + 5.0, FULL_KW)
        with pytest.raises(CommandError, match=r"the frequency is 54.500 Hz in the middle, accepted .*: near 50 Hz"):
            scored(near)

    def test_a_signal_that_is_missing_or_not_a_share(self, tmp_path):
        hz = np.full(T_S.size, 60.0)
        path = write_response(tmp_path / "none.csv", T_S, hz, FULL_KW)
        with pytest.raises(CommandError, match="has no signal, accepted for pjm-regd: -1 to 1"):
            scored(path, product="pjm-regd")
        path = write_response(tmp_path / "kw.csv", T_S, hz, FULL_KW, FULL_KW)
        with pytest.raises(CommandError, match=r"line 202, column signal: 100, accepted: -1 to 1 of the contract"):
            scored(path, product="pjm-regd")


CELLS = st.sampled_from(
    ["0", "0.05", "0.1", "49.9", "50", "-1", "1e400", "nan", "", "x", "1e-320", "0x1", '"', "é", "\x00"]
)


class TestAnyBytes:
    """Whatever a file holds, it is scored or refused with a reason; nothing else comes out."""

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(rows=st.lists(st.lists(CELLS, max_size=5).map(",".join), max_size=12), header=st.booleans())
    def test_odd_cells(self, tmp_path, rows, header):
        path = tmp_path / "odd.csv"
        path.write_text("\n".join([*([GOOD[0]] if header else []), *rows]), encoding="utf-8")
        with pytest.raises(CommandError, match="accepted"):
            scored(path)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(body=st.binary(max_size=200))
    def test_bytes(self, tmp_path, body):
        path = tmp_path / "bytes.csv"
        path.write_bytes((GOOD[0] + "\n").encode() + body)
        with pytest.raises(CommandError, match="accepted"):
            scored(path)
        path.write_bytes(body)
        with pytest.raises(CommandError, match="accepted"):
            scored(path)


class TestWrongArguments:
    @pytest.mark.parametrize("contract", ["0", "-5", "nan", "inf"])
    def test_a_contract_is_more_than_nothing(self, tmp_path, contract):
        with pytest.raises(CommandError, match=r"--contract-kw is .*, accepted: more than 0"):
            scored(a_file(tmp_path, GOOD), contract=contract)

    def test_an_unknown_product_and_day(self, tmp_path):
        with pytest.raises(CommandError, match=r"product 'dc' is not in the catalogue, accepted: .*neso-dc-low"):
            scored(a_file(tmp_path, GOOD), product="dc")
        with pytest.raises(CommandError, match="no row in force on 2001-01-01"):
            scored(a_file(tmp_path, GOOD), "--at", "2001-01-01")

    def test_a_place_that_cannot_be_written(self, tmp_path):
        with pytest.raises(CommandError, match=r"--json .*there is no folder .*, accepted: a file"):
            scored(a_file(tmp_path, GOOD), "--json", str(tmp_path / "absent" / "out.json"))
