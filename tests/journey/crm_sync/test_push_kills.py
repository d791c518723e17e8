"""A worker killed anywhere between the offer and the CRM: one offer, one brief, one record, none lost."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.grounds import PostgresGround, SqliteGround
from tests.chaos.handing import ANY, CRMS, DOUBLE_POINTS, LEADS, POINTS, Arena, kill_run
from tests.doubles.sendgrid import SendGridDouble

SEED = int(os.environ.get("SEED") or secrets.randbits(32))
REPEAT = f"repeat with SEED={SEED}"
RUNS = [
    (point, crm)
    for point, crm in zip(POINTS, itertools.cycle(reversed(CRMS)), strict=False)
    if crm != "csv" or point not in DOUBLE_POINTS
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hands")


@pytest.fixture(scope="module")
def double(folder: Path) -> Iterator[SendGridDouble]:
    with SendGridDouble(folder / "sendgrid.log") as double:
        yield double


@pytest.fixture(scope="module")
def arena(double: SendGridDouble, folder: Path) -> Arena:
    return Arena.of(SqliteGround(folder, LEADS, ready=True), double, folder)


@pytest.mark.parametrize(("point", "crm"), RUNS)
def test_a_worker_killed_at_any_point_hands_each_lead_over_once(arena: Arena, point: str, crm: str) -> None:
    handed = kill_run(arena, point, crm, Random(f"{SEED}:{point}:{crm}"))
    assert handed.wrong == [], REPEAT
    assert handed.runs == 1 or point == ANY, f"nobody died; {REPEAT}"


def test_on_postgres_too(request: pytest.FixtureRequest, double: SendGridDouble, folder: Path) -> None:
    ground = PostgresGround(request.getfixturevalue("_postgres"), LEADS, ready=True)
    arena = Arena.of(ground, double, folder)
    for point in ("offered", "after the effect"):
        handed = kill_run(arena, point, "hubspot", Random(f"{SEED}:{point}"))
        assert handed.wrong == [], REPEAT
