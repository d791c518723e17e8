"""A practice world and the demo delete only files that a practice made."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from nurture.errors import InvalidState, NotFound
from nurture.simulation.world_folder import (
    MARKER,
    WorldDescription,
    delete_world,
    new_world,
    open_world,
)

DESCRIPTION = WorldDescription("1", "2026-03-02T09:00:00+00:00", "templates", 8026)


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
    os.mkfifo(folder / "rejected-rows.csv")


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
    _make(folder)
    (folder / "spool").mkdir()
    put(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidState, match="Nothing was deleted"):
        _make(folder)
    with pytest.raises((InvalidState, NotFound)):
        delete_world(folder)
    assert sorted(tmp_path.rglob("*")) == before
    assert (folder / "spool").is_dir()


def test_a_forged_marker_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    for mark in (b"", b"mine\n"):
        (tmp_path / "demo" / MARKER).write_bytes(mark)
        with pytest.raises(InvalidState, match="no marker"):
            _make(tmp_path / "demo")
    assert (tmp_path / "demo" / "notes.txt").read_text() == "mine"


def test_a_world_in_use_is_neither_replaced_nor_deleted_nor_run_twice(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with new_world(folder, DESCRIPTION, replace=True):
        (folder / "nurture.db").touch()
        with pytest.raises(InvalidState, match="in use"):
            _make(folder)
    with open_world(folder), open_world(folder, running=True):
        for use in (delete_world, _make, _run):
            with pytest.raises(InvalidState, match=r"in use|running"):
                use(folder)
    assert (folder / "nurture.db").exists()
    delete_world(folder)
    assert not folder.exists()


def test_an_older_world_is_replaced_only_if_wanted(tmp_path: Path) -> None:
    _make(tmp_path / "demo")
    (tmp_path / "demo" / "nurture.db").touch()
    with (
        pytest.raises(InvalidState, match="--replace"),
        new_world(tmp_path / "demo", DESCRIPTION, replace=False),
    ):
        pass
    assert (tmp_path / "demo" / "nurture.db").exists()
    _make(tmp_path / "demo")
    assert not (tmp_path / "demo" / "nurture.db").exists()


def _make(folder: Path) -> None:
    with new_world(folder, DESCRIPTION, replace=True):
        pass


def _run(folder: Path) -> None:
    with open_world(folder, running=True):
        pass
