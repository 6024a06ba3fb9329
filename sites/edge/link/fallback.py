"""What a site does with its armed assignment when the link is lost: hold it to its end, or release it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LossOfLink(StrEnum):
    """A site's required choice, made at enrolment."""

    HOLD = "hold"
    """Serve the armed assignment to its end: the obligation is kept without a network."""
    RELEASE = "release"
    """Drop it after the grace time: the owner wants no service that nobody can call off."""


@dataclass(frozen=True, slots=True)
class LinkLossPolicy:
    """The choice and its grace time."""

    choice: LossOfLink
    grace_s: float = 10.0
    """How long a link may be away before it counts as lost [s], 0 to 3600."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.grace_s <= 3600.0:
            raise ValueError(f"grace_s is {self.grace_s}, accepted: 0 to 3600")


def must_release(policy: LinkLossPolicy, *, armed: bool, away_s: float) -> bool:
    """Tell whether an armed assignment is to be given up now.

    ``away_s`` is how long the link or the host has been away [s]; 0 when it is there.
    """
    return armed and policy.choice is LossOfLink.RELEASE and away_s > policy.grace_s
