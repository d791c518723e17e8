"""`nurture demo` in its folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nurture.simulation.world_folder import MARKER, WorldDescription, new_world
from tests.cli.conftest import CliSession

DEMO = ("demo", "--days", 7, "--no-flows", "--folder")


def _make(folder: Path) -> None:
    with new_world(folder, WorldDescription("1", "2026-03-02T09:00:00+00:00", "templates", 8026), replace=True):
        pass


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
    cli.ok("init")
    cli.write("precious.txt", "notes")
    cli.write("sub/more.txt", "more")


@pytest.mark.parametrize(
    "name", [".", "..", "../..", "/", "link", "linked-demo", "precious.txt", "sub", "rules", "here/../."]
)
def test_a_folder_without_a_demo_is_refused_and_unchanged(cli: CliSession, name: str) -> None:
    _live(cli)
    (cli.folder / "here").mkdir()
    (cli.folder / "link").symlink_to(".")
    _make(cli.folder / "old")
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


def test_a_live_database_beside_the_marker_is_refused(cli: CliSession) -> None:
    _make(cli.folder / "demo")
    cli.environment.setenv("NURTURE_DATABASE_URL", "sqlite:///demo/nurture.db")
    cli.ok("init")
    assert "virtual time" in cli.fails(*DEMO, "demo").err
    assert (cli.folder / "demo" / "nurture.db").exists()


def test_a_second_demo_starts_afresh_even_after_a_killed_one(cli: CliSession) -> None:
    cli.environment.delenv("NURTURE_TEMPLATES")
    cli.write("demo/" + MARKER, "")  # killed at its start
    first = cli.ok(*DEMO, "demo").out
    made = {path.name for path in (cli.folder / "demo").rglob("*")}
    assert {"nurture.db", "rejected-rows.csv", "new", "html", "out", ".sent"} <= made
    (cli.folder / "demo" / ".nurture" / "prefect").mkdir(parents=True)
    cli.write("demo/.nurture/prefect/prefect.db", "as a demo with flows leaves it")
    cli.write("demo/.nurture/logs/prefect.log", "as a demo with flows leaves it")
    again = cli.ok(*DEMO, "demo").out
    assert not (cli.folder / "demo" / ".nurture").exists()
    assert first.split("Done in")[0] == again.split("Done in")[0]
