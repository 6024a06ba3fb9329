"""What our reports of either version of OpenADR have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import close_old_connections

LATE_S: Final = 1.0
"""A sample is of its instant when it is taken within this time after it [s]; later it is none."""
LOOK_EVERY_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 10.0
"""Reports wait no longer than this for a VTN that is back [s]: samples pile up meanwhile."""


@dataclass(frozen=True, slots=True)
class ReportTerms:
    """What reports are made by."""

    fresh_within_s: float
    dropout_margin: float
    with_sites: bool = False
    """Each site is told too, not only all of a program together."""


def report_terms() -> ReportTerms:
    """Return the terms that the settings say."""
    return ReportTerms(settings.FRESH_WITHIN_S, settings.DROPOUT_MARGIN, settings.REPORT_SITES)


async def stored(function: Any, *arguments: Any, **named: Any) -> Any:
    """Call a function that reads or writes the database, in a thread with a live connection."""

    def called() -> Any:
        close_old_connections()
        return function(*arguments, **named)

    return await sync_to_async(called)()
