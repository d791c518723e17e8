"""What tests with real workers share: the double of the provider, and a database with the module's `DUE` messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.databases import DatabaseSource, PostgresSource, SqliteSource
from tests.doubles.sendgrid import SendGridDouble


@pytest.fixture
def double(tmp_path: Path) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path / "sendgrid.log") as double:
        yield double


@pytest.fixture(params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> DatabaseSource:
    if request.param == "sqlite":
        return SqliteSource(tmp_path, request.module.DUE)
    return PostgresSource(request.getfixturevalue("_postgres"), request.module.DUE)
