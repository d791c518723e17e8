"""`nurture demo` deletes only files that a demo created."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from nurture.cli.demo_folder import MARKER, demo_folder
from nurture.errors import InvalidState
from tests.cli.conftest import CliSession

DEMO = ("demo", "--days", 7, "--no-flows", "--folder")


def _contents(folder: Path) -> dict[str, str]:
    """Return the entries of *folder* by name, each with its type or content."""

    def content_of(path: Path) -> str:
        if path.is_symlink():
            return f"link to {path.readlink()}"
        return "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()

    return {str(path.relative_to(folder)): content_of(path) for path in folder.rglob("*")}


def _live(cli: CliSession) -> None:
    """Create a live set-up with database and mail in the working folder."""
    cli.environment.setenv("NURTURE_DATABASE_URL", "sqlite:///nurture.db")
    cli.ok("admin", "init")
    cli.write("precious.txt", "notes")
    cli.write("sub/more.txt", "more")


@pytest.mark.parametrize(
    "name", [".", "..", "../..", "/", "link", "linked-demo", "precious.txt", "sub", "rules", "here/../."]
)
def test_a_folder_without_a_demo_is_refused_and_unchanged(cli: CliSession, name: str) -> None:
    _live(cli)
    (cli.folder / "here").mkdir()
    (cli.folder / "link").symlink_to(".")
    with demo_folder(cli.folder / "old"):
        pass
    (cli.folder / "linked-demo").symlink_to("old")
    before = _contents(cli.folder)
    result = cli.fails(*DEMO, name)
    assert result.code == 4
    assert "--folder" in result.err
    assert _contents(cli.folder) == before


def test_the_home_folder_is_refused_too(cli: CliSession, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    cli.environment.setenv("HOME", str(home))
    assert cli.fails(*DEMO, home).code == 4
    assert list(home.iterdir()) == []


def _notes(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def _note_deep_down(folder: Path) -> None:
    (folder / "mail" / "new").mkdir(parents=True)
    (folder / "mail" / "new" / "notes.txt").write_text("mine")


def _empty_folder(folder: Path) -> None:
    (folder / "plans").mkdir()


def _link_out(folder: Path) -> None:
    (folder.parent / "maildir").mkdir()
    (folder.parent / "maildir" / "a.eml").write_text("mine")
    (folder / "mail").symlink_to(folder.parent / "maildir")


def _link_to_a_database(folder: Path) -> None:
    (folder.parent / "real.db").write_text("mine")
    (folder / "nurture.db").symlink_to(folder.parent / "real.db")


def _database_of_another_program(folder: Path) -> None:
    with sqlite3.connect(folder / "nurture.db") as connection:
        connection.execute("CREATE TABLE mine (id INTEGER)")
    connection.close()


def _no_database(folder: Path) -> None:
    (folder / "nurture.db").write_text("these are my notes, not a database")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "webinar.bad-rows.csv")


@pytest.mark.parametrize(
    "put",
    [
        _notes,
        _note_deep_down,
        _empty_folder,
        _link_out,
        _link_to_a_database,
        _database_of_another_program,
        _no_database,
        _pipe,
    ],
)
def test_unknown_files_beside_the_marker_stop_the_demo_before_it_deletes(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    folder = tmp_path / "demo"
    with demo_folder(folder):
        (folder / "spool").mkdir()
    put(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidState, match="Nothing was deleted"), demo_folder(folder):
        pass
    assert sorted(tmp_path.rglob("*")) == before
    assert (folder / "spool").is_dir()


def test_a_live_database_beside_the_marker_is_refused(cli: CliSession) -> None:
    with demo_folder(cli.folder / "demo"):
        pass
    cli.environment.setenv("NURTURE_DATABASE_URL", "sqlite:///demo/nurture.db")
    cli.ok("admin", "init")
    assert "virtual time" in cli.fails(*DEMO, "demo").err
    assert (cli.folder / "demo" / "nurture.db").exists()


def test_a_forged_marker_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    for mark in (b"", b"mine\n"):
        (tmp_path / "demo" / MARKER).write_bytes(mark)
        with pytest.raises(InvalidState, match="no demo marker"), demo_folder(tmp_path / "demo"):
            pass
    assert (tmp_path / "demo" / "notes.txt").read_text() == "mine"


def test_a_running_demo_is_not_replaced(tmp_path: Path) -> None:
    with demo_folder(tmp_path / "demo"):
        (tmp_path / "demo" / "spool").mkdir()
        with pytest.raises(InvalidState, match="running"), demo_folder(tmp_path / "demo"):
            pass
        assert (tmp_path / "demo" / "spool").is_dir()


def test_a_second_demo_starts_afresh_even_after_a_killed_one(cli: CliSession) -> None:
    cli.environment.delenv("NURTURE_TEMPLATES")
    cli.write("demo/" + MARKER, "")  # killed at its start
    first = cli.ok(*DEMO, "demo").out
    made = {path.name for path in (cli.folder / "demo").rglob("*")}
    assert {"nurture.db", "webinar.bad-rows.csv", "new", "html", "out", ".sent"} <= made
    (cli.folder / "demo" / ".nurture" / "prefect").mkdir(parents=True)
    cli.write("demo/.nurture/prefect/prefect.db", "as a demo with flows leaves it")
    cli.write("demo/.nurture/logs/prefect.log", "as a demo with flows leaves it")
    again = cli.ok(*DEMO, "demo").out
    assert not (cli.folder / "demo" / ".nurture").exists()
    assert first.split("Done in")[0] == again.split("Done in")[0]
