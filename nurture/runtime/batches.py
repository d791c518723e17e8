"""Work in batches: the loop of every stage, and a pause of Python's garbage collector."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def gc_paused() -> Iterator[None]:
    """Disable automatic garbage collection; batches call `gc.collect(1)` at their ends.

    Rows and decisions form no cycles, and the collector took a third of an import and a tenth of a sweep.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
