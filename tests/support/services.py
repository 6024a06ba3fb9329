"""The one rule for tests that need a server from outside: skip with a reason, or fail where services are promised."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SERVICES_PROMISED = "VPP_REQUIRE_SERVICES"


def require_service(name: str, present: bool, how: str = "") -> None:
    """Go on when a service is present; else skip, or fail where ``VPP_REQUIRE_SERVICES=1`` promises it.

    ``how`` tells a person what to install.
    """
    if present:
        return
    hint = f" ({how})" if how else ""
    if os.environ.get(SERVICES_PROMISED) == "1":
        pytest.fail(f"{name} is not installed{hint}, but {SERVICES_PROMISED}=1 promises it", pytrace=False)
    pytest.skip(f"{name} is not installed{hint}")


def find_program(name: str, *folders: str | Path) -> Path | None:
    """Return a program's path from the given folders, the search path or Debian's sbin; None when absent."""
    places = [str(folder) for folder in folders]
    found = shutil.which(name, path=os.pathsep.join(places)) if places else None
    found = found or shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None
