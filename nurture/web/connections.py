"""Connections of clients: hang up on slow ones, and keep slots free for whoever comes next."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from ipaddress import ip_network
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from nurture.web.limits import client_key

HEAD_SECONDS: Final = 15.0
"""How long the head of a request may take to come in, and an answer to be taken."""

MOST_PASSED_OVER: Final = 256 * 1024
"""Bytes of a body that still come in after its request was answered."""

_MOST: Final = 4_096
_OTHER_FILES: Final = 128  # the database, Python's own, the log
_FEWEST: Final = 64


def room_for_connections() -> int:
    """Return how many connections this process can hold; let it open as many files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST + _OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(most - _OTHER_FILES, _FEWEST)


class Slots:
    """Who is connected. Whoever comes is let in, and one that is only waited for makes room.

    It is the oldest one of the address that has most of them: so who keeps many connections open loses
    those. An address may have half of all slots; a trusted proxy, behind which many clients stand, all.
    """

    def __init__(self, most: int, trusted: Sequence[str] = ()) -> None:
        self._most = most
        self._trusted = [ip_network(one, strict=False) for one in trusted]
        self._connected: dict[str, dict[Punctual, None]] = {}
        self._count = 0

    def add(self, one: Punctual) -> None:
        """Let a connection in."""
        theirs = self._connected.setdefault(one.address, {})
        theirs[one] = None
        self._count += 1
        if len(theirs) > self._most // 2 and not self._is_trusted(one.address):
            self._make_room(theirs)
        elif self._count > self._most:
            self._make_room(max(self._connected.values(), key=len))

    def remove(self, one: Punctual) -> None:
        """Forget a connection that has ended, or is about to."""
        theirs = self._connected.get(one.address, {})
        if one in theirs:
            del theirs[one]
            self._count -= 1
            if not theirs:
                del self._connected[one.address]

    def _make_room(self, theirs: dict[Punctual, None]) -> None:
        one = next((each for each in theirs if each.is_waited_for), next(reversed(theirs)))
        self.remove(one)
        one.transport.abort()

    def _is_trusted(self, address: str) -> bool:
        try:
            network = ip_network(address)
        except ValueError:
            return False
        return any(one.version == network.version and one.overlaps(network) for one in self._trusted)


class Punctual(H11Protocol):
    """Hangs up on who does not bring the head of a request in time, or does not take its answer.

    What comes of a body after the answer is passed over for a while, so that the client can read why. The
    gate has a time for bodies that are waited for.
    """

    head_seconds: ClassVar[float] = HEAD_SECONDS
    slots: ClassVar[Slots]
    address = ""
    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _passed_over = 0

    @property
    def is_waited_for(self) -> bool:
        """Whether the connection is idle, or its request is not all there."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the connection a slot."""
        super().connection_made(transport)
        self.address = client_key(self.client[0] if self.client else None)
        self.slots.add(self)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Read on, but not much of what nobody waits for."""
        self._passed_over += len(data) if self._is_answered else -self._passed_over
        if self._passed_over > MOST_PASSED_OVER:
            self.transport.abort()
            return
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Give the rest of the body its time."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the slot back."""
        self.slots.remove(self)
        super().connection_lost(exc)
        self._stop_waiting()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Give the client its time to take the answer."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self.head_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that the client takes the answer."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    @property
    def _is_answered(self) -> bool:
        """Whether the answer is out while the body still comes in."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _look(self) -> None:
        if self.conn.their_state is not h11.IDLE and not self._is_answered:
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
