"""The TLS context of a connection: the broker's name is checked, a renewed certificate is taken up."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from sites.mqtt.address import TlsFiles


class TlsContext:
    """One context whose certificate is read again when its file has changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._loaded: tuple[tuple[int, int], ...] = ()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def refresh(self) -> None:
        """Read what has changed; raises OSError (ssl.SSLError for content) naming the file."""
        files = self._files
        stamps = tuple(_stamp(path) for path in (files.ca, files.cert, files.key) if path is not None)
        if stamps == self._loaded and self._loaded:
            return
        if files.ca is None:
            self.context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _told(files.ca, lambda path: self.context.load_verify_locations(cafile=path))
        if files.cert is not None:
            _told(files.cert, lambda path: self.context.load_cert_chain(path, files.key))
        self._loaded = stamps


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from None
    return found.st_ino, found.st_mtime_ns


def _told(path: Path, load: Callable[[Path], None]) -> None:
    try:
        load(path)
    except ssl.SSLError as error:
        raise OSError(error.errno, f"{path} or its key: {error.reason or error}") from None
    except OSError as error:
        raise OSError(error.errno, f"{path} or its key: {error.strerror}") from None
