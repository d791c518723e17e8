"""Pooled HTTP connections to SendGrid, on an event loop in its own thread.

The loop keeps running between calls, so that a connection closed by the server while idle is detected before
an email is written to it.
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
_BODY_TIMEOUT: Final = 5.0  # seconds for the body of an error; its status is already known
_CLOSE_TIMEOUT: Final = 2.0  # seconds for running calls when closing


class _SecretHeader(str):
    """A header value that is hidden in repr, and so in the locals of a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"

    def __reduce__(self) -> Any:
        raise TypeError("an API key must not be pickled")


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop event loop, or asyncio's own on Windows."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The connection to Mail Send at *url*. Timeouts are in seconds; *ssl_context* verifies certificates."""

    url: URL
    connect_timeout: float
    read_timeout: float
    total_timeout: float
    max_concurrency: int
    ssl_context: SSLContext | None = None
    observe: Callable[[str], None] | None = None


class _RequestBody(aiohttp.Payload):
    """The body of a request. *started* is True once any byte of the request may have been sent."""

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
        """Write the whole body; aiohttp sends the headers together with the first chunk."""
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
    """A running client. Other threads may call only `submit` and `close`.

    *rate_limit* and *in_flight* (running calls) belong to the loop and are shared by all batches.
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
        """Close connections, wait briefly for running calls to return, and stop the thread."""
        self.submit(self._close_session()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def has_capacity(self) -> bool:
        """Return whether one more call may start now."""
        return self.in_flight < self._config.max_concurrency and self.rate_limit.has_capacity(self.in_flight)

    def finish_call(self) -> None:
        """Count a call as completed and wake the current waiters, but not later ones."""
        self.in_flight -= 1
        self.completed.set()
        self.completed.clear()

    async def post(self, content: bytes) -> HttpResponse | NotSent | Unknown:
        """Post *content*. Once the status has arrived it decides, even if the body never completes."""
        body = _RequestBody(content, self._config.observe)
        try:
            response = await self._session.post(self._config.url, data=body, allow_redirects=False)
        except Exception as error:  # noqa: BLE001 - for any error, only one thing matters: was anything sent?
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
        """Get *path*; read at most *max_bytes* of the body."""
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
            self._loop.run_until_complete(asyncio.sleep(0))  # let results reach the threads that wait for them
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
    """Read the proxy from HTTPS_PROXY and NO_PROXY once.

    aiohttp's `trust_env` would read them on every call, and ~/.netrc too, whose login would conflict with the
    API key.
    """
    if url.scheme != "https" or proxy_bypass(url.host or ""):
        return None
    return getproxies().get("https")
