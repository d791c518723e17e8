"""The loop of every stage: batch after batch, each in transactions of its own, until nothing is left."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def drain(
    batch: Callable[[], T], has_more: Callable[[T], bool], should_stop: Callable[[], bool] = lambda: False
) -> Iterator[T]:
    """Yield the results of *batch* until one has no more work after it, or *should_stop* between two of them."""
    while True:
        result = batch()
        yield result
        if should_stop() or not has_more(result):
            return
        gc.collect(1)  # for callers that pause the collector
