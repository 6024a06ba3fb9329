"""The TLS context of a connection: the broker's name is checked, a renewed certificate is taken up."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable
from pathlib import Path

from sites.core.certificates import CertificateError, read_certificate
from sites.mqtt.address import TlsFiles


class TlsContext:
    """One context whose certificate is read again when its file has changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._loaded: tuple[tuple[int, int], ...] = ()
        self._own_ends_s = math.inf
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
            self._own_ends_s = _end_of(files.cert)
        self._loaded = stamps

    def ends_s(self, connected: object) -> float:
        """Return when our certificate or the broker's ends, whichever is first [s since the epoch]."""
        told = connected.getpeercert() if isinstance(connected, ssl.SSLSocket) else None
        brokers = str(told.get("notAfter", "")) if told else ""
        return min(self._own_ends_s, ssl.cert_time_to_seconds(brokers) if brokers else math.inf)


def _end_of(path: Path) -> float:
    """Return when a certificate ends [s since the epoch]; without end when it cannot be told."""
    try:
        return read_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, CertificateError):
        return math.inf


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
