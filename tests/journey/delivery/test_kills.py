"""Test workers killed, stopped or misinformed at any point: no mail is sent twice, and no message is lost."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.chaos.concurrent_workers import concurrent_run
from tests.chaos.databases import DatabaseSource, PostgresSource, SqliteSource
from tests.chaos.killing import ANY, POINTS, KillSetup, kill_run, sleep_run
from tests.chaos.provider_faults import fault_run
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


SourceFactory = Callable[..., DatabaseSource]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def source(request: pytest.FixtureRequest, folder: Path) -> SourceFactory:
    if request.param == "sqlite":
        return lambda count, **options: SqliteSource(folder, count, **options)
    server = request.getfixturevalue("_postgres")
    return lambda count, **options: PostgresSource(server, count, **options)


@pytest.fixture(scope="module")
def kill_setup(source: SourceFactory, double: SendGridDouble, folder: Path) -> KillSetup:
    return KillSetup.of(source(DUE), double, folder)


@pytest.fixture(scope="module")
def batch_setup(source: SourceFactory, double: SendGridDouble, folder: Path) -> KillSetup:
    return KillSetup.of(source(DUE, batch=True), double, folder)


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_killed_at_any_point_sends_nothing_twice_and_loses_nothing(kill_setup: KillSetup, point: str) -> None:
    killed = kill_run(kill_setup, point, Random(f"{SEED}:{kill_setup.source.name}:{point}"))
    assert killed.verdict.wrong == [], REPEAT
    assert killed.runs == 1 or point == ANY, f"nobody died; {REPEAT}"
    assert killed.verdict.states["unknown"] <= killed.in_flight, REPEAT


@pytest.mark.parametrize("point", ["before the call", "bytes sent", "accepted", "response read", "write-back"])
def test_a_worker_killed_during_a_shared_request_sends_nothing_twice(
    batch_setup: KillSetup, double: SendGridDouble, point: str
) -> None:
    before = double.traffic().requests
    killed = kill_run(batch_setup, point, Random(f"{SEED}:{batch_setup.source.name}:{point}"))
    assert (killed.verdict.wrong, killed.runs) == ([], 1), REPEAT
    assert killed.verdict.states["unknown"] <= killed.in_flight, REPEAT
    assert double.traffic().requests - before <= batch_setup.passes["bytes sent"] + 1 < DUE


@pytest.mark.parametrize("point", ["claimed", "before the call", "bytes sent"])
def test_a_worker_suspended_beyond_its_lease_sends_nothing_that_another_one_took(
    kill_setup: KillSetup, point: str
) -> None:
    slept = sleep_run(kill_setup, point, Random(f"{SEED}:{kill_setup.source.name}:{point}"))
    assert slept.verdict.wrong == [], REPEAT
    assert slept.runs == 1, f"nobody slept; {REPEAT}"


def test_workers_who_are_killed_and_replaced_send_everything_once(
    source: SourceFactory, double: SendGridDouble, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    found = concurrent_run(source(400), double, folder, Random(SEED), kills=4)
    record_property("story", f"workers killed at every point, and {found.kills} of several: SEED={SEED}")
    assert found.verdict.wrong == [], REPEAT
    assert found.verdict.states["unknown"] <= found.in_flight, REPEAT


def test_nothing_is_called_again_that_may_have_been_accepted(
    source: SourceFactory, double: SendGridDouble, folder: Path
) -> None:
    found = fault_run(source(150), double, folder, Random(SEED))
    assert found.verdict.wrong == [], REPEAT
    assert found.again == 0, REPEAT
    assert found.faults.total() > 0
