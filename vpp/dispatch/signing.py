"""Which of our keys seals what goes to a site: the first that the site takes, while a key is replaced."""

from __future__ import annotations

from collections.abc import Sequence

from sites.wire.signature import Signer


class Signers:
    """One signer for each of our keys, in their order, and which keys the sites said they take."""

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self._signers = {signer.key_id.hex(): signer for signer in map(Signer, seeds)}
        self._first = next(iter(self._signers.values()))
        self._taken: dict[str, Signer] = {}
        """The signer of each site that does not get the first."""

    @property
    def is_replacing(self) -> bool:
        """Tell whether there is more than one key: one is to come, or to go."""
        return len(self._signers) > 1

    def note(self, site_id: str, key_ids: str) -> None:
        """Take what a site said about its keys: ids, comma separated."""
        held = set(key_ids.split(","))
        signer = next((signer for key_id, signer in self._signers.items() if key_id in held), self._first)
        if signer is self._first:
            self._taken.pop(site_id, None)
        else:
            self._taken[site_id] = signer

    def of(self, site_id: str) -> Signer:
        """Return the signer for a site; the first for one that takes none of our keys, and refuses it by name."""
        return self._taken.get(site_id, self._first)
