"""What people at a site, its owner or the dispatcher may ask of it, and what it tells of its modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sites.core.requests import SiteRequest
from sites.edge.control.exchange import ALARM_NAMES, INPUT_NAMES
from sites.edge.control.islanding import ANSWERS, CAUSE_NAMES, EVENT_NAMES, MODE_NAMES, REQUEST_BITS, alarm_text
from sites.edge.control.kernels import modes
from sites.edge.control.kernels.anti_islanding import CODE_MS
from sites.edge.control.kernels.records import LOG_LENGTH, TIERS
from sites.edge.plant.auxiliaries import FREE
from sites.edge.plant.parameters import SiteParameters

StructuredArray = npt.NDArray[np.void]

COUNTERS: Final = (
    "decisions", "reclosures", "refusals", "withdrawals", "sheds", "momentary_islands", "mode_changes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModeChange:
    """One change of mode."""

    index: int
    sample: int
    before: str
    event: str
    after: str
    cause: str
    """What the loss was decided by; empty where no decision led here."""


class Operation:
    """Requests, digital inputs and the account of modes of a closed loop's sites.

    Requests are taken at the site's next millisecond. What the mode, a latched input or the grid does not
    allow is refused and counted.
    """

    sites: tuple[SiteParameters, ...]
    _k: StructuredArray
    _c: StructuredArray
    _m: StructuredArray
    _p: StructuredArray

    def request_island(self, index: int) -> None:
        """Planned island (IEEE 2030.7 T1): bring the exchange to about zero, open, stay alone until asked."""
        self._request(index, modes.REQUEST_ISLAND)

    def request_reconnect(self, index: int) -> None:
        """Return to the grid (T3) once it has been fit for the delay and both sides are in step."""
        self._request(index, modes.REQUEST_RECONNECT)

    def request_start(self, index: int, local: bool = True) -> None:
        """Start a locked-out site (T4). ``local``: with the key at the site, which clears what is latched and gone.

        From afar nothing latched is cleared: such a request is refused and counted.
        """
        self._request(index, modes.REQUEST_START_LOCAL if local else modes.REQUEST_START_REMOTE)

    def request_maintenance(self, index: int, on: bool = True) -> None:
        """Block a tied or locked-out site for work, its load left on the grid; ``on=False`` ends it."""
        self._request(index, modes.REQUEST_MAINTENANCE if on else modes.REQUEST_SERVICE)

    def ask(self, index: int, request: SiteRequest) -> int:
        """Ask one thing beside a loop that may be running; return the mark by which ``answer`` knows its answer."""
        mark = int(self._c["answer"][index])
        self._c["request"][index] = REQUEST_BITS[request]
        return mark

    def answer(self, index: int, mark: int) -> str | None:
        """Return the refusal's name, empty when the request was taken up; None before the next millisecond."""
        word = int(self._c["answer"][index])
        return None if word == mark else ANSWERS[word % modes.ANSWER_CODES]

    def inputs(self) -> npt.NDArray[np.int64]:
        """Return the sites' contacts as bits, in the order of INPUT_NAMES."""
        bits = [(self._m[name] != 0).astype(np.int64) << bit for bit, name in enumerate(INPUT_NAMES)]
        return np.bitwise_or.reduce(bits)

    def resume(
        self, index: int, *, mode: str, latched: int, alarm: int, switch_closed: bool, since: Sequence[int]
    ) -> None:
        """Stand where the controller's last process stood when that was still: a restart clears no lockout.

        ``since``: sample, of this process, at which each of ALARM_NAMES came up. Any other mode is left alone.
        """
        if mode not in ("lockout", "maintenance"):
            return
        c = self._c[index]
        for name in ("converter_on", "pv_connected", "genset_run", "genset_close"):
            c[name] = 0
        c["latched"] = c["alarms_were"] = latched
        c["alarm_sample"][: len(ALARM_NAMES)] = since
        c["alarm"] = alarm
        c["switch_command"] = int(switch_closed)
        c["tiers_closed"] = TIERS if switch_closed else 0
        # Where nothing is latched the site waits for its grid, as it did.
        c["start_wanted"] = int(switch_closed and latched == 0)
        c["energy_out"] = int(not switch_closed and latched == 0)
        c["mode"] = MODE_NAMES.index(mode)

    def align_probe(self, utc_ms: int) -> None:
        """Set the anti-islanding probe's clock: ``utc_ms`` is the instant of sample 0, in UTC as it is known now."""
        self._k["probe_offset_ms"] = utc_ms % CODE_MS
        # The pair under way was begun by another clock.
        self._c["probe_valid"] = 0

    def _request(self, index: int, bit: int) -> None:
        self._c["request"][index] |= bit

    def set_input(self, index: int, name: str, value: int | None) -> None:
        """Set a digital input (``INPUT_NAMES``) to 0 or 1; it stays so.

        ``neutral_earth_closed`` holds the bond's contactor, welded or broken; None lets it follow its order.
        Raises ValueError naming what is accepted.
        """
        if name not in INPUT_NAMES:
            raise ValueError(f"input is {name!r}, accepted: {', '.join(INPUT_NAMES)}")
        if name == "neutral_earth_closed":
            if value not in (0, 1, None):
                raise ValueError(f"{name} is {value!r}, accepted: 0, 1 or None")
            self._p["bond_held"][index] = FREE if value is None else value
        elif value not in (0, 1):
            raise ValueError(f"{name} is {value!r}, accepted: 0 or 1")
        else:
            self._m[name][index] = value

    def mode(self, index: int) -> str:
        """Name of a site's present mode."""
        return MODE_NAMES[int(self._c["mode"][index])]

    def alarm(self, index: int) -> str:
        """Name the alarm that a site has latched, empty when none."""
        return alarm_text(int(self._c["alarm"][index]))

    def counters(self, index: int) -> dict[str, int]:
        """Return a site's counters since the start (``COUNTERS``) and ``<mode>_ms``, the time in each mode."""
        c = self._c[index]
        counted = {name: int(c["log_count" if name == "mode_changes" else name]) for name in COUNTERS}
        return counted | {f"{name}_ms": int(ms) for name, ms in zip(MODE_NAMES, c["mode_ms"], strict=True)}

    def momentary_kw(self, index: int) -> float:
        """Power into the bus that a site's converter gave when it left the grid last [kW], for the dispatcher."""
        return float(self._c["lost_pu"][index]) * self.sites[index].pcs_kva

    def mode_changes(self, index: int, since: int = 0) -> list[ModeChange]:
        """Return the changes from number ``since`` on (0 is the first), as far as the site still keeps them.

        It keeps the last 16; ``counters`` tells how many there were.
        """
        c = self._c[index]
        count = int(c["log_count"])
        changes = []
        for number in range(max(since, count - LOG_LENGTH, 0), count):
            at = number % LOG_LENGTH
            changes.append(
                ModeChange(
                    index=index,
                    sample=int(c["log_sample"][at]),
                    before=MODE_NAMES[int(c["log_mode"][at])],
                    event=EVENT_NAMES[int(c["log_event"][at])],
                    after=MODE_NAMES[int(c["log_after"][at])],
                    cause=CAUSE_NAMES[int(c["log_cause"][at])],
                )
            )
        return changes
