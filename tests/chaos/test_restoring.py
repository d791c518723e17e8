"""Workers killed, databases backed up, restored and copied: nothing twice, no opt-out forgotten."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from random import Random

import pytest

from tests.chaos.grounds import PostgresGround, SqliteGround
from tests.chaos.restoring import WAYS, restore_run
from tests.doubles.sendgrid import SendGridDouble

SEED = os.environ.get("SEED") or str(secrets.randbits(32))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def ground(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> SqliteGround | PostgresGround:
    if request.param == "sqlite":
        return SqliteGround(tmp_path_factory.mktemp("ground"), 12)
    return PostgresGround(request.getfixturevalue("_postgres"), 12)


@pytest.mark.parametrize("way", WAYS)
def test_a_restored_or_copied_database_repeats_and_forgets_nothing(
    ground: SqliteGround | PostgresGround, way: str, tmp_path: Path
) -> None:
    with SendGridDouble(tmp_path / "sendgrid.log") as double:
        found = restore_run(ground, double, tmp_path, way, Random(f"{SEED}:{ground.name}:{way}"))
    assert found.wrong == [], f"repeat with SEED={SEED}"
