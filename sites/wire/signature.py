"""Ed25519 envelopes: who said exactly these bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sites.wire.errors import KeyWithdrawn, SignatureInvalid

MAGIC: Final = b"VPA1"
SIGNAL_MAGIC: Final = b"VPS1"
"""Of a stream's signal: a signature over one kind of body is none over another."""
KEYS_MAGIC: Final = b"VPK1"
"""Of an announcement of keys: the key authority signs nothing else, and no other key signs that."""
KEY_ID_BYTES: Final = 8
SIGNATURE_BYTES: Final = 64
KEY_BYTES: Final = 32
HEADER_BYTES: Final = len(MAGIC) + KEY_ID_BYTES + SIGNATURE_BYTES


def public_key_of(seed: bytes) -> bytes:
    """Return the public half (32 bytes) of an Ed25519 seed (32 bytes)."""
    return _private(seed).public_key().public_bytes_raw()


def key_id_of(public_key: bytes) -> bytes:
    """Return what an envelope names its key by: the first 8 bytes of the key's SHA-256."""
    return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]


class Signer:
    """Seals bodies with one key, which is read once: sealing costs a signature and nothing else."""

    def __init__(self, private_seed: bytes, *, magic: bytes = MAGIC) -> None:
        """Take an Ed25519 seed (32 bytes); raise SignatureInvalid for another length."""
        self._private = _private(private_seed)
        self._head = magic + key_id_of(self._private.public_key().public_bytes_raw())

    @property
    def key_id(self) -> bytes:
        """What its envelopes name the key by."""
        return key_id_in(self._head)

    def seal(self, body: bytes) -> bytes:
        """Return ``MAGIC + key id + signature + body``.

        The signature covers magic and key id too, so that neither a later envelope version nor another
        key's name can be put in front of a signed body. Protobuf bytes are not canonical, hence the
        exact body travels inside.
        """
        return self._head + self._private.sign(self._head + body) + body


class KeyRing(Collection[bytes]):
    """Public keys whose envelopes are taken, and ids of those that no longer are. Changes in place for its holders."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = tuple(keys)
        self.withdrawn: frozenset[bytes] = frozenset()

    def replace(self, keys: Iterable[bytes], *, withdrawn: Iterable[bytes]) -> None:
        """Take other keys in place of all; what is taken again is not withdrawn."""
        self._keys = tuple(keys)
        self.withdrawn = frozenset(withdrawn) - self.ids

    @property
    def ids(self) -> frozenset[bytes]:
        """Ids of the keys that are taken."""
        return frozenset(map(key_id_of, self._keys))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys


def key_id_in(envelope: bytes) -> bytes:
    """Return the id of the key that an envelope says it is signed by."""
    return envelope[len(MAGIC) : len(MAGIC) + KEY_ID_BYTES]


def seal(body: bytes, private_seed: bytes) -> bytes:
    """Return one body sealed with a key, as ``Signer.seal`` does."""
    return Signer(private_seed).seal(body)


def open_envelope(envelope: bytes, public_keys: Iterable[bytes], *, magic: bytes = MAGIC) -> bytes:
    """Return the body of an envelope signed by one of the given keys (several while a key is replaced).

    Raises KeyWithdrawn for a key that a ring no longer takes, SignatureInvalid naming what else was wrong.
    """
    if len(envelope) < HEADER_BYTES:
        raise SignatureInvalid(f"envelope has {len(envelope)} bytes, accepted: at least {HEADER_BYTES}")
    if envelope[: len(MAGIC)] != magic:
        raise SignatureInvalid(f"envelope starts with {envelope[: len(MAGIC)]!r}, accepted: {magic!r}")
    head = envelope[: len(MAGIC) + KEY_ID_BYTES]
    key_id, signature, body = head[len(MAGIC) :], envelope[len(head) : HEADER_BYTES], envelope[HEADER_BYTES:]
    for public_key in public_keys:
        if key_id_of(public_key) != key_id:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, head + body)
        except (InvalidSignature, ValueError):
            raise SignatureInvalid(f"signature of key {key_id.hex()} does not fit the bytes") from None
        return body
    if isinstance(public_keys, KeyRing) and key_id in public_keys.withdrawn:
        raise KeyWithdrawn(f"key {key_id.hex()} was withdrawn")
    raise SignatureInvalid(f"key {key_id.hex()} is not known here")


def _private(seed: bytes) -> Ed25519PrivateKey:
    if len(seed) != KEY_BYTES:
        raise SignatureInvalid(f"seed has {len(seed)} bytes, accepted: {KEY_BYTES}")
    return Ed25519PrivateKey.from_private_bytes(seed)
