"""Serve an application while a test runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI

from nurture.web.server import run_in_thread


@contextmanager
def serve_in_thread(app: FastAPI, host: str, port: int, **options: Any) -> Iterator[int]:
    """Serve *app* in a thread while the block runs; yield the port (any free one for 0)."""
    with run_in_thread(app, host, port, **options) as (_, bound_port):
        yield bound_port
