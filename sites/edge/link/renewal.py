"""Keeps the sites' certificates young: asks in their last third, and has the connection change over."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Final

from sites.core import observe
from sites.edge.link.enrolment import EnrolmentError, ask_renewal, is_renewal_due
from sites.edge.link.identity import IdentityError, IdentityFolder

LOOK_EVERY_S: Final = 5.0
PATIENCE_S: Final = 600.0
"""After a refusal the same question waits so long."""

log = logging.getLogger(__name__)


async def keep_renewed(
    identities: Sequence[IdentityFolder],
    change_over: Callable[[int], Awaitable[None]],
    executor: Executor,
    *,
    look_every_s: float = LOOK_EVERY_S,
    patience_s: float = PATIENCE_S,
) -> None:
    """Look after all identities until cancelled; ``change_over(index)`` follows each new certificate, also one that
    `vpp-edge renew` or `enrol` brought meanwhile.

    The platform being away or refusing ends nothing: the present certificate stands to its end.
    """
    loop = asyncio.get_running_loop()
    not_before_s = [0.0] * len(identities)
    # Read again only when the file changed: a process may hold a thousand identities.
    read = [(folder.stamp(), folder.certificate()) for folder in identities]
    used = [certificate.serial_number for _, certificate in read]
    while identities:
        for index, folder in enumerate(identities):
            certificate_life_s = 0.0
            try:
                if (stamp := folder.stamp()) != read[index][0]:
                    read[index] = stamp, folder.certificate()
                present = read[index][1]
                certificate_life_s = (present.not_valid_after_utc - present.not_valid_before_utc).total_seconds()
                is_due = loop.time() >= not_before_s[index] and is_renewal_due(present, at=datetime.now(UTC))
                if is_due and present.serial_number == used[index]:
                    await loop.run_in_executor(executor, ask_renewal, folder)
                    read[index] = folder.stamp(), folder.certificate()
                    present = read[index][1]
            except (EnrolmentError, IdentityError) as error:
                log.warning("%s site=%s reason=%s: %s", observe.ENROLMENT_REFUSED, folder.site_id, error.name, error)
                # Spread: a fleet that was refused together must not come back together.
                patience = min(patience_s, certificate_life_s / 40.0) if certificate_life_s else patience_s
                not_before_s[index] = loop.time() + patience * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load
                continue
            if present.serial_number != used[index]:
                used[index] = present.serial_number
                log.info("%s site=%s", observe.CERTIFICATE_RENEWED, folder.site_id)
                await change_over(index)
        await asyncio.sleep(look_every_s)
