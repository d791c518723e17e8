"""Pooled HTTP connections to the API of a provider, on an event loop in its own thread.

The loop keeps running between calls, so that a connection closed by the server while idle is detected before
an email is written to it.
"""

import asyncio
import os
import re
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext
from threading import Lock, Thread
from typing import Any, Final, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from pydantic import SecretStr
from yarl import URL

from nurture.domain.delivery.receipts import NotSent, Unknown
from nurture.errors import Misconfigured
from nurture.mail.providers.http_errors import receipt_after_send, receipt_before_send
from nurture.mail.providers.rate_limit import RateLimit

T = TypeVar("T")

_KEEPALIVE_SECONDS: Final = 15.0  # seconds; shorter than the idle time-outs of gateways
_DNS_CACHE_SECONDS: Final = 60  # seconds that a DNS answer is kept
_WRITE_CHUNK_BYTES: Final = 65_536
_MAX_BODY_BYTES: Final = 65_536
_BODY_TIMEOUT: Final = 5.0  # seconds for the body of an error; its status is already known
_HEADER_SAFE: Final = re.compile(r"[\x21-\x7e]++")
_CLOSE_TIMEOUT: Final = 2.0  # seconds for running calls when closing

CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f]")


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
class HttpResponse:
    """An HTTP response; *body* is b"" if it was not needed or did not arrive."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> Any:
        """Return the body as JSON, None if it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """The API of *provider* at *url*, which the setting *url_variable* names.

    Every request has the header *auth_header* with the value *credential*. At most *max_concurrency* requests run in
    parallel. Timeouts are seconds per request; *total_timeout* must be below the caller's lease. *ssl_context*
    verifies certificates, by default with the system's. *observe* is called with "bytes sent" and "response read",
    from another thread. Proxies come from HTTPS_PROXY and NO_PROXY.
    """

    provider: str
    url: URL
    url_variable: str
    auth_header: str
    credential: SecretStr
    max_concurrency: int
    connect_timeout: float = 5.0
    read_timeout: float = 20.0
    total_timeout: float = 25.0
    ssl_context: SSLContext | None = None
    observe: Callable[[str], None] | None = None


def parse_api_url(url: str, variable: str) -> URL:
    """Return the base URL of an API. Raises Misconfigured, naming *variable*, without the value."""
    try:
        parsed = URL(url.rstrip("/"))
    except ValueError:
        parsed = URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.user or parsed.password:
        raise Misconfigured(f"{variable} must be a URL such as https://api.example.com. Correct it.")
    return parsed


def require_header_value(secret: SecretStr, variable: str) -> SecretStr:
    """Return *secret* without surrounding white space. Raises Misconfigured if it cannot be sent in a header."""
    stripped = SecretStr(secret.get_secret_value().strip())
    if not _HEADER_SAFE.fullmatch(stripped.get_secret_value()):
        raise Misconfigured(f"{variable} is empty, or contains spaces or line breaks. Copy it again.")
    return stripped


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

    def __init__(self, config: ClientConfig) -> None:
        self.rate_limit = RateLimit()
        self.in_flight = 0
        self.completed = asyncio.Event()
        self.process_id = os.getpid()
        self._config = config
        self._loop = _new_event_loop()
        self._thread = Thread(target=self._run_loop, name=config.provider, daemon=True)
        self._thread.start()
        self._session = self.submit(self._open_session()).result()

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

    async def post(self, url: URL, content: bytes, max_bytes: int = 0) -> HttpResponse | NotSent | Unknown:
        """Post *content*; read at most *max_bytes* of the body of a success.

        Once the status has arrived it decides, even if the body never completes.
        """
        body = _RequestBody(content, self._config.observe)
        try:
            response = await self._session.post(url, data=body, allow_redirects=False)
        except Exception as error:  # noqa: BLE001 - for any error, only one thing matters: was anything sent?
            return receipt_after_send(error, self._config.provider) if body.started else self._not_sent(error)
        try:
            limit = max_bytes if response.status in (200, 202) else _MAX_BODY_BYTES
            content_bytes = await _read_body(response, limit) if limit else b""
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
            return self._not_sent(error)

    def _not_sent(self, error: Exception) -> NotSent:
        return receipt_before_send(error, self._config.url.host or "", self._config.url_variable)

    async def _open_session(self) -> aiohttp.ClientSession:
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
                config.auth_header: _SecretHeader(config.credential.get_secret_value()),
                "Content-Type": "application/json",
                "Accept": "application/json",
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


class LazyClient:
    """A client that is opened when it is first used, and again after `close` or a fork. Thread-safe."""

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._client: HttpClient | None = None
        self._lock = Lock()

    def __reduce__(self) -> Any:
        raise TypeError("a client holds a key and connections, and cannot be pickled")

    def run(self, work: Callable[[HttpClient], Coroutine[Any, Any, T]]) -> T:
        """Run *work* on the loop of the client, and return its result."""
        with self._lock:
            if self._client is None or self._client.process_id != os.getpid():  # threads do not survive a fork
                self._client = HttpClient(self.config)
            future = self._client.submit(work(self._client))
        try:
            return future.result()
        except BaseException:  # Ctrl-C: start nothing more
            future.cancel()
            raise

    def close(self) -> None:
        """Close connections. May be called twice; a later `run` opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and client.process_id == os.getpid():
            client.close()


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
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


class InvalidPayload(ValueError):
    """The provider would always refuse this email. The message says why, without personal data."""


def encode_json(request: object, provider: str, max_bytes: int) -> bytes:
    """Encode *request* as JSON that is shorter than *max_bytes*, the limit of *provider*. Raises InvalidPayload."""
    try:
        encoded = orjson.dumps(request)
    except TypeError as error:  # JSONEncodeError is a TypeError: a lone surrogate
        raise InvalidPayload("the email contains invalid characters and cannot be encoded as JSON") from error
    if len(encoded) >= max_bytes:
        size, limit = len(encoded) // 1_000_000, max_bytes // 1_000_000
        raise InvalidPayload(f"the email has {size} MB; {provider}'s limit is {limit} MB")
    return encoded
