"""The operator's command: what it cannot play is refused by name before anything listens."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from markets.openadr.operator_script import BUILT_IN, read_script


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--script", "{tmp}/none.toml", "--plain"], "none.toml: cannot be read"),
        (["--script", "{tmp}/bad.toml", "--plain"], "bad.toml:3: cancel names x, accepted: an event that stands then"),
        (["--plain", "--speed", "0"], "--speed is 0, accepted: 0.001 to 100000"),
        (["--plain", "--speed", "nan"], "--speed is nan"),
        (["--plain", "--speed", "50000"], "morning-low lasts 0.072 s at speed 50000, accepted: 1 s and more"),
        (["--plain", "--host", "192.0.2.1"], "--plain on 192.0.2.1, accepted: 127.0.0.1 only"),
        ([], "--cert, --key, --ca and --ven-fingerprint are needed, or --plain on 127.0.0.1"),
        (["--openadr", "3"], "url is '', accepted: https://host:port/path"),
        (["--openadr", "3", "--url", "http://192.0.2.1/x", "--client-id", "desk"], "plain HTTP to 192.0.2.1, accepted"),
        (["--openadr", "3", "--url", "http://127.0.0.1:9/x"], "client_id or the client's secret is empty"),
        (["--plain", "--wait-s", "0"], "no VEN 'open-vpp' registered"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(tmp_path, arguments, words):
    (tmp_path / "bad.toml").write_text('[[step]]\nat = "08:00"\ncancel = "x"\n')
    with pytest.raises(CommandError) as refused:
        call_command("operator_sim", *(one.format(tmp=tmp_path) for one in arguments))
    assert words in str(refused.value)


def test_the_built_in_day_is_printed_as_a_script(capsys):
    call_command("operator_sim", "--print-script")
    assert read_script(capsys.readouterr().out.encode(), "printed") == read_script(BUILT_IN.encode(), "printed")
