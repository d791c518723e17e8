"""A separate folder, database and definitions for every test of the command line."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from nurture.cli import main
from nurture.db.engine import Database
from nurture.db.metadata import metadata
from tests.journey.builders import sample_rules


@dataclass(frozen=True)
class CommandResult:
    """The output and exit code of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


@dataclass(frozen=True)
class CliSession:
    """A folder and a database for calls of `nurture`."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    environment: pytest.MonkeyPatch

    def run(self, *args: object) -> CommandResult:
        """Run a command as the installed one does."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        out, err = self.capsys.readouterr()
        code = left.value.code
        assert "Traceback" not in out + err
        return CommandResult(code if isinstance(code, int) else int(code is not None), out, err)

    def ok(self, *args: object) -> CommandResult:
        """Run a command that must succeed."""
        result = self.run(*args)
        assert result.code == 0, result
        return result

    def fails(self, *args: object) -> CommandResult:
        """Run a command that must print one clear error, and nothing else."""
        result = self.run(*args)
        assert result.code != 0, result
        assert result.out == "" or result.err == ""
        assert len(result.out + result.err) > 20, result
        return result

    @property
    def templates(self) -> Path:
        return self.folder / "rules"

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each table."""
        database = Database(os.environ["NURTURE_DATABASE_URL"])
        try:
            with database.read() as tx:
                return {
                    name: tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
                    for name in sorted(metadata.tables)
                }
        finally:
            database.close()


@pytest.fixture
def cli(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CliSession:
    """A folder with small definitions, an empty database and default settings."""
    here = tmp_path / "here"
    here.mkdir()
    _enter_folder(monkeypatch, here, sqlite_url)
    made = CliSession(here, capsys, monkeypatch)
    _write_rules(here)
    return made


def _enter_folder(environment: pytest.MonkeyPatch, here: Path, url: str) -> None:
    for name in list(os.environ):
        if name.startswith("NURTURE_"):
            environment.delenv(name)
    environment.chdir(here)
    environment.setenv("NURTURE_DATABASE_URL", url)
    environment.setenv("NURTURE_TEMPLATES", str(here / "rules"))


def _write_rules(here: Path) -> None:
    for path, content in sample_rules().items():
        file = here / "rules" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")


@pytest.fixture
def seeded_cli(cli: CliSession, _run_before: tuple[Path, Path]) -> CliSession:
    """A set-up with published definitions and three leads, after a virtual Monday morning."""
    folder, database = _run_before
    shutil.copytree(folder, cli.folder, dirs_exist_ok=True)
    shutil.copyfile(database, os.environ["NURTURE_DATABASE_URL"].removeprefix("sqlite:///"))
    return cli


@pytest.fixture(scope="session")
def _run_before(tmp_path_factory: pytest.TempPathFactory, _migrated_file: Path) -> tuple[Path, Path]:
    """The folder and database after that morning, of which each test gets a copy."""
    folder = tmp_path_factory.mktemp("run") / "here"
    folder.mkdir()
    database = folder.with_name("nurture.db")
    shutil.copyfile(_migrated_file, database)
    _write_rules(folder)
    (folder / "three.csv").write_text(_THREE, "utf-8")
    (folder / "mapping.yaml").write_text(_MAPPING, "utf-8")
    with pytest.MonkeyPatch.context() as environment:
        _enter_folder(environment, folder, f"sqlite:///{database}")
        for command in (
            "run --at 2026-01-05T07:00",
            "publish",
            "import three.csv --mapping mapping.yaml --source crm",
            "run --at 2026-01-05T08:00",
            "run --at 2026-01-05T09:00",
        ):
            with pytest.raises(SystemExit) as left:
                main(command.split())
            assert not left.value.code, command
    assert not list(folder.parent.glob("nurture.db-*")), "the database was not closed"
    return folder, database


_THREE = (
    "Id,Email,First Name,Title,Demo\n"
    "c1,head@people.example,Hedda,Head of it,no\n"
    "c2,clerk@people.example,Claus,Clerk,no\n"
    "c3,ready@people.example,Rea,Buyer,yes\n"
)
_MAPPING = (
    "columns: {Id: external_id, Email: email, First Name: first_name, Title: title, "
    "Demo: demo_requested}\n"
    "constants: {consent_basis: consent, consent_source: the form}\n"
)
