from __future__ import annotations

import pickle
import sqlite3
import traceback
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from flows.shards import StageFailed, is_transient, open_context, redact_errors
from nurture.db import clock_row
from nurture.db.engine import Database
from nurture.errors import ClockWentBackwards, DatabaseUnavailable, InvalidState, Misconfigured, NotFound


def _explained(error: DBAPIError) -> DatabaseUnavailable:
    explained = DatabaseUnavailable("what to do")
    explained.__cause__ = error
    return explained


def _failed(cause: BaseException, *, lost: bool = False) -> OperationalError:
    return OperationalError("SELECT 1", {}, cause, connection_invalidated=lost)


@pytest.mark.parametrize(
    "error",
    [
        _failed(sqlite3.OperationalError("database is locked")),
        _failed(psycopg.errors.DeadlockDetected()),
        _failed(psycopg.errors.AdminShutdown()),
        _failed(psycopg.errors.TooManyConnections()),
        _failed(psycopg.OperationalError("server closed the connection"), lost=True),
    ],
)
def test_a_busy_or_unreachable_database_is_retried(error: OperationalError) -> None:
    assert is_transient(_explained(error))
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        NotFound(),
        InvalidState(),
        DatabaseUnavailable(),
        ValueError("a bug"),
        None,
        _explained(_failed(sqlite3.OperationalError("no such table: lead"))),
        _explained(_failed(psycopg.errors.InsufficientPrivilege())),
    ],
)
def test_permanent_errors_are_not_retried(error: object) -> None:
    assert not is_transient(error)


def _shard(error: Exception) -> None:
    raise error


def test_a_failed_stage_logs_no_lead_data_and_is_retried() -> None:
    locked = _failed(sqlite3.OperationalError("database is locked"))
    for error in (NotFound("There is no lead mia@canary.example."), ValueError("Mia Canary"), locked):
        with pytest.raises(StageFailed, match=type(error).__name__) as failed:
            redact_errors(_shard)(error)
        assert "canary" not in "".join(traceback.format_exception(failed.value)).lower()
        assert is_transient(failed.value) == is_transient(error)


def test_a_failure_arrives_from_another_process_as_it_was_there() -> None:
    failed = pickle.loads(pickle.dumps(StageFailed("ValueError in advance", is_transient=True)))
    assert (str(failed), failed.is_transient) == ("ValueError in advance", True)


def test_configuration_errors_are_reported_in_full() -> None:
    with pytest.raises(Misconfigured, match="Set NURTURE_MAILDIR"):
        redact_errors(_shard)(Misconfigured("Set NURTURE_MAILDIR."))


@pytest.fixture
def virtual(sqlite_db: Database, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("NURTURE_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("NURTURE_MAILDIR", str(tmp_path / "mail"))
    return sqlite_db


def test_a_replayed_time_moves_the_virtual_clock_and_is_remembered(virtual: Database) -> None:
    with open_context("2026-03-01T09:00") as (_, now):
        assert now.isoformat() == "2026-03-01T09:00:00+00:00"
    assert clock_row.read_virtual_now(virtual) == now
    with pytest.raises(ClockWentBackwards), open_context("2026-02-28T09:00+00:00"):
        pass


def test_a_text_that_is_no_time_is_refused(virtual: Database) -> None:
    with pytest.raises(InvalidState, match="2027-03-31"), open_context("tomorrow"):
        pass
