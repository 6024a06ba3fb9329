"""Replace the keys that sign what goes to sites: make one, announce ours to all sites, see who takes which."""

from __future__ import annotations

import getpass
import os
import secrets
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from sites.core.key_ring import MAX_LIFE
from sites.wire.signature import KEY_BYTES, key_id_of, public_key_of
from vpp.dispatch import keys
from vpp.dispatch.signing import our_seeds

SHOWN: Final = 20
"""So many sites are named by the status."""


class Command(BaseCommand):
    """``manage.py signing_keys status | new FILE | announce --authority FILE``; the journey stands in docs/fleet.md."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Name what to do."""
        doing = parser.add_subparsers(dest="doing", required=True)
        doing.add_parser("status", help="who takes which keys")
        new = doing.add_parser("new", help="write a new seed (mode 0600), for VPP_SIGNING_KEY or for the authority")
        new.add_argument("file", type=Path)
        announce = doing.add_parser("announce", help="announce the keys of VPP_SIGNING_KEY in place of all others")
        announce.add_argument("--authority", type=Path, required=True, help="file with the key authority's seed")
        announce.add_argument("--days", type=float, default=7.0, help="how long sites may take it, up to 90")
        announce.add_argument("--by", default="", help="in whose name; the account's by default")
        announce.add_argument("--force", action="store_true", help="also when sites may be left behind")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, now."""
        getattr(self, f"_{options['doing']}")(options)

    def _new(self, options: dict[str, Any]) -> None:
        seed = secrets.token_bytes(KEY_BYTES)
        try:
            # Created with its mode, never over another: a key that is gone cannot be had back.
            file = os.open(options["file"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}, accepted: a new file") from None
        with os.fdopen(file, "w") as opened:
            opened.write(seed.hex() + "\n")
        public_key = public_key_of(seed)
        self.stdout.write(f"{key_id_of(public_key).hex()}: seed in {options['file']}, public key {public_key.hex()}")

    def _announce(self, options: dict[str, Any]) -> None:
        lives = timedelta(days=options["days"])
        if not timedelta(0) < lives <= MAX_LIFE:
            raise CommandError(f"--days is {options['days']:g}, accepted: more than 0, up to {MAX_LIFE.days}")
        try:
            row = keys.announce_keys(
                authority=_seed(options["authority"]),
                seeds=our_seeds(),
                lives=lives,
                by=options["by"] or getpass.getuser(),
                at=timezone.now(),
                is_forced=options["force"],
            )
        except keys.AnnouncementRefused as error:
            raise CommandError(str(error)) from None
        taken = ", ".join(key_id_of(bytes.fromhex(key)).hex() for key in row.keys.split(","))
        self.stdout.write(f"generation {row.generation}: {taken}; withdrawn: {row.withdrawn or 'none'}")

    def _status(self, options: dict[str, Any]) -> None:
        ours = [key_id_of(public_key_of(seed)).hex() for seed in our_seeds()]
        found = keys.key_standing()
        for key_id in dict.fromkeys([*ours, *sorted(filter(None, found.sites_by_key))]):
            place = f"ours, number {ours.index(key_id) + 1}" if key_id in ours else "not ours"
            self.stdout.write(f"{key_id} ({place}): taken by {found.sites_by_key[key_id]} sites")
        if found.announcement is not None:
            self.stdout.write(
                f"generation {found.announcement.generation} of {found.announcement.announced_at:%Y-%m-%d %H:%M}Z by "
                f"{found.announcement.announced_by}, to be taken until {found.announcement.expires_at:%Y-%m-%d %H:%M}Z"
            )
        for what, sites in (("behind", found.behind), ("never told their keys", found.silent)):
            named = ", ".join(
                f"{site} ({found.refusals[site]})" if site in found.refusals else site for site in sites[:SHOWN]
            )
            more = f" and {len(sites) - SHOWN} more" if len(sites) > SHOWN else ""
            self.stdout.write(f"{what}: {len(sites)} sites{': ' if sites else ''}{named}{more}")


def _seed(path: Path) -> bytes:
    """Read a seed that only its owner may read."""
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
        seed = bytes.fromhex(text)
    except (OSError, ValueError):
        raise CommandError(f"{path} cannot be read, accepted: a file that `signing_keys new` wrote") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CommandError(f"{path} has mode {stat.S_IMODE(mode):o}, accepted: readable by its owner alone (600)")
    if len(seed) != KEY_BYTES:
        raise CommandError(f"{path} holds {len(seed)} bytes, accepted: {KEY_BYTES}, hexadecimal")
    return seed
