"""Every metric of the wire by name: type, unit, range and meaning (docs/wire.md shows the same)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sites.core.readings import METER_CLASSES

WIRE_VERSION: Final = 2
SUPPORTED_VERSIONS: Final = range(1, 3)
"""Window of wire versions that a host takes; a birth announces its own."""
MAX_TEXT_CHARS: Final = 1024
NAMES_TEXT: Final = re.compile(r"[a-z0-9_:, ]{0,200}\Z")
"""Names of alarms, contacts and causes: what a page shows of them comes from a site."""


class MetricType(IntEnum):
    """Data types of Sparkplug B with their published indexes."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    """Milliseconds since 1970-01-01 UTC."""
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


@dataclass(frozen=True, slots=True)
class MetricDeclaration:
    """What a metric of a given name is."""

    name: str
    type: MetricType
    unit: str = ""
    low: float | None = None
    """Least accepted value, inclusive; None when no range is declared."""
    high: float | None = None
    text: str = ""
    """What it means, for people."""
    choices: tuple[str, ...] = ()
    """Accepted texts; empty when any text is."""
    names: bool = False
    """A text of names, as NAMES_TEXT accepts it."""


_D, _I, _B, _S, _T = (
    MetricType.DOUBLE,
    MetricType.INT64,
    MetricType.BOOLEAN,
    MetricType.STRING,
    MetricType.DATETIME,
)
_KW: Final = 100_000.0
_KWH: Final = 1_000_000.0
_COUNT: Final = 2**53
_REGISTER: Final = 2**63 - 1

BD_SEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
VERSION: Final = "wire/version"
STORED_THROUGH: Final = "stored_through/"
"""Prefix of a command's name; behind it stands the stream: an asset's name, ``record`` or ``waveform``."""
RESEND: Final = "resend/"
"""Prefix of a command's name, with the stream behind it as in STORED_THROUGH."""
RESENT: Final = "resent/"
"""Prefix of the answer's metrics."""
RESEND_REFUSALS: Final = ("", "no_longer_kept", "not_numbered_yet", "stream_unknown", "request_malformed")
DESIRED: Final = "desired"
DESIRED_STREAM: Final = "desired_stream"
COMMAND: Final = "command"
KEYS: Final = "keys"
CONTROL_DEVICE: Final = "control"

MODES: Final = ("grid_tied", "islanding", "islanded", "resynchronizing", "black_start", "lockout", "maintenance")
QUALITIES: Final = ("good", "questionable", "invalid")
TIME_QUALITIES: Final = ("synchronized", "unsynchronized", "stepped", "unknown")
OUTBOX_STATES: Final = ("ok", "filling", "dropping", "unwritable")
LIMITS: Final = ("none", "energy", "export", "import", "rating")
ANSWER_STATES: Final = ("none", "accepted", "refused")
REPORTED_STATES: Final = ("idle", "armed", "refused")

SYSTEM_METRICS: Final = (
    MetricDeclaration(BD_SEQ, MetricType.UINT64, "", 0, 255, "joins a death to its birth; rises with every connection"),
    MetricDeclaration(REBIRTH, _B, "", text="a host writes true to ask for all births again"),
    MetricDeclaration(VERSION, MetricType.INT32, "", 1, 1_000_000, "version of this contract that the site speaks"),
)
"""Only in node births (and bdSeq in deaths); the session adds them by itself."""

NODE_METRICS: Final = (
    MetricDeclaration("frequency_hz", _D, "Hz", 0.0, 100.0, "the site's own estimate at its bus; 0 on a dead bus"),
    MetricDeclaration("voltage_pu", _D, "pu", 0.0, 4.0, "bus voltage, RMS over nominal"),
    MetricDeclaration("mode", _S, text="islanding mode", choices=MODES),
    MetricDeclaration(
        "service_kw", _D, "kW", -_KW, _KW, "delivered for the armed curve above the baseline, positive into the bus"
    ),
    MetricDeclaration("stream_kw", _D, "kW", -_KW, _KW, "delivered for the setpoint stream, positive into the bus"),
    MetricDeclaration("required_kw", _D, "kW", -_KW, _KW, "due by the armed curve at the site's own frequency"),
    MetricDeclaration("discharge_kw", _D, "kW", 0.0, _KW, "headroom for service into the bus"),
    MetricDeclaration("charge_kw", _D, "kW", 0.0, _KW, "headroom for service out of the bus"),
    MetricDeclaration("usable_energy_kwh", _D, "kWh", 0.0, _KWH, "energy above the site's reserve"),
    MetricDeclaration("absorbable_energy_kwh", _D, "kWh", 0.0, _KWH, "room left for charging"),
    MetricDeclaration(
        "saturates_in_s", _D, "s", 0.0, 86_400.0, "until the energy ends at the present power; 86400: not within a day"
    ),
    MetricDeclaration("samples_late", _I, "", 0, _REGISTER, "late or overrun control ticks so far"),
)
"""Live values of a site, once a second by alias."""

STANDING_METRICS: Final = (
    MetricDeclaration("alarms", _S, text="latched alarms by name; only the key at the site clears them", names=True),
    MetricDeclaration("warnings", _S, text="warnings by name; they may be acknowledged from afar", names=True),
    MetricDeclaration(
        "lockout_cause",
        _S,
        names=True,
        text="mode and event that locked the site out, such as `islanded: bus_fault`; empty for none",
    ),
    MetricDeclaration("inputs", _S, text="protection contacts that are tripped, turned or closed, by name", names=True),
    MetricDeclaration("tiers_closed", _I, "", 0, 3, "tiers of load that are fed: critical, essential, deferrable"),
    MetricDeclaration("limited_by", _S, text="what holds the response back now", choices=LIMITS),
    MetricDeclaration("decided_at", _T, "ms", text="last decision to leave the grid; null before the first"),
    MetricDeclaration("decision_cause", _S, text="why, empty before the first", names=True),
    MetricDeclaration("decision_path", _S, text="which path of the detector saw it, empty where none did", names=True),
    MetricDeclaration("requests_refused", _I, "", 0, _REGISTER, "requests that mode, latch or grid did not allow"),
    MetricDeclaration("ticks_overrun", _I, "", 0, _REGISTER, "control ticks that took longer than their period"),
    MetricDeclaration("samples_caught_up", _I, "", 0, _REGISTER, "samples run behind their time; none is skipped"),
    MetricDeclaration("outbox_state", _S, text="whether what waits at the site is safe", choices=OUTBOX_STATES),
    MetricDeclaration("outbox_rows", _I, "", 0, _COUNT, "numbered rows that have waited for more than a minute"),
    MetricDeclaration("outbox_oldest_at", _T, "ms", text="instant of the oldest of them; null for none"),
    MetricDeclaration("outbox_used_ratio", _D, "1", 0.0, 1.0, "of the bound on records and waveforms"),
    MetricDeclaration("outbox_dropped_records", _I, "", 0, _COUNT, "records whose samples were given up so far"),
    MetricDeclaration("outbox_dropped_waveforms", _I, "", 0, _COUNT, "waveforms whose samples were given up so far"),
)
"""What a site stands at: in births, and in a second's live data when it has changed. Lists are comma separated."""

_POWER = MetricDeclaration("power_kw", _D, "kW", -_KW, _KW, "active power, positive into the bus")
_RATED = MetricDeclaration("rated_kw", _D, "kW", 0.0, _KW, "nameplate power; at the PCC the agreed import capacity")

METER_METRICS: Final = (
    MetricDeclaration("meter_class", _S, text="accuracy class of the asset's meter", choices=METER_CLASSES),
    MetricDeclaration("meter_calibrated_at", _T, "ms", text="when that meter was last calibrated"),
    MetricDeclaration("meter_uncertainty_ratio", _D, "1", 0.0, 1.0, "of its energy, at two standard deviations"),
)
"""In births of every asset only; null where it is not known."""

ASSET_METRICS: Final[dict[str, tuple[MetricDeclaration, ...]]] = {
    "pcc": (
        _POWER,
        _RATED,
        MetricDeclaration("export_limit_kw", _D, "kW", 0.0, _KW, "agreed export capacity"),
        *METER_METRICS,
    ),
    "battery": (
        _POWER,
        MetricDeclaration("soc_ratio", _D, "1", 0.0, 1.0, "state of charge"),
        MetricDeclaration("temperature_c", _D, "Cel", -60.0, 150.0, "warmest cell or rack sensor"),
        _RATED,
        MetricDeclaration("capacity_kwh", _D, "kWh", 0.0, _KWH, "nameplate energy"),
        MetricDeclaration("reserve_kwh", _D, "kWh", 0.0, _KWH, "energy kept for the site's own load"),
        *METER_METRICS,
    ),
    "pv": (_POWER, _RATED, *METER_METRICS),
    "genset": (_POWER, MetricDeclaration("running", _B, text="the engine turns"), _RATED, *METER_METRICS),
    "load": (_POWER, _RATED, *METER_METRICS),
}
"""Live values (and, in births, the nameplate) of each kind of asset."""

NAMEPLATE_NAMES: Final = frozenset(
    {"rated_kw", "capacity_kwh", "reserve_kwh", "export_limit_kw", *(declaration.name for declaration in METER_METRICS)}
)
"""Sent in births only."""

CONTROL_METRICS: Final = (
    *(
        MetricDeclaration(
            f"{prefix}/{name}", kind, low=bounds[0], high=bounds[1], text=text.format(what), choices=choices
        )
        for prefix, what in (("reported", "assignment"), ("reported_stream", "stream grant"))
        for name, kind, bounds, text, choices in (
            ("state", _S, (None, None), "what the site holds of {}s", REPORTED_STATES),
            ("hash", _S, (None, None), "content hash of the held {}, empty for none", ()),
            ("sequence", _I, (0, _COUNT), "sequence of the held {}, 0 for none", ()),
            ("refused_hash", _S, (None, None), "content hash of the last refused {}, empty for none", ()),
            ("refusal", _S, (None, None), "why the last {} was refused, empty for none", ()),
            ("refused_sequence", _I, (0, _COUNT), "sequence of the last refused {}, 0 for none", ()),
        )
    ),
    MetricDeclaration(
        "answer/state",
        _S,
        choices=ANSWER_STATES,
        text="what became of the last command; accepted is taken up, the mode shows the rest",
    ),
    MetricDeclaration("answer/hash", _S, text="content hash of the last command, empty for none"),
    MetricDeclaration("answer/sequence", _I, "", 0, _COUNT, "highest sequence that the site has answered, 0 for none"),
    MetricDeclaration("answer/error", _S, text="why it was refused, empty when it was not"),
    MetricDeclaration("keys/ids", _S, text="ids of the keys whose signatures the site takes, comma separated"),
    MetricDeclaration("keys/generation", _I, "", 0, _COUNT, "generation of the held announcement, 0: as configured"),
    MetricDeclaration("keys/hash", _S, text="content hash of the held announcement, empty for none"),
    MetricDeclaration("keys/refused_hash", _S, text="content hash of the last refused announcement, empty for none"),
    MetricDeclaration("keys/refusal", _S, text="why it was refused, empty for none"),
)
"""Reported state and answers on the virtual device ``control``, at once on every change or repeat."""

INTERVAL_METRICS: Final = (
    MetricDeclaration("interval/number", _I, "", 1, _COUNT, "counts from 1 at its asset without a hole"),
    MetricDeclaration("interval/starts_at", _T, "ms", text="inclusive start"),
    MetricDeclaration("interval/ends_at", _T, "ms", text="exclusive end"),
    MetricDeclaration("interval/into_bus_uwh", _I, "uWh", 0, _REGISTER, "energy into the bus"),
    MetricDeclaration("interval/from_bus_uwh", _I, "uWh", 0, _REGISTER, "energy out of the bus"),
    MetricDeclaration("interval/service_into_uwh", _I, "uWh", 0, _REGISTER, "given for curve and stream, into the bus"),
    MetricDeclaration(
        "interval/service_from_uwh", _I, "uWh", 0, _REGISTER, "taken for curve and stream, out of the bus"
    ),
    MetricDeclaration("interval/served", MetricType.STRING_ARRAY, text="dispatch ids that the service was for"),
    MetricDeclaration(
        "interval/served_into_uwh", MetricType.INT64_ARRAY, "uWh", text="service into the bus, for each of them"
    ),
    MetricDeclaration(
        "interval/served_from_uwh", MetricType.INT64_ARRAY, "uWh", text="service out of the bus, for each of them"
    ),
    MetricDeclaration("interval/fuel_ul", _I, "ul", 0, _REGISTER, "fuel burnt"),
    MetricDeclaration("interval/register_into_uwh", _I, "uWh", 0, _REGISTER, "cumulative into the bus at the end"),
    MetricDeclaration("interval/register_from_uwh", _I, "uWh", 0, _REGISTER, "cumulative out of the bus at the end"),
    MetricDeclaration("interval/quality", _S, text="how far it may be trusted", choices=QUALITIES),
    MetricDeclaration("interval/time_quality", _S, text="how far its instants may be", choices=TIME_QUALITIES),
)
"""One numbered interval of an asset, by name."""

FORMER_METRICS: Final = (
    MetricDeclaration(
        "interval/service_uwh", _I, "uWh", -_REGISTER, _REGISTER, "version 1: net of the service, in place of both ways"
    ),
)
"""Of earlier versions in the window; taken, never sent."""

RECORD_METRICS: Final = (
    MetricDeclaration("record/number", _I, "", 1, _COUNT, "counts from 1 at its site"),
    MetricDeclaration("record/starts_at", _T, "ms", text="instant of the first row"),
    MetricDeclaration("record/rate_hz", _D, "Hz", 1.0, 100_000.0, "rows per second"),
    MetricDeclaration("record/columns", _S, text="column names, comma separated"),
    MetricDeclaration("record/samples", MetricType.BYTES, text="zlib of little-endian float32 [n, columns]"),
)
"""One chunk of the high-rate record of an armed site, by name."""

WAVEFORM_METRICS: Final = (
    MetricDeclaration("waveform/number", _I, "", 1, _COUNT, "counts from 1 at its site"),
    MetricDeclaration("waveform/starts_at", _T, "ms", text="instant of the first row"),
    MetricDeclaration("waveform/trigger_at", _T, "ms", text="instant of the decision"),
    MetricDeclaration("waveform/starts_at_us", _I, "us", 0, _COUNT, "instant of the first row, exact"),
    MetricDeclaration("waveform/trigger_at_us", _I, "us", 0, _COUNT, "instant of the decision, exact"),
    MetricDeclaration("waveform/rate_hz", _D, "Hz", 1.0, 1_000_000.0, "rows per second"),
    MetricDeclaration("waveform/cause", _S, text="what triggered the capture"),
    MetricDeclaration("waveform/columns", _S, text="column names, comma separated"),
    MetricDeclaration("waveform/samples", MetricType.BYTES, text="zlib of little-endian float32 [n, columns]"),
)
"""One captured waveform of a site, by name."""

RESENT_METRICS: Final = (
    MetricDeclaration("resent/stream", _S, text="stream that was asked for"),
    MetricDeclaration("resent/first", _I, "", 0, _COUNT, "first number asked for"),
    MetricDeclaration("resent/last", _I, "", 0, _COUNT, "last number asked for that this answer is about"),
    MetricDeclaration("resent/found", _I, "", 0, _COUNT, "rows of them that are sent again"),
    MetricDeclaration("resent/refusal", _S, text="why none is, empty for sent", choices=RESEND_REFUSALS),
)
"""Answer to a request for rows, on the node, by name."""

NODE_COMMANDS: Final = (
    MetricDeclaration(REBIRTH, _B, text="true asks for all births again"),
    MetricDeclaration(
        STORED_THROUGH + "<stream>", _I, "", 0, _COUNT, "the platform keeps this stream up to this number"
    ),
    MetricDeclaration(RESEND + "<stream>", MetricType.INT64_ARRAY, text="first and last number to send again"),
)
CONTROL_COMMANDS: Final = (
    MetricDeclaration(DESIRED, MetricType.BYTES, text="signed envelope over an assignment's body"),
    MetricDeclaration(DESIRED_STREAM, MetricType.BYTES, text="signed envelope over a stream grant's body"),
    MetricDeclaration(COMMAND, MetricType.BYTES, text="signed envelope over a command's body"),
    MetricDeclaration(
        KEYS, MetricType.BYTES, text="envelope over an announcement of keys, signed by the key authority"
    ),
)

REGISTER_INTO: Final = "register_into_kwh"
REGISTER_FROM: Final = "register_from_kwh"
MAPPED_REGISTERS: Final = (
    MetricDeclaration(REGISTER_INTO, _D, "kWh", 0.0, 1e9, "cumulative into the bus: import, discharge, generation"),
    MetricDeclaration(REGISTER_FROM, _D, "kWh", 0.0, 1e9, "cumulative out of the bus: export, charge, consumption"),
)
"""What a rule may make of a gateway's energy registers, on an asset; our own edge sends numbered intervals."""

Declarations = dict[str, MetricDeclaration]


def by_name(*groups: tuple[MetricDeclaration, ...]) -> Declarations:
    """Return declarations by their name."""
    return {declaration.name: declaration for group in groups for declaration in group}


NODE_STREAMS: Final = by_name(RECORD_METRICS, WAVEFORM_METRICS, RESENT_METRICS)
ASSET_STREAMS: Final = by_name(INTERVAL_METRICS, FORMER_METRICS)
NODE_DECLARED: Final = by_name(
    SYSTEM_METRICS, NODE_METRICS, STANDING_METRICS, RECORD_METRICS, WAVEFORM_METRICS, RESENT_METRICS
)
CONTROL_DECLARED: Final = by_name(CONTROL_METRICS)
# A name means the same on every kind of asset, so one table serves all: the host need not know the kind.
ASSET_DECLARED: Final = by_name(*ASSET_METRICS.values(), INTERVAL_METRICS, FORMER_METRICS)


def declared_on(device: str | None) -> Declarations:
    """Return what may appear on a device (None: on the node itself)."""
    if device is None:
        return NODE_DECLARED
    return CONTROL_DECLARED if device == CONTROL_DEVICE else ASSET_DECLARED


def streams_on(device: str | None) -> Declarations:
    """Return what a device (None: the node) may send by name without a birth: numbered streams, reported state."""
    if device is None:
        return NODE_STREAMS
    return CONTROL_DECLARED if device == CONTROL_DEVICE else ASSET_STREAMS


def command_on(device: str | None, name: str) -> MetricDeclaration | None:
    """Return the declaration of a command by its full name, or None when there is no such command."""
    if device is None and name.startswith(STORED_THROUGH) and len(name) > len(STORED_THROUGH):
        return NODE_COMMANDS[1]
    if device is None and name.startswith(RESEND) and len(name) > len(RESEND):
        return NODE_COMMANDS[2]
    commands = NODE_COMMANDS[:1] if device is None else CONTROL_COMMANDS if device == CONTROL_DEVICE else ()
    return next((command for command in commands if command.name == name), None)
