from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from nurture.db.engine import Database
from nurture.errors import DatabaseUnavailable
from nurture.versions import MIN_POSTGRESQL, require_installed, require_postgresql, require_sqlite, unmet_requirements

NEEDS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]


def test_the_installed_versions_are_supported() -> None:
    require_installed()
    assert list(unmet_requirements(NEEDS)) == []


def test_each_library_that_is_missing_too_old_or_too_new_is_named() -> None:
    versions = {"sqlalchemy": "2.1.0", "prefect": "3.8.7", "rich": "15.0", "tzdata": "2026.1"}

    def installed(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    needs = ["sqlalchemy>=2.0.40,<2.1", "prefect>=3.8.8,<4", "rich>=13.9", "orjson>=3.10", "colorama; os_name == 'nt'"]
    found = list(unmet_requirements(needs, installed))
    assert [line.split()[0] for line in found] == ["sqlalchemy", "prefect", "orjson"]
    assert "2.1.0" in found[0]
    assert "<2.1" in found[0]
    assert found[2] == "orjson is missing"


def test_an_old_sqlite_or_postgresql_is_refused_with_what_to_do() -> None:
    require_sqlite()
    with pytest.raises(DatabaseUnavailable, match=r"SQLite 3\.34\.1; nurture needs 3\.35\.0 or newer"):
        require_sqlite((3, 34, 1))
    require_postgresql(MIN_POSTGRESQL * 10_000)
    with pytest.raises(DatabaseUnavailable, match="PostgreSQL 14; nurture needs 15"):
        require_postgresql(140_018)


def test_the_servers_version_is_checked_at_connect(postgres_db: Database) -> None:
    with postgres_db.read() as tx:
        driver = tx.connection.connection.driver_connection
        assert driver is not None
        assert driver.info.server_version >= MIN_POSTGRESQL * 10_000
