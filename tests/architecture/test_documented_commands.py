"""Every command that README and docs tell a reader to type exists, with the words that it is given there."""

import argparse
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from sites.edge.__main__ import _parser

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
RELEASED = "CHANGELOG.md"
"""What it tells of an earlier version need not be there any more."""


def told(document: Path) -> list[str]:
    """Return what a document shows as code: inline, and each line of a block."""
    text = document.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [" ".join(code.split()) for code in [*lines, *inline]]


def commands(program: str) -> list[tuple[str, str]]:
    """Return (document, words after the program) of every use."""
    found = []
    for document in DOCUMENTS:
        for code in told(document):
            match = re.match(rf"(?:[A-Z_]+=\S+ )*(?:\S*python |\S*/)?{re.escape(program)} +([a-z][^#|<>;)]*)", code)
            # What a program prints begins with its name too: `vpp-edge replay: …`.
            if match and document.name != RELEASED and not match.group(1).split()[0].endswith(":"):
                found.append((document.name, match.group(1).strip()))
    return found


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    own = {option for action in parser._actions for option in action.option_strings}
    nested = [action.choices.values() for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return own.union(*(options_of(parser) for parsers in nested for parser in parsers))


def named_options(words: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", words))


@cache
def django_parser(name: str) -> argparse.ArgumentParser:
    return load_command_class(get_commands()[name], name).create_parser("manage.py", name)


def test_there_is_something_to_check():
    assert len(commands("manage.py")) > 30
    assert len(commands("vpp-edge")) > 15


@pytest.mark.parametrize(("where", "words"), commands("manage.py"))
def test_a_command_of_the_platform(where, words):
    name = words.split()[0]
    assert name in get_commands(), where
    assert named_options(words) <= options_of(django_parser(name)), where


@pytest.mark.parametrize(("where", "words"), commands("vpp-edge"))
def test_a_command_of_the_edge(where, words):
    for name in words.split()[0].rstrip(",").split("|"):
        parser = _parser(name)
        (subcommands,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        assert name in subcommands.choices, where
        assert named_options(words) <= options_of(subcommands.choices[name]), where


@pytest.mark.parametrize(("where", "words"), commands("make"))
def test_a_target_of_make(where, words):
    assert words.split()[0] in TARGETS, where


@pytest.mark.parametrize(("where", "words"), commands("-m"))
def test_a_module_that_is_run(where, words):
    name = words.split()[0]
    assert (ROOT / f"{name.replace('.', '/')}.py").is_file() or (ROOT / name.replace(".", "/")).is_dir(), where


def test_a_script_shown_with_its_path_is_there():
    for document in DOCUMENTS:
        for code in told(document):
            for path in re.findall(r"(?<![\w/.])((?:deploy|tests|docs)/[\w/.-]+\.(?:py|sh|md|yml|toml))", code):
                assert (ROOT / path).exists(), f"{document.name}: {path}"


def test_the_backup_takes_the_words_of_the_runbook():
    for document in DOCUMENTS:
        for code in told(document):
            match = re.search(r"deploy/backup/database_copy\.py (save|check|restore)([^#]*)", code)
            if match:
                tool = [sys.executable, str(ROOT / "deploy/backup/database_copy.py"), match.group(1), "--help"]
                shown = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
                assert named_options(match.group(2)) <= named_options(shown), document.name
                assert shlex.split(match.group(2).replace("…", "")) or match.group(1) == "save"
