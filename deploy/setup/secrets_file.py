"""Write an ignored .env with random secrets, once; add what a newer version needs, change nothing.

usage: python deploy/setup/secrets_file.py PATH
"""

import os
import secrets
import sys
from pathlib import Path

HEADER = "# Random secrets of this checkout, written by `make install`. Never commit this file.\n"


def missing_lines(present: str) -> list[str]:
    """Return the lines that a file lacks."""
    names = {line.partition("=")[0].strip() for line in present.splitlines() if "=" in line}
    wanted = {
        "VPP_SECRET_KEY": lambda: secrets.token_urlsafe(48),
        "VPP_SIGNING_KEY": lambda: secrets.token_hex(32),
    }
    return [f"{name}={make()}\n" for name, make in wanted.items() if name not in names]


def main(path: Path) -> None:
    """Complete the file in one rename, readable by its owner alone."""
    present = path.read_text() if path.exists() else HEADER
    added = missing_lines(present)
    if not added and path.exists():
        path.chmod(0o600)
        return
    if not present.endswith("\n"):
        present += "\n"
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(present + "".join(added))
    draft.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
