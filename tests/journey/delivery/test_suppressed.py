"""Opt-outs that are committed at any moment while workers deliver."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.grounds import Ground, PostgresGround, SqliteGround
from tests.chaos.suppressing import suppressed_run
from tests.doubles.sendgrid import SendGridDouble

SEED = int(os.environ.get("SEED") or secrets.randbits(32))
REPEAT = f"repeat with SEED={SEED}"
DUE = 1_200


@pytest.fixture
def double(tmp_path: Path) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path / "sendgrid.log") as double:
        yield double


@pytest.fixture(params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    if request.param == "sqlite":
        return SqliteGround(tmp_path, DUE)
    return PostgresGround(request.getfixturevalue("_postgres"), DUE)


def test_whoever_opts_out_before_the_last_look_gets_no_mail(
    ground: Ground, double: SendGridDouble, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = suppressed_run(ground, double, tmp_path, Random(SEED), workers=2)
    moments = ", ".join(f"{count} {moment}" for moment, count in sorted(found.when.items()))
    record_property("story", f"opt-outs on {ground.name}: {moments}; SEED={SEED}")
    assert found.verdict.wrong == [], REPEAT
    assert found.violations == 0, REPEAT
    assert found.when.total() > found.when["after the call"] > 0
