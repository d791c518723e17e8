"""One console for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.console.world import ConsoleWorld, make_world, serve_console


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """Leads, users of every role, and a running console."""
    made = make_world(tmp_path_factory.mktemp("console"))
    with serve_console(made):
        yield made
    made.ctx.database.close()
