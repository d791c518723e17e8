"""Fill the disk during planning and delivery: a clean stop, no call without an intent, and a clean resume."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import event, text

from nurture.db.engine import Database
from nurture.errors import DatabaseUnavailable
from nurture.journey.delivery.run import deliver
from nurture.journey.message_kinds import MESSAGE_KINDS
from nurture.journey.tracks.advance import advance
from nurture.mail.providers.sendgrid.provider import SendGridProvider
from nurture.reporting.audit import run_audit
from nurture.runtime.context import AppContext
from tests.bench.figures import Figure, Skipped
from tests.chaos.databases import BASE_URL, DatabaseSource, PostgresSource, SqliteSource, now
from tests.chaos.verdicts import Oracle, Verdict, find_uncovered, in_flight, judge, states_in
from tests.chaos.worker import OffsetClock, drain_outbox
from tests.doubles.sendgrid import KEY, SendGridDouble

REMEDY: Final = "Free some space"
DISK_MB: Final = 48
Limit = Callable[[int | None], None]
"""Limits the free space to this many KiB; None lifts the limit."""


@dataclass
class FullDiskRun:
    """Results of runs. *stopped* counts full disks by the last point that was passed."""

    verdict: Verdict = field(default_factory=Verdict)
    stopped: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: FullDiskRun) -> FullDiskRun:
        return FullDiskRun(self.verdict + other.verdict, self.stopped + other.stopped)


@dataclass(frozen=True)
class Disk:
    """A disk that can be filled; yields databases on it, each with the function that sets its limit."""

    name: str
    fresh: Callable[[], AbstractContextManager[tuple[Database, Limit]]]


def full_disk_run(disk: Disk, double: SendGridDouble, rng: Random, count: int) -> FullDiskRun:
    """Fill the disk at a random point of planning and delivering, then free space and continue."""
    seed = rng.getrandbits(32)
    origin, where = f"filled-{disk.name.replace(' ', '-')}-{seed:08x}", _FillAtPoint(rng)
    found = FullDiskRun()
    with disk.fresh() as (database, limit):
        oracle = Oracle(double, origin)
        where.limit = limit
        url = database.url.render_as_string(hide_password=False)
        ctx = AppContext(
            database,
            SendGridProvider(SecretStr(KEY), url=double.url, max_concurrency=8),
            base_url=BASE_URL,
            installation_id=origin,
            batch_size=rng.choice((25, 60)),
            message_kinds=MESSAGE_KINDS,
        )
        wrong = _until_full(ctx, where, found)
        limit(None)
        states = states_in(url)
        wrong += find_uncovered(states, oracle.accepted())
        advance(ctx, now())
        ctx.provider.close()
        drain_outbox(url, double.url, origin)
        wrong += [
            f"audit: {one.description} ({one.count})" for one in run_audit(ctx, now()).findings if one.is_violation
        ]
        found.verdict += judge(states_in(url), oracle.accepted(), count, in_flight(states))
    found.verdict.wrong = [f"{disk.name}, filled by {seed}: {one}" for one in wrong + found.verdict.wrong]
    return found


class _FillAtPoint:
    """Fills the disk the nth time a worker passes a point, both random."""

    def __init__(self, rng: Random) -> None:
        points = ("planning", "claimed", "last check", "before the call", "after the call", "written back")
        self.point = rng.choice(points)
        self.nth = rng.randint(1, 3)
        self.left = rng.choice((0, 0, 0, 4, 16, 64))
        self.limit: Limit = lambda _: None
        self.last = "planning"
        self._seen = 0

    def __call__(self, point: str, keys: Sequence[str] = ()) -> None:
        del keys
        self.last = point
        if point == self.point:
            self._seen += 1
            if self._seen == self.nth or point == "planning":
                self.limit(self.left)


def _until_full(ctx: AppContext, where: _FillAtPoint, found: FullDiskRun) -> list[str]:
    """Plan and deliver until the disk is full; return each violation in the way it stopped."""
    where("planning")
    try:
        advance(ctx, now())
        deliver(ctx, OffsetClock(), observe=where)
    except DatabaseUnavailable as error:
        found.stopped[where.last] += 1
        return [] if REMEDY in str(error) else [f"stopped without its remedy: {error}"]
    except Exception as error:  # noqa: BLE001 - a run that judges goes on
        return [f"did not stop cleanly after {where.last}: {error!r}"]
    return []


def page_limited(source: SqliteSource) -> Disk:
    """Return a disk on which an SQLite file cannot grow beyond its current pages."""

    @contextmanager
    def fresh() -> Iterator[tuple[Database, Limit]]:
        with source.fresh() as run_db:
            database = Database(run_db.url)
            max_pages = [2**30]

            def cap(tx: Any, *_: object) -> None:
                tx.execute(f"PRAGMA max_page_count = {max_pages[0]}").close()

            def limit(left: int | None) -> None:
                with database.read() as tx:
                    pages = tx.execute(text("PRAGMA page_count")).scalar_one()
                max_pages[0] = 2**30 if left is None else pages + left // 4

            event.listen(database.engine, "checkout", cap)
            yield database, limit
            database.close()

    return Disk("sqlite pages", fresh)


def on_small_disk(source: DatabaseSource, disk: Path) -> Disk:
    """Return the small *disk* with databases of *source* on it."""

    @contextmanager
    def fresh() -> Iterator[tuple[Database, Limit]]:
        ballast = disk / "ballast"
        ballast.unlink(missing_ok=True)

        def limit(left: int | None) -> None:
            ballast.unlink(missing_ok=True)
            if left is None:
                return
            room = os.statvfs(disk)
            size = room.f_bavail * room.f_frsize - 1024 * left
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)

        with _with_limit(source, disk) as url:
            database = Database(url)
            yield database, limit
            limit(None)
            database.close()

    return Disk(f"{source.name} on a small disk", fresh)


@contextmanager
def _with_limit(source: DatabaseSource, disk: Path) -> Iterator[str]:
    if isinstance(source, SqliteSource):
        with source.fresh(disk) as run_db:
            yield run_db.url
        return
    assert isinstance(source, PostgresSource)
    with source.tablespace(disk / "postgres") as name, source.fresh(name) as run_db:
        yield run_db.url


class NoSmallDisk(Exception):
    """This machine does not allow mounting a small disk."""


@contextmanager
def small_disk(size_mb: int = DISK_MB) -> Iterator[Path]:
    """Mount a small tmpfs. Raises NoSmallDisk if that is not allowed."""
    folder = Path(tempfile.mkdtemp(prefix="nurture-disk-"))
    folder.chmod(0o755)  # the user of PostgreSQL needs access
    disk = folder / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=755", "tmpfs", str(disk)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            raise NoSmallDisk(f"no small disk can be mounted here: {mounted.stderr.strip()}")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
    except FileNotFoundError as error:
        raise NoSmallDisk(f"no small disk can be mounted here: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(
    sqlite: SqliteSource, postgres: PostgresSource, double: SendGridDouble, seed: int, wanted: int
) -> tuple[list[Figure | Skipped], list[str]]:
    """Fill each kind of disk *wanted* times."""
    whole, skipped = FullDiskRun(), list[Figure | Skipped]()

    def fill(disk: Disk) -> None:
        nonlocal whole
        rng, found = Random(f"{seed}:fill:{disk.name}"), FullDiskRun()
        for _ in range(5 * wanted):
            if found.stopped.total() >= wanted:
                break
            found += full_disk_run(disk, double, rng, sqlite.count)
        found.stopped = Counter({f"{disk.name}, {point}": many for point, many in found.stopped.items()})
        whole += found

    fill(page_limited(sqlite))
    try:
        with small_disk() as disk:
            fill(on_small_disk(sqlite, disk))
            fill(on_small_disk(postgres, disk))
    except NoSmallDisk as error:
        skipped = [Skipped("disk_full_small_disk", str(error))]
    where = ", ".join(f"{count} {point}" for point, count in sorted(whole.stopped.items()))
    ends = ", ".join(f"{count:,} {state}" for state, count in whole.verdict.states.most_common())
    return [
        Figure("disk_full_runs", whole.stopped.total(), "runs", note=f"full after: {where}; {ends}"),
        Figure("disk_full_violations", len(whole.verdict.wrong), "violations", maximum=1),
        *skipped,
    ], whole.verdict.wrong
