"""MQTT topics of the notifications of 3.1: told by the VTN, never to be guessed (pure)."""

from __future__ import annotations

from typing import Final

BASE: Final = "openadr3/3.1.0"
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE")


def topics_at(path: str, *, creates: bool = True) -> dict[str, str]:
    """Return the topics of what happens at a path such as ``vens/<id>/events``; ``ALL`` is a filter over them."""
    words = OPERATIONS if creates else OPERATIONS[1:]
    return {**{word: topic(path, word) for word in words}, "ALL": f"{BASE}/{path}/+"}


def topic(path: str, operation: str) -> str:
    """Return the topic of one operation."""
    return f"{BASE}/{path}/{operation.lower()}"
