"""A cache of one value that is costly to build."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class StampedCache(Generic[T]):
    """The newest value, and the stamp that it was built for."""

    def __init__(self) -> None:
        self._cached: tuple[object, T] | None = None

    def get(self, stamp: object, build: Callable[[], T]) -> T:
        """Return the cached value; call *build* if *stamp* has changed."""
        if self._cached is None or self._cached[0] != stamp:
            self._cached = stamp, build()
        return self._cached[1]
