"""Compute the delay before a retry."""

from datetime import timedelta
from hashlib import sha256
from typing import Final

FIRST_DELAY: Final = timedelta(minutes=2)
MAX_DELAY: Final = timedelta(hours=1)


def backoff(attempts: int, name: str) -> timedelta:
    """Return the delay after *attempts* failures (0 before the first) of *name*.

    Doubles each time, up to MAX_DELAY, and is shortened by up to half by a hash of the name, so that what
    failed together is not retried together.
    """
    longest = min(FIRST_DELAY * (1 << min(attempts, 30)), MAX_DELAY)
    spread = int.from_bytes(sha256(f"{name}:{attempts}".encode()).digest()[:4]) / 2**32
    return longest * (1 - spread / 2)
