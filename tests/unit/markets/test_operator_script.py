"""An operator's scripted day: read, in OpenADR's sign, and refused by line."""

from __future__ import annotations

import pytest

from markets.openadr.operator_script import BUILT_IN, ScriptInvalid, read_script

EVENT = """[[step]]
at = "08:00"
event = "a"
product = "neso-dc-low"
kW = 500
starts = "08:10:30"
duration = "30min"
"""


def read(text):
    return read_script(text.encode(), "day.toml")


def test_an_event_in_words():
    (step,) = read(EVENT).steps
    assert (step.at_s, step.starts_s, step.duration_s) == (28_800.0, 29_430.0, 1800.0)
    assert step.program == "http://grid-operator.example/programs/neso-dc-low"


@pytest.mark.parametrize(("product", "payload_kw"), [("neso-dc-low", -500.0), ("neso-dc-high", 500.0)])
def test_what_goes_into_the_grid_is_negative(product, payload_kw):
    (step,) = read(EVENT.replace("neso-dc-low", product)).steps
    assert step.payload_kw == payload_kw


def test_a_modification_changes_what_it_names_and_a_cancellation_ends_it():
    script = read(EVENT + '[[step]]\nat = "08:20"\ncancel = "a"\n[[step]]\nat = "08:05"\nmodify = "a"\nkW = 400\n')
    assert [(step.verb, step.payload_kw, step.duration_s) for step in script.steps] == [
        ("event", -500.0, 1800.0), ("modify", -400.0, 1800.0), ("cancel", -400.0, 1800.0),
    ]  # fmt: skip
    assert (script.begins_s, script.ends_s) == (28_800.0, 30_000.0)


def test_the_built_in_day_can_be_played():
    script = read(BUILT_IN)
    assert [step.verb for step in script.steps].count("event") == 4
    assert script.ends_s == 17.5 * 3600


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = [", 1, "no TOML"),
        ("title = 'a'\n", 1, "no steps"),
        ("colour = 'red'\n" + EVENT, 1, "colour is no key"),
        ("report_s = -1\n" + EVENT, 1, "report_s is -1"),
        (EVENT.replace('at = "08:00"', 'at = "25:00"'), 2, "at is '25:00', accepted: HH:MM"),
        (EVENT.replace("kW = 500", "kW = -500"), 5, "kW is -500, accepted: more than 0"),
        (EVENT.replace("kW = 500", "kW = nan"), 5, "kW is nan"),
        (EVENT.replace("kW = 500", "kw = 500"), 5, "kw is no key, accepted"),
        (EVENT.replace("kW = 500\n", ""), 1, "kW is missing"),
        (EVENT.replace("neso-dc-low", "neso-dc-lo"), 4, "neso-dc-lo"),
        (EVENT.replace('"30min"', '"half an hour"'), 7, "duration is 'half an hour', accepted"),
        (EVENT.replace('"08:10:30"', '"07:00"'), 6, "starts before it is sent"),
        (EVENT.replace('event = "a"', 'event = "a"\ncancel = "a"'), 1, "event and cancel"),
        (EVENT.replace('event = "a"', 'event = "a b"'), 3, "event is 'a b'"),
        (EVENT + EVENT, 10, "stands already"),
        (
            EVENT + '[[step]]\nat = "09:00"\ncancel = "b"\n',
            10,
            "cancel names b, accepted: an event that stands then: a",
        ),
        (EVENT + '[[step]]\nat = "07:00"\nmodify = "a"\nkW = 4\n', 10, "modify names a"),
        (EVENT + '[[step]]\nat = "09:00"\ncancel = "a"\nkW = 4\n', 11, "kW stands with cancel"),
    ],
)
def test_refused_by_line(text, line, words):
    with pytest.raises(ScriptInvalid) as refused:
        read(text)
    assert words in str(refused.value)
    assert str(refused.value).startswith("day.toml:")
    if "no TOML" not in words:
        assert str(refused.value).startswith(f"day.toml:{line}:")
