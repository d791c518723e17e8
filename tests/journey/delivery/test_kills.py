"""A worker killed, stopped or lied to at any point: nobody gets a mail twice, and no message is lost."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.crowding import crowd
from tests.chaos.faulting import faulty_run
from tests.chaos.grounds import Ground, PostgresGround, SqliteGround
from tests.chaos.killing import ANY, POINTS, Arena, kill_run, sleep_run
from tests.doubles.sendgrid import SendGridDouble

DUE = 24
SEED = int(os.environ.get("SEED") or secrets.randbits(32))
REPEAT = f"repeat with SEED={SEED}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def double(folder: Path) -> Iterator[SendGridDouble]:
    with SendGridDouble(folder / "sendgrid.log") as double:
        yield double


Grounds = Callable[[int], Ground]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def ground(request: pytest.FixtureRequest, folder: Path) -> Grounds:
    if request.param == "sqlite":
        return lambda count: SqliteGround(folder, count)
    server = request.getfixturevalue("_postgres")
    return lambda count: PostgresGround(server, count)


@pytest.fixture(scope="module")
def arena(ground: Grounds, double: SendGridDouble, folder: Path) -> Arena:
    return Arena.of(ground(DUE), double, folder)


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_at_any_point_sends_nothing_twice_and_loses_nothing(arena: Arena, point: str) -> None:
    killed = kill_run(arena, point, Random(f"{SEED}:{arena.ground.name}:{point}"))
    assert killed.verdict.wrong == [], REPEAT
    assert killed.runs == 1 or point == ANY, f"nobody died; {REPEAT}"
    assert killed.verdict.states["in_doubt"] <= killed.in_flight, REPEAT


@pytest.mark.parametrize("point", ["claimed", "before the call", "bytes sent"])
def test_a_worker_that_slept_through_its_lease_sends_nothing_that_another_one_took(
    arena: Arena, point: str
) -> None:
    slept = sleep_run(arena, point, Random(f"{SEED}:{arena.ground.name}:{point}"))
    assert slept.verdict.wrong == [], REPEAT
    assert slept.runs == 1, f"nobody slept; {REPEAT}"


def test_workers_who_are_killed_and_replaced_send_everything_once(
    ground: Grounds, double: SendGridDouble, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    found = crowd(ground(400), double, folder, Random(SEED), kills=4)
    record_property("story", f"workers killed at every point, and {found.kills} of a crowd: SEED={SEED}")
    assert found.verdict.wrong == [], REPEAT
    assert found.verdict.states["in_doubt"] <= found.in_flight, REPEAT


def test_nothing_is_called_again_that_may_have_been_accepted(
    ground: Grounds, double: SendGridDouble, folder: Path
) -> None:
    found = faulty_run(ground(150), double, folder, Random(SEED))
    assert found.verdict.wrong == [], REPEAT
    assert found.again == 0, REPEAT
    assert found.faults.total() > 0
