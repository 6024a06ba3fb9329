"""One operator's OpenADR 3 VTN over HTTPS: tokens, lists in pages, what we send; limits on all that comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from markets.openadr.mapping import number
from markets.openadr.operators import ConfigurationInvalid, Ven3Config, require_tls_address
from markets.openadr.ven3.reading import Unreadable, document, objects
from markets.openadr.ven_session import MessageRefused, VtnUnreachable

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES: Final = 4_000_000
MAX_OBJECTS: Final = 20_000
PAGE: Final = 50
"""What the protocol lets be asked for at once."""
TOKEN_S: Final = 300.0
"""How long a token is taken to hold that does not say [s]."""
RENEWED_AT: Final = 0.8
"""Share of a token's life after which a new one is had."""


class RequestRefused(Exception):
    """The VTN refused what was asked or sent (4xx); trying again would change nothing."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(f"HTTP status {status}: {title}")
        self.status = status
        self.title = title


class Ven3Client:
    """A VEN's session: what it reads is lenient, what it sends is as the specification has it.

    ``programs`` and ``events`` hold what was listed last, by id; ``ven_id`` our own object's id.
    """

    def __init__(self, config: Ven3Config, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """``now_s`` is a clock that never goes back [s]."""
        self.config = config
        self.version = config.version
        self.ven_name = config.ven_name
        self.ven_id = ""
        self.programs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.registered = asyncio.Event()
        """Set once a list was read; services wait for it."""
        self.tokens_fetched = 0
        self._now_s = now_s
        self._token = ""
        self._token_until_s = 0.0
        self._token_url = config.token_url
        self._token_lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def listed(self, plural: str, **query: str) -> list[dict[str, Any]]:
        """Return all objects of a kind, page by page.

        A page that brings nothing new is the last: so a VTN that knows no pages and one with shorter
        pages than were asked for both give all they have.
        """
        found: dict[str, dict[str, Any]] = {}
        while True:
            page = await self._call("GET", plural, {**query, "skip": str(len(found)), "limit": str(PAGE)})
            rows = self._objects(page)
            before = len(found)
            for row in rows:
                found.setdefault(str(row.get("id")), row)
            if len(found) == before:
                return list(found.values())
            if len(found) > MAX_OBJECTS:
                raise MessageRefused("list_too_long", f"more than {MAX_OBJECTS} {plural}", b"")

    async def one(self, plural: str, object_id: str) -> dict[str, Any] | None:
        """Return one object; None when the VTN has none of that id for us."""
        try:
            rows = self._objects(await self._call("GET", f"{plural}/{quote(object_id, safe='')}"))
        except RequestRefused as refused:
            if refused.status == 404:
                return None
            raise
        return rows[0] if rows else None

    async def create(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object and return it as the VTN has it; raises RequestRefused, VtnUnreachable."""
        rows = self._objects(await self._call("POST", plural, body=body))
        return rows[0] if rows else {}

    async def update(self, plural: str, object_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Replace an object; otherwise as ``create``."""
        rows = self._objects(await self._call("PUT", f"{plural}/{quote(object_id, safe='')}", body=body))
        return rows[0] if rows else {}

    async def remove(self, plural: str, object_id: str) -> None:
        """Delete an object; raises RequestRefused, VtnUnreachable."""
        await self._call("DELETE", f"{plural}/{quote(object_id, safe='')}")

    async def get(self, path: str) -> Any:
        """Return what stands at an address that is no list, such as ``notifiers``."""
        return await self._call("GET", path)

    def _objects(self, value: Any) -> list[dict[str, Any]]:
        try:
            return objects(value)
        except Unreadable as error:
            raise MessageRefused("answer_unreadable", str(error), json.dumps(value)[:65_536].encode()) from None

    async def _call(
        self, method: str, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> Any:
        for attempt in (1, 2):
            token = await self._bearer()
            headers = {"Authorization": f"Bearer {token}"}
            data = None
            if body is not None:
                headers["Content-Type"] = "application/json"
                data = json.dumps(body, allow_nan=False).encode()
            status, content = await self._exchange(
                method, f"{self.config.url}/{path}", headers, params=query, data=data
            )
            if status == 401 and attempt == 1:
                # Ended before its time, or the VTN was set up anew.
                if self._token == token:
                    self._token = ""
                continue
            break
        if status == 429 or status >= 500 or status == 401 or 300 <= status < 400:
            raise VtnUnreachable(f"{method} {path}: HTTP status {status}")
        if status >= 400:
            raise RequestRefused(status, _title(content))
        return self._read(content) if content.strip() else []

    async def _bearer(self) -> str:
        async with self._token_lock:
            if self._token and self._now_s() < self._token_until_s:
                return self._token
            if not self._token_url:
                self._token_url = await self._discovered()
            form = {
                "grant_type": "client_credentials",
                "client_id": self.config.client_id,
                "client_secret": self.config.client_secret,
            } | ({"scope": self.config.scope} if self.config.scope else {})
            status, content = await self._exchange("POST", self._token_url, {}, data=form)
            if status != 200:
                # A discovered address may be a former one.
                self._token_url = self.config.token_url
                raise VtnUnreachable(f"token: HTTP status {status}: {_title(content)}")
            held = self._read(content)
            token = held.get("access_token") if isinstance(held, dict) else None
            if not isinstance(token, str) or not 1 <= len(token) <= 16_384 or not token.isascii() or " " in token:
                raise MessageRefused("token_unreadable", "no access_token that can be sent", b"")
            lasts_s = number(held.get("expires_in"))
            lasts_s = lasts_s if lasts_s is not None and 0.0 < lasts_s <= 86_400.0 else TOKEN_S
            self._token, self._token_until_s = token, self._now_s() + lasts_s * RENEWED_AT
            self.tokens_fetched += 1
            return token

    async def _discovered(self) -> str:
        status, content = await self._exchange("GET", f"{self.config.url}/auth/server", {})
        held = self._read(content) if status == 200 else None
        url = held.get("tokenURL") if isinstance(held, dict) else None
        if not isinstance(url, str) or not url:
            raise VtnUnreachable(f"auth/server: HTTP status {status}, and no tokenURL")
        try:
            # The secret goes there.
            require_tls_address("tokenURL", url)
        except ConfigurationInvalid as error:
            raise MessageRefused("token_url_refused", str(error), content) from None
        return url

    def _read(self, content: bytes) -> Any:
        try:
            return document(content)
        except Unreadable as error:
            raise MessageRefused("answer_unreadable", str(error), content) from None

    async def _exchange(self, method: str, url: str, headers: dict[str, str], **more: Any) -> tuple[int, bytes]:
        if self._session is None:
            self._session = self._opened()
        try:
            # A redirect would carry token or secret to where nobody agreed to.
            async with self._session.request(method, url, headers=headers, allow_redirects=False, **more) as answer:
                if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise MessageRefused("content_encoding_refused", answer.headers["Content-Encoding"][:40], b"")
                content = bytearray()
                async for chunk in answer.content.iter_chunked(65_536):
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        answer.close()
                        raise MessageRefused(
                            "message_too_large", f"more than {MAX_ANSWER_BYTES} bytes", bytes(content[:65_536])
                        )
                return answer.status, bytes(content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise VtnUnreachable(f"{method} {url}: {type(error).__name__}: {str(error)[:200]}") from None

    def _opened(self) -> aiohttp.ClientSession:
        context: ssl.SSLContext | bool = True
        if self.config.url.startswith("https:"):
            context = ssl.create_default_context(cafile=self.config.ca or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.config.cert:
                context.load_cert_chain(self.config.cert, self.config.key)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=4),
            timeout=aiohttp.ClientTimeout(total=30, sock_connect=5, sock_read=15),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "open-vpp"},
            # What is packed could be a thousand times as large.
            auto_decompress=False,
        )


def _title(content: bytes) -> str:
    try:
        held = json.loads(content)
    except (ValueError, RecursionError):
        return content[:200].decode(errors="replace")
    if not isinstance(held, dict):
        return str(held)[:200]
    return ": ".join(
        str(held[name])[:200] for name in ("title", "detail", "error", "error_description") if name in held
    )
