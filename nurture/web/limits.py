"""How much strangers may hold and ask at one time: budgets of unfinished bodies, and rates of requests."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

import anyio

MOST_KEYS: Final = 20_000
"""Addresses and tokens that a rate remembers; the one not seen for longest is forgotten first."""

_LONGEST: Final = 64  # characters; a proxy may pass on any text as an address


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What the routes of one group may hold at one time, together and for each client address.

    *bodies* are those that are waited for, each for *seconds* at most. One address may ask *burst* times at
    once, and then so often *per_second*; 0 for no limit.
    """

    most_bytes: int
    address_bytes: int
    bodies: int
    address_bodies: int
    seconds: float = 15
    per_second: float = 0
    burst: int = 0


class Crowded(Exception):
    """There is no room for this body, or it had to make room for others."""


class Body:
    """One body that comes in, and what it holds."""

    def __init__(self, budget: Budget, address: str) -> None:
        self.address = address
        self.size = 0
        self.scope: anyio.CancelScope | None = None
        self._evicted = False
        self._budget = budget

    @contextmanager
    def waiting(self, until: float) -> Iterator[None]:
        """Wait for more of the body. Raises TimeoutError at *until*, Crowded if it has to make room."""
        with anyio.CancelScope(deadline=until) as self.scope:
            self._budget.begin(self)
            yield
        late, self.scope = self.scope.cancelled_caught, None
        self._budget.end(self)
        if self._evicted:
            raise Crowded
        if late:
            raise TimeoutError

    def hold(self, size: int) -> None:
        """Count *size* more bytes. Raises Crowded where there is no room for them."""
        self._budget.hold(self, size)

    def makes_room(self, least: int) -> bool:
        """Whether the body is waited for, and holds *least* bytes."""
        return self.scope is not None and not self._evicted and self.size >= least

    def evict(self) -> None:
        """End the wait for the body."""
        self._evicted = True
        if self.scope is not None:
            self.scope.cancel()


class Budget:
    """The bodies of one group of routes.

    Whoever comes is let in, and the oldest body that is waited for makes room: one of the address that holds
    too much, else of the address that holds most. So who keeps many bodies open loses those, and no others.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.held = 0
        self._bodies: dict[Body, None] = {}  # the oldest first
        self._bytes: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def body(self, address: str) -> Iterator[Body]:
        """Lend a place for one body, until its request is answered."""
        body = Body(self, address)
        self._bodies[body] = None
        try:
            yield body
        finally:
            if body.scope is not None:
                self.end(body)
            del self._bodies[body]
            self._count(body, -body.size)

    def begin(self, body: Body) -> None:
        """Note that *body* is waited for."""
        self._waiting[body.address] += 1
        if self._waiting[body.address] > self.allowance.address_bodies:
            self._make_room(body.address)
        elif self._waiting.total() > self.allowance.bodies:
            self._make_room(max(self._waiting, key=self._waiting.__getitem__))

    def end(self, body: Body) -> None:
        """Note that *body* is not waited for any more."""
        _add(self._waiting, body.address, -1)

    def hold(self, body: Body, size: int) -> None:
        """Count *size* more bytes of *body*. Raises Crowded where no other can make room."""
        self._count(body, size)
        while self._bytes[body.address] > self.allowance.address_bytes:
            self._make_room(body.address, least=1)
        while self.held > self.allowance.most_bytes:
            holding = {one.address for one in self._bodies if one.makes_room(least=1)}
            self._make_room(max(holding, key=self._bytes.__getitem__, default=""), least=1)

    def _count(self, body: Body, size: int) -> None:
        body.size += size
        self.held += size
        _add(self._bytes, body.address, size)

    def _make_room(self, address: str, least: int = 0) -> None:
        """End the oldest body of *address* that can make room. Raises Crowded if there is none."""
        for one in self._bodies:
            if one.address == address and one.makes_room(least):
                one.evict()
                self._count(one, -one.size)
                return
        raise Crowded


def _add(counter: Counter[str], key: str, count: int) -> None:
    counter[key] += count
    if not counter[key]:
        del counter[key]


class Rate:
    """How often each address or token may ask: *burst* times at once, and then so often *per_second*."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._every = 1 / per_second
        self._ahead = burst / per_second
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        """Count one request at *now* (seconds of any clock); return how many seconds it is too early.

        One that has to wait counts nothing.
        """
        free_at = max(self._free_at.get(key, now), now)
        if free_at + self._every > now + self._ahead:
            return free_at + self._every - now - self._ahead
        self._free_at[key] = free_at + self._every
        self._free_at.move_to_end(key)
        if len(self._free_at) > MOST_KEYS:
            self._free_at.popitem(last=False)
        return 0


def client_key(host: str | None) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 network that an IPv6 address is in."""
    try:
        address = ip_address((host or "").partition("%")[0])
    except ValueError:
        return (host or "")[:_LONGEST]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network(f"{address}/64", strict=False))
        address = address.ipv4_mapped
    return str(address)
