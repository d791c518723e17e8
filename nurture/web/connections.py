"""Connections of clients: hang up on slow ones, and keep slots free for whoever comes next."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from ipaddress import ip_network
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from nurture.web.throttling import client_key

HEADER_TIMEOUT: Final = 15.0
"""How long the head of a request may take to come in, and an answer to be taken."""

MAX_DISCARDED_BYTES: Final = 256 * 1024
"""Bytes of a body that still come in after its request was answered."""

_MAX_CONNECTIONS: Final = 4_096
_RESERVED_FILES: Final = 128  # the database, Python's own, the log
_MIN_CONNECTIONS: Final = 64


def connection_capacity() -> int:
    """Return how many connections this process can hold; let it open as many files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_CONNECTIONS + _RESERVED_FILES
    file_limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < file_limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit, hard))
    return max(file_limit - _RESERVED_FILES, _MIN_CONNECTIONS)


class ConnectionSlots:
    """Who is connected. Whoever comes is let in, and one that is only waited for makes room.

    It is the oldest one of the address that has most of them: so who keeps many connections open loses
    those. An address may have half of all slots; a trusted proxy, behind which many clients stand, all.
    """

    def __init__(self, max_connections: int, trusted: Sequence[str] = ()) -> None:
        self._max_connections = max_connections
        self._trusted = [ip_network(one, strict=False) for one in trusted]
        self._connected: dict[str, dict[TimeLimitedProtocol, None]] = {}
        self._count = 0

    def add(self, connection: TimeLimitedProtocol) -> None:
        """Let a connection in."""
        connections = self._connected.setdefault(connection.address, {})
        connections[connection] = None
        self._count += 1
        if len(connections) > self._max_connections // 2 and not self._is_trusted(connection.address):
            self._evict_one(connections)
        elif self._count > self._max_connections:
            self._evict_one(max(self._connected.values(), key=len))

    def remove(self, connection: TimeLimitedProtocol) -> None:
        """Forget a connection that has ended, or is about to."""
        connections = self._connected.get(connection.address, {})
        if connection in connections:
            del connections[connection]
            self._count -= 1
            if not connections:
                del self._connected[connection.address]

    def _evict_one(self, connections: dict[TimeLimitedProtocol, None]) -> None:
        connection = next((each for each in connections if each.is_waiting_for_request), next(reversed(connections)))
        self.remove(connection)
        connection.transport.abort()

    def _is_trusted(self, address: str) -> bool:
        try:
            network = ip_network(address)
        except ValueError:
            return False
        return any(one.version == network.version and one.overlaps(network) for one in self._trusted)


class TimeLimitedProtocol(H11Protocol):
    """Hangs up on who does not bring the head of a request in time, or does not take its answer.

    What comes of a body after the answer is passed over for a while, so that the client can read why. The
    gate has a time for bodies that are waited for.
    """

    header_timeout: ClassVar[float] = HEADER_TIMEOUT
    slots: ClassVar[ConnectionSlots]
    address = ""
    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _discarded_bytes = 0

    @property
    def is_waiting_for_request(self) -> bool:
        """Whether the connection is idle, or its request is not all there."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the connection a slot."""
        super().connection_made(transport)
        self.address = client_key(self.client[0] if self.client else None)
        self.slots.add(self)
        self._update_header_timer()

    def data_received(self, data: bytes) -> None:
        """Read on, but not much of what nobody waits for."""
        self._discarded_bytes += len(data) if self._is_response_sent else -self._discarded_bytes
        if self._discarded_bytes > MAX_DISCARDED_BYTES:
            self.transport.abort()
            return
        super().data_received(data)
        self._update_header_timer()

    def on_response_complete(self) -> None:
        """Give the rest of the body its time."""
        super().on_response_complete()
        self._update_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the slot back."""
        self.slots.remove(self)
        super().connection_lost(exc)
        self._cancel_header_timer()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Give the client its time to take the answer."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.header_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client takes the answer."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    @property
    def _is_response_sent(self) -> bool:
        """Whether the answer is out while the body still comes in."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _update_header_timer(self) -> None:
        if self.conn.their_state is not h11.IDLE and not self._is_response_sent:
            self._cancel_header_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_timeout, self.transport.close)

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
