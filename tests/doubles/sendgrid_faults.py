"""The fault queue and the rate limit of the SendGrid double."""

from __future__ import annotations

import math
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from tests.doubles.sendgrid import Account, Fault


class FaultQueue:
    """The configured faults."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._queue = deque(fault for fault in faults if not fault.is_conditional for _ in range(fault.times or 1))
        self._conditional = [fault for fault in faults if fault.is_conditional]
        self._patterns = [re.compile(fault.ref or "") for fault in self._conditional]
        self._remaining = [math.inf if fault.times is None else fault.times for fault in self._conditional]
        self._seen_counts: list[Counter[str]] = [Counter() for _ in self._conditional]

    @property
    def waiting(self) -> int:
        """Return the number of queued faults."""
        return len(self._queue)

    def on_arrival(self) -> Fault | None:
        """Take the next queued fault."""
        return self._queue.popleft() if self._queue else None

    def on_refs(self, refs: Sequence[str]) -> Fault | None:
        """Return the first conditional fault that applies to one of *refs*."""
        for number, fault in enumerate(self._conditional):
            if self._remaining[number] > 0 and any(self._is_due(number, fault, ref) for ref in refs or ("",)):
                self._remaining[number] -= 1
                return fault
        return None

    def _is_due(self, number: int, fault: Fault, ref: str) -> bool:
        if not self._patterns[number].search(ref):
            return False
        if fault.chance is None:
            return True
        self._seen_counts[number][ref] += 1
        drawn = sha256(f"{fault.seed}:{number}:{ref}:{self._seen_counts[number][ref]}".encode()).digest()[:8]
        return int.from_bytes(drawn) < fault.chance * 2**64


@dataclass(slots=True)
class Limit:
    """Counts the requests of one window; windows end on whole unix seconds."""

    account: Account
    remaining: int = 0
    resets: int = 0

    def take(self) -> tuple[bool, dict[str, str]]:
        """Count one request; return whether it is within the limit, and the rate limit headers."""
        if not self.account.limit:
            return True, {}
        now = time.time()  # noqa: TID251 - a separate server has real time
        if now >= self.resets:
            self.remaining, self.resets = self.account.limit, int(now) + self.account.window
        within = self.remaining > 0
        self.remaining = max(0, self.remaining - 1)
        return within, limit_headers(self.account.limit, self.remaining, self.resets)


def limit_headers(limit: int, remaining: int, resets: int) -> dict[str, str]:
    return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": str(resets)}
