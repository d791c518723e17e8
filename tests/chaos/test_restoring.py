"""A small run of the restore experiment: no message is sent twice, and no opt-out is lost."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from random import Random

import pytest

from tests.chaos.databases import PostgresSource, SqliteSource
from tests.chaos.restoring import SCENARIOS, restore_run
from tests.doubles.sendgrid import SendGridDouble

SEED = os.environ.get("SEED") or str(secrets.randbits(32))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SqliteSource | PostgresSource:
    if request.param == "sqlite":
        return SqliteSource(tmp_path_factory.mktemp("source"), 12)
    return PostgresSource(request.getfixturevalue("_postgres"), 12)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_restored_or_copied_database_repeats_no_message_and_loses_no_opt_out(
    source: SqliteSource | PostgresSource, scenario: str, tmp_path: Path
) -> None:
    with SendGridDouble(tmp_path / "sendgrid.log") as double:
        found = restore_run(source, double, tmp_path, scenario, Random(f"{SEED}:{source.name}:{scenario}"))
    assert found.wrong == [], f"repeat with SEED={SEED}"
