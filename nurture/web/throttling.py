"""Budgets of unfinished request bodies, and rate limits of requests and of the items of API tokens."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from threading import Lock
from typing import Final

import anyio

from nurture.journey.intake.api import tokens
from nurture.journey.intake.api.batches import PermissionCheck, Refusal, check_scopes
from nurture.journey.intake.api.tokens import Caller, TokenScope
from nurture.runtime.context import AppContext
from nurture.web import errors

MAX_TRACKED_KEYS: Final = 20_000
"""The addresses and tokens that a rate limiter tracks; the least recently seen is dropped first."""

_MAX_KEY_LENGTH: Final = 64  # characters; a proxy may forward any text as an address

HOUR: Final = timedelta(hours=1)

MAX_ITEMS_PER_HOUR: Final = 200_000

MAX_SUPPRESSIONS_PER_HOUR: Final = 500
"""Opt-outs, bounces and complaints; for more, use `nurture leads suppressions import`."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The limits of one group of routes, in total and per client address.

    *max_bodies* counts incomplete bodies, each of which may take *body_timeout* seconds. An address may send
    *burst* requests at once, then *per_second*; 0 means no limit.
    """

    max_bytes: int
    max_bytes_per_address: int
    max_bodies: int = 200
    max_bodies_per_address: int = 100
    body_timeout: float = 15
    per_second: float = 100
    burst: int = 6_000


class OverBudget(Exception):
    """The budget has no space for this body, or the body was evicted."""


class Body:
    """A request body that is being received."""

    def __init__(self, budget: "BodyBudget", address: str) -> None:
        self.address = address
        self.size = 0
        self.scope: anyio.CancelScope | None = None
        self._evicted = False
        self._budget = budget

    @contextmanager
    def wait_for_data(self, deadline: float) -> Iterator[None]:
        """Wait for more of the body. Raises TimeoutError at *deadline*, OverBudget if it is evicted."""
        with anyio.CancelScope(deadline=deadline) as self.scope:
            self._budget.start_waiting(self)
            yield
        timed_out, self.scope = self.scope.cancelled_caught, None
        self._budget.stop_waiting(self)
        if self._evicted:
            raise OverBudget
        if timed_out:
            raise TimeoutError

    def reserve(self, size: int) -> None:
        """Reserve *size* more bytes. Raises OverBudget if there is no space for them."""
        self._budget.reserve(self, size)

    def is_evictable(self, min_size: int) -> bool:
        """Return whether the body is incomplete and holds at least *min_size* bytes."""
        return self.scope is not None and not self._evicted and self.size >= min_size

    def evict(self) -> None:
        """End the wait for the body."""
        self._evicted = True
        if self.scope is not None:
            self.scope.cancel()


class BodyBudget:
    """The request bodies of one group of routes.

    A new body is always accepted; at a limit the oldest incomplete body is evicted: of the address that is over
    its limit, else of the address that holds most. So a client that opens many bodies loses only its own.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.reserved_bytes = 0
        self._bodies: dict[Body, None] = {}  # oldest first
        self._bytes: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def body(self, address: str) -> Iterator[Body]:
        """Track one body until its request is answered."""
        body = Body(self, address)
        self._bodies[body] = None
        try:
            yield body
        finally:
            if body.scope is not None:
                self.stop_waiting(body)
            del self._bodies[body]
            self._add_bytes(body, -body.size)

    def start_waiting(self, body: Body) -> None:
        """Count *body* as incomplete, and evict another one if a limit is exceeded."""
        self._waiting[body.address] += 1
        if self._waiting[body.address] > self.allowance.max_bodies_per_address:
            self._evict_oldest(body.address)
        elif self._waiting.total() > self.allowance.max_bodies:
            self._evict_oldest(max(self._waiting, key=self._waiting.__getitem__))

    def stop_waiting(self, body: Body) -> None:
        """Stop counting *body* as incomplete."""
        _increment(self._waiting, body.address, -1)

    def reserve(self, body: Body, size: int) -> None:
        """Reserve *size* more bytes for *body*, evicting others if needed. Raises OverBudget if none can be evicted."""
        self._add_bytes(body, size)
        while self._bytes[body.address] > self.allowance.max_bytes_per_address:
            self._evict_oldest(body.address, min_size=1)
        while self.reserved_bytes > self.allowance.max_bytes:
            addresses = {one.address for one in self._bodies if one.is_evictable(min_size=1)}
            self._evict_oldest(max(addresses, key=self._bytes.__getitem__, default=""), min_size=1)

    def _add_bytes(self, body: Body, size: int) -> None:
        body.size += size
        self.reserved_bytes += size
        _increment(self._bytes, body.address, size)

    def _evict_oldest(self, address: str, min_size: int = 0) -> None:
        """Evict the oldest evictable body of *address*. Raises OverBudget if there is none."""
        for one in self._bodies:
            if one.address == address and one.is_evictable(min_size):
                one.evict()
                self._add_bytes(one, -one.size)
                return
        raise OverBudget


def _increment(counter: Counter[str], key: str, count: int) -> None:
    counter[key] += count
    if not counter[key]:
        del counter[key]


class RateLimiter:
    """A rate limit per address or token: *burst* requests at once, then *per_second*."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._burst_seconds = burst / per_second
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def seconds_until_allowed(self, key: str, now: float) -> float:
        """Count one request at *now* (seconds of any clock); return the seconds that it must wait, 0 if allowed.

        A request that must wait is not counted.
        """
        free_at = max(self._free_at.get(key, now), now)
        if free_at + self._interval > now + self._burst_seconds:
            return free_at + self._interval - now - self._burst_seconds
        self._free_at[key] = free_at + self._interval
        self._free_at.move_to_end(key)
        if len(self._free_at) > MAX_TRACKED_KEYS:
            self._free_at.popitem(last=False)
        return 0


def client_key(host: str | None) -> str:
    """Return the key of a client: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ip_address((host or "").partition("%")[0])
    except ValueError:
        return (host or "")[:_MAX_KEY_LENGTH]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network(f"{address}/64", strict=False))
        address = address.ipv4_mapped
    return str(address)


class TokenRateLimits:
    """Counts items per token and hour in this process; records a token that reaches a limit for `doctor`."""

    def __init__(
        self, ctx: AppContext, items: int = MAX_ITEMS_PER_HOUR, suppressions: int = MAX_SUPPRESSIONS_PER_HOUR
    ) -> None:
        self._ctx = ctx
        self._limits = {"items": items, "suppressions": suppressions}
        self._lock = Lock()
        self._counts: dict[tuple[int, str], int] = {}
        self._current_hour: datetime | None = None

    def consume(self, caller: Caller, items: int, now: datetime) -> None:
        """Count the items of a batch. Raises WebError if they exceed the limit of this hour."""
        if not self._try_consume(caller, "items", items, now):
            raise errors.too_many(429, (self._hour(now) + HOUR - now).total_seconds())

    def make_permit(self, caller: Caller, required_scope: TokenScope, now: datetime) -> PermissionCheck:
        """Return a check whether the caller may post an item; items other than suppressions need *required_scope*."""
        by_scope = check_scopes(caller.scopes, required_scope)

        def check(is_suppression: bool) -> Refusal | None:  # noqa: FBT001 - as PermissionCheck is called
            refusal = by_scope(is_suppression)
            if refusal is not None or not is_suppression or self._try_consume(caller, "suppressions", 1, now):
                return refusal
            reason = (
                f"The token {caller.name!r} reached its limit of {self._limits['suppressions']:,} suppressions an hour."
            )
            return (reason, "Send it again in the next hour, or as a file: `nurture leads suppressions import`.")

        return check

    def _try_consume(self, caller: Caller, limit_name: str, amount: int, now: datetime) -> bool:
        """Count *amount* against *limit_name* if it fits; return whether it does."""
        key, hour = (caller.token_id, limit_name), self._hour(now)
        with self._lock:
            if hour != self._current_hour:
                self._current_hour = hour
                self._counts.clear()
            used = self._counts.get(key, 0)
            fits = used + amount <= self._limits[limit_name]
            self._counts[key] = used + amount if fits else max(used, self._limits[limit_name]) + 1
        if not fits and used <= self._limits[limit_name]:
            _log.warning("token_rate_limited", extra={"token": caller.name, "limit_name": limit_name})
            tokens.record_rate_limit(self._ctx, caller.token_id, now)
        return fits

    @staticmethod
    def _hour(now: datetime) -> datetime:
        return now.replace(minute=0, second=0, microsecond=0)
