"""Which of our keys seals what goes to a site: the first that the site takes, while a key is replaced."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.core.management.base import CommandError

from sites.wire.signature import Signer


def our_seeds() -> tuple[bytes, ...]:
    """Return the seeds that sign what goes to sites; raise CommandError in a process that was given none."""
    if not settings.SIGNING_KEYS:
        raise CommandError("VPP_SIGNING_KEY is not set, accepted: 1 to 4 seeds, as `make install` writes one into .env")
    seeds: tuple[bytes, ...] = settings.SIGNING_KEYS
    return seeds


class Signers:
    """One signer for each of our keys, newest first, and which keys the sites said they take."""

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self._signers = {signer.key_id.hex(): signer for signer in map(Signer, seeds)}
        self._first, *_, self._last = [*self._signers.values()] * 2
        self._told: dict[str, Signer] = {}

    @property
    def is_replacing(self) -> bool:
        """Tell whether there is more than one key: one is to come, or to go."""
        return len(self._signers) > 1

    def note(self, site_id: str, key_ids: str) -> None:
        """Take what a site said about its keys: ids, comma separated."""
        held = set(key_ids.split(","))
        # One that takes none of ours gets the first, and refuses it by name.
        self._told[site_id] = next((s for key_id, s in self._signers.items() if key_id in held), self._first)

    def of(self, site_id: str) -> Signer:
        """Return the signer for a site: the last one for a site that never told its keys, for it was told no other."""
        return self._told.get(site_id, self._last)
