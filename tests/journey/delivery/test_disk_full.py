"""A full disk stops planning and delivering cleanly, and once there is room they go on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.chaos.filling import Disk, Filled, NoSmallDisk, filled_run, on_small_disk, paged, small_disk
from tests.chaos.grounds import Ground, PostgresGround, SqliteGround
from tests.doubles.sendgrid import SendGridDouble

SEED = int(os.environ.get("SEED") or secrets.randbits(32))
REPEAT = f"repeat with SEED={SEED}"
DUE, RUNS, ATTEMPTS = 60, 2, 20

Tell = Callable[[str, object], None]


@pytest.fixture
def double(tmp_path: Path) -> Iterator[SendGridDouble]:
    with SendGridDouble(tmp_path / "sendgrid.log") as double:
        yield double


@contextmanager
def _disk(ground: Ground) -> Iterator[Disk]:
    try:
        with small_disk() as disk:
            yield on_small_disk(ground, disk)
    except NoSmallDisk as why:
        pytest.skip(str(why))


def _filled(disk: Disk, double: SendGridDouble, tell: Tell) -> Filled:
    """Fill *disk* until it stopped us some times: now and then there is room enough."""
    rng, found = Random(f"{SEED}:{disk.name}"), Filled()
    for _ in range(ATTEMPTS):
        if found.stopped.total() >= RUNS:
            break
        found += filled_run(disk, double, rng, DUE)
    tell("story", f"{disk.name} full after: {', '.join(sorted(found.stopped))}; SEED={SEED}")
    return found


def test_a_sqlite_file_that_may_not_grow_stops_nurture_cleanly_until_it_may(
    tmp_path: Path, double: SendGridDouble, record_property: Tell
) -> None:
    found = _filled(paged(SqliteGround(tmp_path, DUE, planned=False)), double, record_property)
    assert found.verdict.wrong == [], REPEAT
    assert found.stopped.total() >= RUNS, f"the disk was never full; {REPEAT}"


def test_a_full_disk_under_sqlite_stops_nurture_cleanly_until_there_is_room(
    tmp_path: Path, double: SendGridDouble, record_property: Tell
) -> None:
    with _disk(SqliteGround(tmp_path, DUE, planned=False)) as disk:
        found = _filled(disk, double, record_property)
    assert found.verdict.wrong == [], REPEAT
    assert found.stopped.total() >= RUNS, f"the disk was never full; {REPEAT}"


def test_a_full_disk_under_postgresql_stops_nurture_cleanly_until_there_is_room(
    request: pytest.FixtureRequest, double: SendGridDouble, record_property: Tell
) -> None:
    server = request.getfixturevalue("_postgres")
    with _disk(PostgresGround(server, DUE, planned=False)) as disk:
        found = _filled(disk, double, record_property)
    assert found.verdict.wrong == [], REPEAT
    assert found.stopped.total() >= RUNS, f"the disk was never full; {REPEAT}"
