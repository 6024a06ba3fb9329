"""Requests of people at the site, and what its controller says of itself: over the shared block, without a network.

Who may write the block may ask: it belongs to the edge's user alone (mode 0600), so the key of the site is that
user's, or root's.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from pathlib import Path

from sites.core.requests import ANSWERED_WITHIN_S, RequestRefusal, SiteRequest
from sites.edge.control.exchange import Ask, Image
from sites.edge.link.shared_block import SharedBlock, SharedBlockError, pack_ask, read_answer, read_image

POLL_S = 0.005


def ask_locally(
    block_path: Path,
    request: SiteRequest,
    *,
    utc_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Ask the running controller for one thing and return the refusal's name, empty when it was taken up.

    A controller that does not answer in time is ``controller_silent``, and does not do it later either. Raises
    SharedBlockError when there is no block, OSError when this user may not write it.
    """
    block = _opened(block_path)
    try:
        with block_path.with_suffix(".request.lock").open("a") as lock:
            # One writer at a time: another person's request waits for this one's answer.
            fcntl.flock(lock, fcntl.LOCK_EX)
            newest = block.answers.newest()
            seen = newest[0] if newest is not None else 0
            # Another asker may have written since this block was opened.
            block.local_asks.refresh()
            now_us = utc_us()
            until_us = now_us + round(ANSWERED_WITHIN_S * 1e6)
            block.local_asks.write(pack_ask(Ask(0, now_us, request, until_us, is_local=True)))
            # A little longer than the controller may take it up: its answer is on its way then.
            while utc_us() <= until_us + 200_000:
                for sequence, data in block.answers.after(seen):
                    seen = sequence
                    answer = read_answer(data)
                    if answer.is_local and answer.number == now_us:
                        return answer.refusal
                sleep(POLL_S)
            return RequestRefusal.CONTROLLER_SILENT
    finally:
        block.close()


def newest_image(block_path: Path) -> Image | None:
    """Return what the controller showed last, None before its first image; raise as ``ask_locally`` does."""
    block = _opened(block_path)
    try:
        newest = block.image.newest()
        return None if newest is None else read_image(newest[1])
    finally:
        block.close()


def _opened(block_path: Path) -> SharedBlock:
    if not block_path.exists():
        raise SharedBlockError(f"{block_path} is not there, accepted: the block of a site whose control process ran")
    return SharedBlock(block_path)
