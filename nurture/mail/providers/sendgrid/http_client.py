"""The line to SendGrid: pooled connections on an event loop in a thread of its own.

The loop runs between calls too, so that a connection which the other side closes while idle is noticed, and
no email is put on it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext
from threading import Thread
from typing import Any, Final, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from pydantic import SecretStr
from yarl import URL

from nurture.mail.providers.base import NotSent, Unknown
from nurture.mail.providers.sendgrid.rate_limit import RateLimit
from nurture.mail.providers.sendgrid.responses import HttpResponse, receipt_after_send, receipt_before_send

T = TypeVar("T")

_KEEPALIVE_SECONDS: Final = 15.0  # seconds; shorter than the idle time-outs of gateways
_DNS_CACHE_SECONDS: Final = 60  # seconds that a DNS answer is kept
_WRITE_CHUNK_BYTES: Final = 65_536
_MAX_BODY_BYTES: Final = 65_536
_BODY_TIMEOUT: Final = 5.0  # seconds for the words of a refusal; its status is known already
_CLOSE_TIMEOUT: Final = 2.0  # seconds at closing


class _SecretHeader(str):
    """A text that only the socket gets to see: no repr, and so no traceback's locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not to be stored")


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop: libuv's where there is one, which is on every system but Windows."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How to reach Mail Send at *url*. Times are seconds; *ssl_context* checks certificates."""

    url: URL
    connect_timeout: float
    read_timeout: float
    total_timeout: float
    max_concurrency: int
    ssl_context: SSLContext | None = None
    observe: Callable[[str], None] | None = None


class _RequestBody(aiohttp.Payload):
    """A request's bytes. *started* says whether any of it, or of the headers before it, may have left."""

    def __init__(self, value: bytes, observe: Callable[[str], None] | None) -> None:
        super().__init__(value, content_type="application/json")
        self._bytes = value
        self._size = len(value)
        self._observe = observe
        self.started = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._bytes.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        """Write everything; aiohttp sends its headers together with the first piece."""
        transport = getattr(writer, "transport", None)
        if transport is None or transport.is_closing():
            raise ConnectionResetError("closed before the first byte")
        self.started = True
        if len(self._bytes) <= _WRITE_CHUNK_BYTES:
            await writer.write(self._bytes)
        else:
            view = memoryview(self._bytes)
            for start in range(0, len(view), _WRITE_CHUNK_BYTES):
                await writer.write(view[start : start + _WRITE_CHUNK_BYTES])
        if self._observe is not None:
            self._observe("bytes sent")


class HttpClient:
    """An open line. Only `submit` and `close` may be called from other threads than its own.

    *rate_limit* and *in_flight* (calls that are out) belong to the loop, and are shared by all who use it.
    """

    def __init__(self, config: ClientConfig, key: SecretStr) -> None:
        self.rate_limit = RateLimit()
        self.in_flight = 0
        self.completed = asyncio.Event()
        self.process_id = os.getpid()
        self._config = config
        self._loop = _new_event_loop()
        self._thread = Thread(target=self._run_loop, name="sendgrid", daemon=True)
        self._thread.start()
        self._session = self.submit(self._open_session(key)).result()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run *coroutine* on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self) -> None:
        """Close connections, let running work tell how it ended, and end the thread."""
        self.submit(self._close_session()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def has_capacity(self) -> bool:
        """Say whether one more call may start now."""
        return self.in_flight < self._config.max_concurrency and self.rate_limit.has_capacity(self.in_flight)

    def finish_call(self) -> None:
        """Count a call as back, and wake those who wait for it; whoever begins to wait later waits on."""
        self.in_flight -= 1
        self.completed.set()
        self.completed.clear()

    async def post(self, content: bytes) -> HttpResponse | NotSent | Unknown:
        """Post *content*. The status counts as soon as it is there, however long the rest takes."""
        body = _RequestBody(content, self._config.observe)
        try:
            response = await self._session.post(self._config.url, data=body, allow_redirects=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, one question counts: did anything leave?
            return (
                receipt_after_send(error) if body.started else receipt_before_send(error, self._config.url.host or "")
            )
        try:
            content_bytes = b"" if response.status in (200, 202) else await _read_body(response)
        finally:
            response.release()
        if self._config.observe is not None:
            self._config.observe("response read")
        return HttpResponse(response.status, response.headers, content_bytes)

    async def get(self, path: str, max_bytes: int) -> HttpResponse | NotSent:
        """Read what lies at *path*, *max_bytes* of it."""
        try:
            async with self._session.get(self._config.url.join(URL(path)), allow_redirects=False) as response:
                return HttpResponse(response.status, response.headers, await _read_body(response, max_bytes))
        except (aiohttp.ClientError, OSError) as error:
            return receipt_before_send(error, self._config.url.host or "")

    async def _open_session(self, key: SecretStr) -> aiohttp.ClientSession:
        config = self._config
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=config.max_concurrency,
                keepalive_timeout=_KEEPALIVE_SECONDS,
                ttl_dns_cache=_DNS_CACHE_SECONDS,
                ssl=config.ssl_context if config.ssl_context is not None else True,
            ),
            timeout=aiohttp.ClientTimeout(
                total=config.total_timeout,
                connect=config.connect_timeout,
                sock_connect=config.connect_timeout,
                sock_read=config.read_timeout,
            ),
            headers={
                "Authorization": _SecretHeader(f"Bearer {key.get_secret_value()}"),
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "nurture",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_proxy(config.url),
        )

    async def _close_session(self) -> None:
        await self._session.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=_CLOSE_TIMEOUT)
            for task in pending:
                task.cancel()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(asyncio.sleep(0))  # let those that wait in other threads hear
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int = _MAX_BODY_BYTES) -> bytes:
    body = bytearray()
    with suppress(aiohttp.ClientError, OSError):  # a TimeoutError is an OSError
        async with asyncio.timeout(_BODY_TIMEOUT):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) >= max_bytes:
                    break
    return bytes(body)


def _proxy(url: URL) -> str | None:
    """Read the proxy from HTTPS_PROXY and NO_PROXY, once.

    Not by aiohttp's `trust_env`: that reads them at every call, and ~/.netrc as well, whose login would fight
    with the key.
    """
    if url.scheme != "https" or proxy_bypass(url.host or ""):
        return None
    return getproxies().get("https")
