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

from nurture.mail.providers.base import InDoubt, NotSent
from nurture.mail.providers.sendgrid.rate_limit import Pace
from nurture.mail.providers.sendgrid.responses import Answer, in_doubt, not_sent

T = TypeVar("T")

_IDLE: Final = 15.0  # seconds; shorter than the idle time-outs of gateways
_NAMES_KEPT: Final = 60  # seconds that a DNS answer is kept
_PIECE: Final = 65_536
_LONGEST_ANSWER: Final = 65_536
_ANSWER_WAIT: Final = 5.0  # seconds for the words of a refusal; its status is known already
_LAST_WAIT: Final = 2.0  # seconds at closing


class _Hidden(str):
    """A text that only the socket gets to see: no repr, and so no traceback's locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not to be stored")


def _quick_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop: libuv's where there is one, which is on every system but Windows."""
    try:
        import uvloop  # noqa: PLC0415 - absent on Windows
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@dataclass(frozen=True, slots=True)
class Dial:
    """How to reach Mail Send at *url*. Times are seconds; *context* checks certificates, None as usual."""

    url: URL
    connect: float
    read: float
    total: float
    at_once: int
    context: SSLContext | None = None
    observe: Callable[[str], None] | None = None


class _Body(aiohttp.Payload):
    """A request's bytes. *begun* says whether any of it, or of the headers before it, may have left."""

    def __init__(self, value: bytes, observe: Callable[[str], None] | None) -> None:
        super().__init__(value, content_type="application/json")
        self._bytes = value
        self._size = len(value)
        self._observe = observe
        self.begun = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._bytes.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        """Write everything; aiohttp sends its headers together with the first piece."""
        transport = getattr(writer, "transport", None)
        if transport is None or transport.is_closing():
            raise ConnectionResetError("closed before the first byte")
        self.begun = True
        if len(self._bytes) <= _PIECE:
            await writer.write(self._bytes)
        else:
            whole = memoryview(self._bytes)
            for start in range(0, len(whole), _PIECE):
                await writer.write(whole[start : start + _PIECE])
        if self._observe is not None:
            self._observe("bytes sent")


class Line:
    """An open line. Only `submit` and `close` may be called from other threads than its own.

    *pace* and *flying* (calls that are out) belong to the loop, and are shared by all who use the line.
    """

    def __init__(self, dial: Dial, key: SecretStr) -> None:
        self.pace = Pace()
        self.flying = 0
        self.landed = asyncio.Event()
        self.process_id = os.getpid()
        self._dial = dial
        self._loop = _quick_loop()
        self._thread = Thread(target=self._turn, name="sendgrid", daemon=True)
        self._thread.start()
        self._session = self.submit(self._open(key)).result()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run *work* on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Close connections, let running work tell how it ended, and end the thread."""
        self.submit(self._end()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def has_room(self) -> bool:
        """Say whether one more call may start now."""
        return self.flying < self._dial.at_once and self.pace.has_room(self.flying)

    def land(self) -> None:
        """Count a call as back, and wake those who wait for it; whoever begins to wait later waits on."""
        self.flying -= 1
        self.landed.set()
        self.landed.clear()

    async def call(self, content: bytes) -> Answer | NotSent | InDoubt:
        """Post *content*. The status counts as soon as it is there, however long the rest takes."""
        body = _Body(content, self._dial.observe)
        try:
            response = await self._session.post(self._dial.url, data=body, allow_redirects=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, one question counts: did anything leave?
            return in_doubt(error) if body.begun else not_sent(error, self._dial.url.host or "")
        try:
            told = b"" if response.status in (200, 202) else await _told(response)
        finally:
            response.release()
        if self._dial.observe is not None:
            self._dial.observe("response read")
        return Answer(response.status, response.headers, told)

    async def get(self, path: str, most: int) -> Answer | NotSent:
        """Read what lies at *path*, *most* bytes of it."""
        try:
            async with self._session.get(self._dial.url.join(URL(path)), allow_redirects=False) as response:
                return Answer(response.status, response.headers, await _told(response, most))
        except (aiohttp.ClientError, OSError) as error:
            return not_sent(error, self._dial.url.host or "")

    async def _open(self, key: SecretStr) -> aiohttp.ClientSession:
        dial = self._dial
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=dial.at_once,
                keepalive_timeout=_IDLE,
                ttl_dns_cache=_NAMES_KEPT,
                ssl=dial.context if dial.context is not None else True,
            ),
            timeout=aiohttp.ClientTimeout(
                total=dial.total, connect=dial.connect, sock_connect=dial.connect, sock_read=dial.read
            ),
            headers={
                "Authorization": _Hidden(f"Bearer {key.get_secret_value()}"),
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "nurture",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_proxy(dial.url),
        )

    async def _end(self) -> None:
        await self._session.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, late = await asyncio.wait(others, timeout=_LAST_WAIT)
            for task in late:
                task.cancel()

    def _turn(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(asyncio.sleep(0))  # let those that wait in other threads hear
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


async def _told(response: aiohttp.ClientResponse, most: int = _LONGEST_ANSWER) -> bytes:
    told = bytearray()
    with suppress(aiohttp.ClientError, OSError):  # a TimeoutError is an OSError
        async with asyncio.timeout(_ANSWER_WAIT):
            async for piece in response.content.iter_any():
                told += piece
                if len(told) >= most:
                    break
    return bytes(told)


def _proxy(url: URL) -> str | None:
    """Read the proxy from HTTPS_PROXY and NO_PROXY, once.

    Not by aiohttp's `trust_env`: that reads them at every call, and ~/.netrc as well, whose login would fight
    with the key.
    """
    if url.scheme != "https" or proxy_bypass(url.host or ""):
        return None
    return getproxies().get("https")
