"""Limit client connections: close slow ones, and evict connections so that new clients get a slot."""

import asyncio
import resource
from collections.abc import Sequence
from ipaddress import ip_network
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from nurture.web.throttling import client_key

HEADER_TIMEOUT: Final = 15.0
"""Seconds that the head of a request may take to arrive, and a response to be received."""

MAX_DISCARDED_BYTES: Final = 256 * 1024
"""Bytes of a body that are read and discarded after its request was answered."""

_MAX_CONNECTIONS: Final = 4_096
_RESERVED_FILES: Final = 128  # for the database, Python and logs
_MIN_CONNECTIONS: Final = 64


def connection_capacity() -> int:
    """Raise the limit of open files as far as allowed, and return how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_CONNECTIONS + _RESERVED_FILES
    file_limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < file_limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit, hard))
    return max(file_limit - _RESERVED_FILES, _MIN_CONNECTIONS)


class ConnectionSlots:
    """The open connections. A new connection is always accepted; at the limit a waiting one is evicted.

    The evicted connection is the oldest of the address with the most connections, so a client that opens many
    loses its own. An address may use half of all slots; a trusted proxy, which serves many clients, all.
    """

    def __init__(self, max_connections: int, trusted: Sequence[str] = ()) -> None:
        self._max_connections = max_connections
        self._trusted = [ip_network(one, strict=False) for one in trusted]
        self._connected: dict[str, dict[TimeLimitedProtocol, None]] = {}
        self._count = 0

    def add(self, connection: "TimeLimitedProtocol") -> None:
        """Add a connection, and evict another one if a limit is exceeded."""
        connections = self._connected.setdefault(connection.address, {})
        connections[connection] = None
        self._count += 1
        if len(connections) > self._max_connections // 2 and not self._is_trusted(connection.address):
            self._evict_one(connections)
        elif self._count > self._max_connections:
            self._evict_one(max(self._connected.values(), key=len))

    def remove(self, connection: "TimeLimitedProtocol") -> None:
        """Remove a connection that has ended or is about to."""
        connections = self._connected.get(connection.address, {})
        if connection in connections:
            del connections[connection]
            self._count -= 1
            if not connections:
                del self._connected[connection.address]

    def _evict_one(self, connections: "dict[TimeLimitedProtocol, None]") -> None:
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
    """Closes a connection whose request head does not arrive in time, or whose client does not read the response.

    The rest of a body is discarded for a while after the response, so that the client can read the response.
    RequestLimits limits the time of bodies.
    """

    header_timeout: ClassVar[float] = HEADER_TIMEOUT
    slots: ClassVar[ConnectionSlots]
    address = ""
    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _discarded_bytes = 0

    @property
    def is_waiting_for_request(self) -> bool:
        """Whether the connection is idle or its request is incomplete."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a slot, and start the header timer."""
        super().connection_made(transport)
        self.address = client_key(self.client[0] if self.client else None)
        self.slots.add(self)
        self._update_header_timer()

    def data_received(self, data: bytes) -> None:
        """Process data; abort if too much arrives after the response."""
        self._discarded_bytes += len(data) if self._is_response_sent else -self._discarded_bytes
        if self._discarded_bytes > MAX_DISCARDED_BYTES:
            self.transport.abort()
            return
        super().data_received(data)
        self._update_header_timer()

    def on_response_complete(self) -> None:
        """Start the timer for the rest of the body."""
        super().on_response_complete()
        self._update_header_timer()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Release the slot: from here on another protocol has the connection, and the application may refuse it."""
        self.slots.remove(self)
        self._cancel_header_timer()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the slot, and cancel the timers."""
        self.slots.remove(self)
        super().connection_lost(exc)
        self._cancel_header_timer()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Start the timer for the client to read the response."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.header_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the timer: the client reads the response."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    @property
    def _is_response_sent(self) -> bool:
        """Whether the response is sent while the body is still arriving."""
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
