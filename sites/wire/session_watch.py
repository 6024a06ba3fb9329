"""Two sessions that speak for one site in turn, seen in the ``bdSeq`` of its births and deaths. No I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_MS: Final = 600_000
"""Signs within ten minutes belong together."""
SIGNS: Final = 2
"""So many are evidence: one may be a lost disk, or a device that starts its counter anew."""
_SEQS: Final = 256


@dataclass(slots=True)
class _Site:
    last: int = -1
    """``bdSeq`` of the last birth."""
    has_ended: bool = False
    """Its death was heard."""
    born_ms: dict[int, int] = field(default_factory=dict)
    """``bdSeq`` -> its last birth."""
    signs_ms: deque[int] = field(default_factory=deque)


class SessionWatch:
    """Follows each site's births.

    One session after another counts up, and asked for its births again it repeats the last number. Two devices with
    one key throw each other out, or answer in turn: then a number comes back that had ended or was left behind, or
    the count goes on behind one that was left. A lost disk alone starts a new count once. 256 honest connections do
    not fit into the window, as a site pauses between them.
    """

    def __init__(self) -> None:
        self._sites: dict[str, _Site] = {}

    def born(self, site_id: str, bd_seq: int, at_ms: int) -> str:
        """Take a birth; return the evidence of two sessions, or nothing."""
        site = self._sites.setdefault(site_id, _Site())
        for old in [number for number, born_ms in site.born_ms.items() if at_ms - born_ms > WINDOW_MS]:
            del site.born_ms[old]
        sign = self._sign(site, bd_seq)
        site.last, site.has_ended = bd_seq, False
        site.born_ms[bd_seq] = at_ms
        while site.signs_ms and at_ms - site.signs_ms[0] > WINDOW_MS:
            site.signs_ms.popleft()
        if not sign:
            return ""
        site.signs_ms.append(at_ms)
        return sign if len(site.signs_ms) >= SIGNS else ""

    def died(self, site_id: str, bd_seq: int) -> None:
        """Take a death; one of an earlier birth says nothing."""
        site = self._sites.get(site_id)
        if site is not None and site.last == bd_seq:
            site.has_ended = True

    def _sign(self, site: _Site, bd_seq: int) -> str:
        before = (bd_seq - 1) % _SEQS
        if bd_seq == site.last:
            return f"session {bd_seq} was born again after its death" if site.has_ended else ""
        if bd_seq in site.born_ms:
            return f"session {bd_seq} came back after session {site.last}"
        if before != site.last and before in site.born_ms:
            return f"session {bd_seq} goes on behind session {before}, after session {site.last}"
        return ""
