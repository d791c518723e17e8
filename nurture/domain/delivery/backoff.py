"""How long to wait before something that failed is tried again."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Final

FIRST_DELAY: Final = timedelta(minutes=2)
MAX_DELAY: Final = timedelta(hours=1)


def backoff(attempts: int, name: str) -> timedelta:
    """Return how long to wait after so many failed *attempts* (0 before the first) of what is called *name*.

    Twice as long each time, up to MAX_DELAY, and shortened by up to a half as a hash of the name says: those
    that failed together do not come back together.
    """
    longest = min(FIRST_DELAY * (1 << min(attempts, 30)), MAX_DELAY)
    spread = int.from_bytes(sha256(f"{name}:{attempts}".encode()).digest()[:4]) / 2**32
    return longest * (1 - spread / 2)
