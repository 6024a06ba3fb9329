"""Log lines as JSON: names and types come from the template, never from the text."""

import json
import logging

import pytest

from sites.observability.logs import JsonLines, fields_of


@pytest.mark.parametrize(
    ("template", "arguments", "event", "fields"),
    [
        (
            "%s site=%s sequence=%d",
            ("assignment.refused", "site-1", 7),
            "assignment.refused",
            {"site": "site-1", "sequence": 7},
        ),
        ("lease.taken holder=%s token=%d", ("a:1", 3), "lease.taken", {"holder": "a:1", "token": 3}),
        ("%s readings=%d wall_s=%.3f", ("ingest.batch", 10, 0.25), "ingest.batch", {"readings": 10, "wall_s": 0.25}),
        ("%s retry_s=%.1f at 100%% load=%s", ("link.down", 1.5, None), "link.down", {"retry_s": 1.5, "load": None}),
        ("nothing named", (), "nothing", {}),
        ("%s %s on %s: %s", ("message.refused", "a", "b", "c"), "message.refused", {}),
        ("x.y level=%s", ("high",), "x.y", {"level_": "high"}),
    ],
)
def test_fields_keep_their_names_and_types(template, arguments, event, fields):
    assert fields_of(template, arguments) == (event, fields)


def a_record(message: str, *arguments: object, error: Exception | None = None) -> logging.LogRecord:
    about = (type(error), error, None) if error else None
    return logging.LogRecord("sites.test", logging.WARNING, __file__, 1, message, arguments, about)


def test_a_line_is_one_json_object_whatever_a_field_holds():
    forged = 'site-1\n{"event": "lease.taken"} "'
    text = JsonLines().format(a_record("%s site=%s", "link.down", forged))
    assert "\n" not in text
    line = json.loads(text)
    assert line["site"] == forged
    assert (line["event"], line["level"], line["logger"]) == ("link.down", "WARNING", "sites.test")


def test_an_error_comes_with_its_trace():
    line = json.loads(JsonLines().format(a_record("dispatch.restarted holder=%s", "a", error=ValueError("no"))))
    assert "ValueError: no" in line["error"]
    assert line["holder"] == "a"
