"""Test a worker killed anywhere between offer and CRM: one offer, one brief, one record, none lost."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.databases import PostgresSource, SqliteSource
from tests.chaos.handoff_kills import ANY, CRMS, DOUBLE_POINTS, LEADS, POINTS, KillSetup, kill_run
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
def kill_setup(double: SendGridDouble, folder: Path) -> KillSetup:
    return KillSetup.of(SqliteSource(folder, LEADS, ready=True), double, folder)


@pytest.mark.parametrize(("point", "crm"), RUNS)
def test_a_worker_killed_at_any_point_hands_each_lead_off_once(kill_setup: KillSetup, point: str, crm: str) -> None:
    result = kill_run(kill_setup, point, crm, Random(f"{SEED}:{point}:{crm}"))
    assert result.wrong == [], REPEAT
    assert result.runs == 1 or point == ANY, f"nobody died; {REPEAT}"


def test_on_postgres_too(request: pytest.FixtureRequest, double: SendGridDouble, folder: Path) -> None:
    source = PostgresSource(request.getfixturevalue("_postgres"), LEADS, ready=True)
    kill_setup = KillSetup.of(source, double, folder)
    for point in ("offered", "heartbeat", "after the effect"):
        result = kill_run(kill_setup, point, "hubspot", Random(f"{SEED}:{point}"))
        assert result.wrong == [], REPEAT
