"""Batches without the search for cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Leave cycles to `gc.collect(1)` at the ends of batches.

    Rows and decisions have no cycles, and looking for them took a third of an import, a tenth of a sweep.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
