"""Test that a full disk stops planning and delivery cleanly, and that they go on once there is space."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.chaos.databases import DatabaseSource, PostgresSource, SqliteSource
from tests.chaos.full_disk import Disk, FullDiskRun, NoSmallDisk, full_disk_run, on_small_disk, page_limited, small_disk
from tests.doubles.sendgrid import SendGridDouble

SEED = int(os.environ.get("SEED") or secrets.randbits(32))
REPEAT = f"repeat with SEED={SEED}"
DUE, RUNS, ATTEMPTS = 60, 2, 80

RecordProperty = Callable[[str, object], None]


@contextmanager
def _disk(source: DatabaseSource) -> Iterator[Disk]:
    try:
        with small_disk() as disk:
            yield on_small_disk(source, disk)
    except NoSmallDisk as why:
        pytest.skip(str(why))


def _filled(disk: Disk, double: SendGridDouble, record: RecordProperty) -> FullDiskRun:
    """Fill *disk* until it stopped us several times, freeing space now and then."""
    rng, found = Random(f"{SEED}:{disk.name}"), FullDiskRun()
    for _ in range(ATTEMPTS):
        if found.stopped.total() >= RUNS:
            break
        found += full_disk_run(disk, double, rng, DUE)
    record("story", f"{disk.name} full after: {', '.join(sorted(found.stopped))}; SEED={SEED}")
    return found


def test_a_sqlite_file_that_may_not_grow_stops_nurture_cleanly_until_it_may(
    tmp_path: Path, double: SendGridDouble, record_property: RecordProperty
) -> None:
    found = _filled(page_limited(SqliteSource(tmp_path, DUE, planned=False)), double, record_property)
    assert found.verdict.wrong == [], REPEAT
    assert found.stopped.total() >= RUNS, f"the disk was never full; {REPEAT}"


def test_a_full_disk_under_sqlite_stops_nurture_cleanly_until_there_is_room(
    tmp_path: Path, double: SendGridDouble, record_property: RecordProperty
) -> None:
    with _disk(SqliteSource(tmp_path, DUE, planned=False)) as disk:
        found = _filled(disk, double, record_property)
    assert found.verdict.wrong == [], REPEAT
    assert found.stopped.total() >= RUNS, f"the disk was never full; {REPEAT}"


def test_a_full_disk_under_postgresql_stops_nurture_cleanly_until_there_is_room(
    request: pytest.FixtureRequest, double: SendGridDouble, record_property: RecordProperty
) -> None:
    server = request.getfixturevalue("_postgres")
    with _disk(PostgresSource(server, DUE, planned=False)) as disk:
        found = _filled(disk, double, record_property)
    assert found.verdict.wrong == [], REPEAT
    assert found.stopped.total() >= RUNS, f"the disk was never full; {REPEAT}"
