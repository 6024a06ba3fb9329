"""Finds the phase voltages (and, where told, the currents) among the channels of a COMTRADE recording."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sites.core.comtrade import AnalogChannel, ComtradeError, FloatArray, Recording
from sites.core.event_recording import SWITCH_CURRENT

UNITS: Final = {
    "v": ("v", 1.0), "kv": ("v", 1e3), "mv": ("v", 1e-3), "volt": ("v", 1.0), "volts": ("v", 1.0),
    "a": ("a", 1.0), "ka": ("a", 1e3), "ma": ("a", 1e-3), "amp": ("a", 1.0), "amps": ("a", 1.0),
    "ampere": ("a", 1.0), "amperes": ("a", 1.0),
}  # fmt: skip
"""Unit as recorders write it -> quantity and factor to volts or amperes."""
DERIVED: Final = re.compile(
    r"mag|angle|ang\b|phs|rms|diff|bias|freq|harm|thd|seq|[_ ]0|3u0|3i0|_n\b|neutral", re.IGNORECASE
)
"""Names of what a relay computed, and of neutral quantities."""
PHASE_OF: Final = {
    "a": 0, "b": 1, "c": 2, "r": 0, "s": 1, "t": 2, "l1": 0, "l2": 1, "l3": 2, "1": 0, "2": 1, "3": 2,
    "an": 0, "bn": 1, "cn": 2, "u": 0, "v": 1, "w": 2, "ua": 0, "ub": 1, "uc": 2, "va": 0, "vb": 1, "vc": 2,
    "v1": 0, "v2": 1, "v3": 2, "u1": 0, "u2": 1, "u3": 2, "ia": 0, "ib": 1, "ic": 2, "i1": 0, "i2": 1, "i3": 2,
    "l1n": 0, "l2n": 1, "l3n": 2, "ag": 0, "bg": 1, "cg": 2,
}  # fmt: skip
LINE_OF: Final = {
    "ab": 0,
    "bc": 1,
    "ca": 2,
    "rs": 0,
    "st": 1,
    "tr": 2,
    "12": 0,
    "23": 1,
    "31": 2,
    "l12": 0,
    "l23": 1,
    "l31": 2,
}
NAME_END: Final = re.compile(r"(?:l?[123]|[abcrst]{1,2}|ul[abc])n?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Places of the channels in the recording."""

    volts: tuple[int, ...]
    amperes: tuple[int, ...]
    notes: tuple[str, ...]
    are_line_to_line: bool = False
    """The voltages stand between phases a-b, b-c, c-a."""


def in_base_unit(recording: Recording, index: int) -> FloatArray:
    """Return a channel in volts or amperes; a unit that is neither counts as it stands."""
    factor = UNITS.get(recording.configuration.analog[index].unit.strip().lower(), ("", 1.0))[1]
    return np.asarray(recording.values(index) * factor, dtype=np.float64)


def choose_channels(recording: Recording, wanted: Sequence[str]) -> Chosen:
    """Return the channels of va[, vb, vc][, ia, ib, ic]: those that were named, else the first full set of voltages.

    A name stands for the channel called so, a number for the channel with that place (from 1). Currents are taken
    when they are named, or when our own recorder marked them as those through the switch: a recorder's currents may
    be any feeder's. Raises ComtradeError naming the channels that there are.
    """
    analog = recording.configuration.analog
    if wanted:
        return _named(analog, wanted)
    notes: list[str] = []
    groups = _groups(analog, "v")
    groups = [group for group in groups if _is_alive(recording, group)] or groups
    volts: tuple[int, ...] = ()
    are_line_to_line = False
    for phases, what in ((3, PHASE_OF), (3, LINE_OF), (1, PHASE_OF)):
        full = [group for group in groups if group.what is what and len(group.places) >= phases]
        if full:
            volts = tuple(full[0].places[k] for k in sorted(full[0].places))[:phases]
            are_line_to_line = what is LINE_OF
            if are_line_to_line:
                notes.append("voltages are between phases; the star of the same triangle was taken")
            if len(full) > 1:
                others = "; ".join(" ".join(analog[i].name for i in g.places.values()) for g in full[1:4])
                notes.append(f"other voltages ({others}) were not used; --channels chooses them")
            break
    if not volts:
        raise ComtradeError("cfg", None, f"no channel is a phase voltage, accepted: --channels with {_listing(analog)}")
    currents = _groups(analog, "a")
    marked = [g for g in currents if all(analog[i].component == SWITCH_CURRENT for i in g.places.values())]
    amperes: tuple[int, ...] = ()
    if marked and len(marked[0].places) == len(volts):
        amperes = tuple(marked[0].places[k] for k in sorted(marked[0].places))
    elif currents:
        notes.append("currents were not used: --channels names those through the switch, if they are there")
    return Chosen(volts, amperes, tuple(notes), are_line_to_line)


@dataclass(slots=True)
class _Group:
    """Channels that differ in their phase only."""

    what: dict[str, int]
    places: dict[int, int]


def _named(analog: Sequence[AnalogChannel], wanted: Sequence[str]) -> Chosen:
    places = []
    for name in wanted:
        text = name.strip()
        found = [k for k, channel in enumerate(analog) if channel.name.lower() == text.lower()]
        if not found and text.isdecimal() and 1 <= int(text) <= len(analog):
            found = [int(text) - 1]
        if not found:
            raise ComtradeError("cfg", None, f"has no channel {text!r}, accepted: {_listing(analog)}")
        places.append(found[0])
    if len(places) not in {1, 2, 3, 6}:
        raise ComtradeError("cfg", None, f"--channels names {len(places)}, accepted: va[,ia] or va,vb,vc[,ia,ib,ic]")
    phases = 1 if len(places) <= 2 else 3
    return Chosen(tuple(places[:phases]), tuple(places[phases:]), ())


def _listing(analog: Sequence[AnalogChannel]) -> str:
    names = [f"{k} {channel.name} [{channel.unit}]" for k, channel in enumerate(analog, 1)]
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")


def _groups(analog: Sequence[AnalogChannel], quantity: str) -> list[_Group]:
    """Return sets of channels that differ in their phase only, in the order of the recording."""
    groups: dict[tuple[str, bool], _Group] = {}
    order: list[_Group] = []
    for place, channel in enumerate(analog):
        if UNITS.get(channel.unit.strip().lower(), (_by_name(channel),))[0] != quantity or DERIVED.search(channel.name):
            continue
        phase, stem, what = _phase_of(channel)
        if phase is None:
            continue
        key = (stem, what is LINE_OF)
        group = groups.get(key)
        if group is None or phase in group.places:
            group = groups[key] = _Group(what, {})
            order.append(group)
        group.places[phase] = place
    return order


def _by_name(channel: AnalogChannel) -> str:
    """Tell the quantity of a channel whose unit says nothing, such as per unit."""
    if channel.unit.strip().lower() not in {"", "pu", "p.u."}:
        return ""
    first = channel.name.strip()[:1].lower()
    return {"v": "v", "u": "v", "i": "a"}.get(first, "")


def _phase_of(channel: AnalogChannel) -> tuple[int | None, str, dict[str, int]]:
    """Return a channel's phase, its name without it, and whether phases or pairs of phases are named."""
    name = channel.name.strip()
    end = NAME_END.search(name)
    stem = name[: end.start()] if end else name
    declared = channel.phase.strip().lower().replace("-", "")
    for what in (LINE_OF, PHASE_OF):
        if declared in what:
            # Names like F5-VA and F6-VB count up: without their digits they are the same.
            return what[declared], re.sub(r"\d+", "", stem.lower()), what
    if end is None:
        return None, stem, PHASE_OF
    text = end[0].lower()
    for what in (LINE_OF, PHASE_OF):
        for cut in (text, text.rstrip("n"), text[-1:]):
            if cut in what:
                return what[cut], re.sub(r"\d+", "", stem.lower()), what
    return None, stem, PHASE_OF


def _is_alive(recording: Recording, group: _Group) -> bool:
    """Tell whether a group's channels ever carried something: unused inputs are recorded, too."""
    for place in group.places.values():
        values = recording.raw[place]
        held = values[np.isfinite(values)]
        if (
            len(held) == 0
            or np.ptp(held) <= 0.01 * max(1.0, abs(recording.configuration.analog[place].greatest)) * 0.01
        ):
            return False
    return True
