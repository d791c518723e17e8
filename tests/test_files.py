"""Files with personal data or secrets are closed to other accounts, whatever the umask."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nurture.db import schema
from nurture.db.engine import Database
from nurture.files import find_exposed, make_folder, open_private, restrict_permissions, write_private

ROOT = Path(__file__).parents[1]
COMMANDS = """
import sys
from nurture.cli import main
for command in sys.stdin.read().splitlines():
    try:
        main(command.split())
    except SystemExit as left:
        assert left.code in (0, None), (command, left.code)
"""
ALL_THAT_WRITE = """init
publish
import leads.csv
run
leads suppress mia@people.example
leads suppressions export out/optouts.csv
reports sales --csv sales.csv --html sales.html
reports measures --csv measures.csv --html measures.html
preview webinar-attended/01-recording --output shown
admin tokens create website --scope leads:write"""
LEADS = (
    "Email,First Name,Company,Title,Country,Lead Source,Consent,Demo Requested\n"
    "mia@people.example,Mia,Quayside,Head of stock,Germany,webinar,Yes,Yes\n"
    "not an address,Noor,Quayside,Head,Germany,webinar,Yes,No\n"
)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_no_command_leaves_a_file_or_folder_that_others_can_open(tmp_path: Path, umask: int) -> None:
    given = tmp_path / "leads.csv"
    given.write_text(LEADS, encoding="utf-8")
    (tmp_path / "out").mkdir()
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("NURTURE_", "PREFECT_"))}
    subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=tmp_path,
        input=ALL_THAT_WRITE,
        env=settings | {"PYTHONPATH": str(ROOT), "NURTURE_BASE_URL": "https://go.example.com"},
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
        umask=umask,
    )
    made = {path for path in tmp_path.rglob("*") if "templates" not in path.parts} - {given, tmp_path / "out"}
    names = {path.relative_to(tmp_path).parts[0] for path in made}
    assert names >= {"nurture.db", "maildir", "crm", "leads.bad-rows.csv", "sales.csv", "sales.html", "shown"}
    assert (tmp_path / "out" / "optouts.csv") in made
    assert {path.relative_to(tmp_path): oct(_mode(path)) for path in made if _mode(path) & 0o077} == {}
    assert list((tmp_path / "maildir" / "html").glob("brief*")), "a brief, with its links, is among them"


def test_what_sqlite_keeps_beside_its_file_is_closed_too(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        database = Database(f"sqlite:///{tmp_path / 'nurture.db'}")
        schema.upgrade(database)
        with database.write():
            found = {path.name: _mode(path) for path in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert found == dict.fromkeys(("nurture.db", "nurture.db-wal", "nurture.db-shm"), 0o600)


def test_a_database_that_others_could_read_is_closed_when_it_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "nurture.db"
    file.write_bytes(b"")
    file.chmod(0o664)
    database = Database(f"sqlite:///{file}")
    database.tighten()
    database.close()
    assert _mode(file) == 0o600


def test_folders_are_made_closed_with_all_that_are_missing_above_them(tmp_path: Path) -> None:
    open_before = tmp_path / "there"
    open_before.mkdir(0o755)
    before = os.umask(0)
    try:
        make_folder(open_before / "a" / "b")
    finally:
        os.umask(before)
    assert [_mode(open_before / "a"), _mode(open_before / "a" / "b"), _mode(open_before)] == [0o700, 0o700, 0o755]
    make_folder(open_before, owned=False)
    assert _mode(open_before) == 0o755
    make_folder(open_before)
    assert _mode(open_before) == 0o700


def test_a_file_that_was_open_to_others_is_closed_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    file.write_text("old")
    file.chmod(0o644)
    with open_private(file, encoding="utf-8") as opened:
        assert _mode(file) == 0o600
        opened.write("new")
    assert file.read_text() == "new"


def test_shared_folders_keep_their_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, target = tmp_path / "here", tmp_path / "target"
    for folder in (here, target):
        folder.mkdir()
        folder.chmod(0o755)
    drop = tmp_path / "drop"
    drop.mkdir()
    drop.chmod(0o1777)
    link = tmp_path / "link"
    link.symlink_to(target)
    monkeypatch.chdir(here)
    for place in (here, tmp_path, drop, link):
        before = _mode(place.resolve())
        restrict_permissions(place)
        assert _mode(place.resolve()) == before, place
    device = _mode(Path("/dev/null"))
    write_private(Path("/dev/null"), "gone")
    assert _mode(Path("/dev/null")) == device


def test_what_others_can_open_is_found_at_any_depth(tmp_path: Path) -> None:
    deep = make_folder(tmp_path / "mail" / "new") / "one.eml"
    write_private(deep, "hello")
    write_private(tmp_path / "mail" / "two.eml", "hello")
    assert list(find_exposed([tmp_path / "mail", tmp_path / "none"])) == []
    deep.chmod(0o644)
    assert list(find_exposed([tmp_path / "mail"])) == [deep]
