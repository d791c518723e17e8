"""Keep one value that is costly to build, until the stamp of what it was built from changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class StampedCache(Generic[T]):
    """The newest value, and the stamp under which it was built."""

    def __init__(self) -> None:
        self._cached: tuple[object, T] | None = None

    def get(self, stamp: object, build: Callable[[], T]) -> T:
        """Return the value of *stamp*, from *build* where it is a new one."""
        if self._cached is None or self._cached[0] != stamp:
            self._cached = stamp, build()
        return self._cached[1]
