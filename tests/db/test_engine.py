"""Sets of rows, transactions, and errors when the database cannot be used."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Date, Float, Integer, String, Table, insert, select, text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.types import TypeEngine

from nurture.db.engine import Database
from nurture.db.errors import raise_database_unusable
from nurture.db.metadata import metadata
from nurture.db.types import Json, UtcDateTime
from nurture.errors import DatabaseUnavailable, format_error_chain

pytestmark = pytest.mark.quick

NOON = datetime(2025, 3, 30, 12, tzinfo=UTC)
KINDS: dict[str, TypeEngine[Any]] = {
    "big": BigInteger(),
    "small": Integer(),
    "real": Float(),
    "yes": Boolean(),
    "day": Date(),
    "at": UtcDateTime(),
    "text": String(),
    "doc": Json,
}
address: Table = metadata.tables["address"]
lead: Table = metadata.tables["lead"]


def back(db: Database, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Send *rows* to the database and read them back."""
    with db.read() as tx:
        return [tuple(row) for row in tx.execute(select(tx.rows("sent", KINDS, rows))).all()]


SAMPLES: list[tuple[Any, ...]] = [
    (2**63 - 1, 2**31 - 1, 0.1, True, date(2024, 2, 29), NOON, "plain", {"a": [1, None, {"b": "c"}]}),
    (-(2**63), -(2**31), -1.5e300, False, date(1999, 12, 31), NOON + timedelta(microseconds=1), "", {}),
    (0, 0, 0.0, None, None, None, None, None),
    (1, 1, 1e-9, True, date(9999, 12, 31), NOON.replace(year=2029, microsecond=999_999), "Zoë 日本 🎈", []),
    (None, None, None, None, None, None, 'it\'s "q" \\ :name %s %(x)s ; -- \t\r\n $[0] {}', {"x": None}),
    (2, 2, 2.0, False, date(1970, 1, 1), NOON, "null", {"emoji 🎈": "O'Neil \\u0041"}),
]


def test_every_type_is_read_back_unchanged(db: Database) -> None:
    assert back(db, SAMPLES) == SAMPLES


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_text_and_any_timestamp_is_read_back_unchanged(db: Database, data: st.DataObject) -> None:
    words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    timestamps = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.timezones())
    rows = data.draw(st.lists(st.tuples(words, timestamps, st.dictionaries(words, words)), max_size=20))
    sent = [(None, None, None, None, None, at, word, doc) for word, at, doc in rows]
    assert back(db, sent) == [(*row[:5], row[5].astimezone(UTC), *row[6:]) for row in sent]


def test_a_nul_character_cannot_stop_a_batch(db: Database) -> None:
    row = (1, 1, 1.0, True, None, NOON, "a\0b \\u0000 \\\0", {"k\0": "\0"})
    ((*_, value, doc),) = back(db, [row])
    assert value == "a\N{REPLACEMENT CHARACTER}b \\u0000 \\\N{REPLACEMENT CHARACTER}"
    assert doc == {"k\N{REPLACEMENT CHARACTER}": "\N{REPLACEMENT CHARACTER}"}


def test_an_empty_set_of_rows_is_allowed(db: Database) -> None:
    assert back(db, []) == []


def test_thousands_of_rows_are_inserted_with_one_statement_in_order(db: Database) -> None:
    rows = [(n, f"{n}@example.com") for n in range(5_000)]
    with db.write() as tx:
        sent = tx.rows("sent", {"number": Integer(), "email": String()}, rows)
        tx.execute(insert(address).from_select(["email", "normalized"], select(sent.c.email, sent.c.email)))
        found = tx.execute(select(address.c.email).order_by(address.c.id)).scalars().all()
    assert found == [email for _, email in rows]


def test_timestamps_sent_in_a_set_are_found_by_comparing_and_sort_as_time_does(db: Database) -> None:
    timestamps = [NOON + step * timedelta(microseconds=1) for step in (-1, 0, 1, 10, 999_999)]
    with db.read() as tx:
        sent = tx.rows("sent", {"at": UtcDateTime()}, [(timestamp,) for timestamp in reversed(timestamps)])
        assert tx.execute(select(sent.c.at).order_by(sent.c.at)).scalars().all() == timestamps
        assert tx.execute(select(sent.c.at).where(sent.c.at <= NOON)).scalars().all() == timestamps[1::-1]


def test_ids_are_a_set_with_one_column(db: Database) -> None:
    with db.read() as tx:
        assert tx.execute(select(tx.ids("wanted", [3, 1, 2**40]).c.id)).scalars().all() == [3, 1, 2**40]


@pytest.mark.parametrize(
    "timestamp",
    [
        NOON.astimezone(timezone(timedelta(hours=-9, minutes=-30))),
        pendulum.instance(NOON).in_timezone("Asia/Kathmandu"),
        pendulum.instance(NOON),
    ],
)
def test_a_timestamp_of_any_zone_is_kept_as_the_same_time_in_utc(db: Database, timestamp: datetime) -> None:
    values = {
        "fields": {},
        "source": "",
        "zone": "",
        "country": "",
        "engagement": 0,
        "readiness": "",
        "first_contact_at": timestamp,
        "created_at": timestamp,
        "updated_at": timestamp,
    }
    with db.write() as tx:
        tx.execute(insert(lead).values(values))
        found = tx.execute(select(lead.c.created_at)).scalar_one()
    ((*_, sent, _, _),) = back(db, [(None, None, None, None, None, timestamp, None, None)])
    assert sent == found == NOON
    assert sent.tzinfo is found.tzinfo is UTC


def test_a_timestamp_without_a_zone_is_refused(db: Database) -> None:
    naive = datetime(2025, 3, 30, 12)
    with db.read() as tx, pytest.raises(ValueError, match="without a time zone"):
        tx.rows("sent", {"at": UtcDateTime()}, [(naive,)])
    with db.read() as tx, pytest.raises(StatementError, match="without a time zone"):
        tx.execute(select(lead).where(lead.c.created_at < naive))


def add(db: Database, email: str) -> None:
    with db.write() as tx:
        tx.execute(insert(address).values(email=email, normalized=email))


def emails(db: Database) -> list[str]:
    with db.read() as tx:
        return list(tx.execute(select(address.c.email).order_by(address.c.email)).scalars())


def test_a_write_that_fails_leaves_nothing_behind(db: Database) -> None:
    def half() -> None:
        with db.write() as tx:
            tx.execute(insert(address).values(email="a@example.com", normalized="a@example.com"))
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert emails(db) == []


def test_a_read_cannot_write_and_the_connection_can_again_afterwards(db: Database) -> None:
    with pytest.raises((DatabaseUnavailable, DBAPIError), match=r"(?i)read-?only"), db.read() as tx:
        tx.execute(insert(address).values(email="a@example.com", normalized="a"))
    add(db, "b@example.com")
    assert emails(db) == ["b@example.com"]


def test_many_rows_are_inserted_in_order_and_those_that_exist_are_not_counted(db: Database) -> None:
    rows = [(f"{number}@example.com", f"{number:03}@example.com") for number in range(95)]
    with db.write() as tx:
        assert tx.insert(address, ("email", "normalized"), rows[50:52]) == 2
        assert tx.insert(address, ("email", "normalized"), rows, unique_columns=["normalized"]) == 93
    with db.read() as tx:
        stored = tx.execute(select(address.c.normalized).order_by(address.c.id)).scalars().all()
    assert stored[2:] == [normal for _, normal in rows if normal not in stored[:2]]


def test_of_two_writers_the_second_waits_instead_of_failing(db: Database) -> None:
    def second() -> None:
        add(db, "second@example.com")
        done.set()

    done = threading.Event()
    other = threading.Thread(target=second)
    with db.write() as tx:
        tx.execute(insert(address).values(email="first@example.com", normalized="first@example.com"))
        other.start()
        waited = tx.is_sqlite and not done.wait(0.1)  # PostgreSQL lets both write
    other.join(20)
    assert waited is db.is_sqlite
    assert emails(db) == ["first@example.com", "second@example.com"]


def test_a_new_sqlite_file_in_which_another_program_writes_is_waited_for(tmp_path: Path) -> None:
    def read() -> None:
        with db.read() as tx:
            found.append(tx.execute(text("SELECT a FROM other")).scalar_one())

    found: list[int] = []
    db = Database(f"sqlite:///{tmp_path / 'new.db'}")
    first = sqlite3.connect(tmp_path / "new.db", isolation_level=None)  # its journal is not a WAL
    first.execute("CREATE TABLE other (a integer)")
    first.execute("BEGIN IMMEDIATE")
    first.execute("INSERT INTO other VALUES (7)")
    reader = threading.Thread(target=read)
    reader.start()
    reader.join(0.1)
    assert reader.is_alive()
    first.execute("COMMIT")
    reader.join(20)
    assert found == [7]
    first.close()
    db.close()


def test_many_writers_lose_nothing(db: Database) -> None:
    def write(worker: int) -> None:
        for turn in range(10):
            add(db, f"{worker}-{turn}@example.com")

    workers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert len(emails(db)) == 40


def test_readers_do_not_wait_for_a_writer(db: Database) -> None:
    with db.write() as tx:
        tx.execute(insert(address).values(email="a@example.com", normalized="a"))
        assert emails(db) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nurture.db", "not a database URL: 'nurture.db'. Write sqlite:///nurture.db or postgresql"),
        ("", "not a database URL: ''"),
        ("postgresql://u:secret@h:port/n", "not a database URL: 'postgresql://u:***@h:port/n'"),
        ("mysql://u:secret@h/n", "runs on SQLite and PostgreSQL, not on mysql. Write sqlite"),
        ("postgresql+asyncpg://u:secret@h/n", "connects to postgresql by psycopg, not asyncpg. Write sqlite"),
    ],
)
def test_an_invalid_url_is_refused_with_an_example(url: str, message: str) -> None:
    with pytest.raises(DatabaseUnavailable) as refused:
        Database(url)
    assert message in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_known_by_each_of_its_names_and_hides_its_password(scheme: str) -> None:
    db = Database(f"{scheme}://u:secret@db.example/n")
    assert (db.is_sqlite, db.is_missing) == (False, False)
    assert db.name == "postgresql://u:***@db.example/n"


def error_text_of(url: str) -> str:
    db = Database(url)
    try:
        with pytest.raises(DatabaseUnavailable) as refused:
            emails(db)
    finally:
        db.close()
    assert db.name in str(refused.value)
    return str(refused.value)


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    assert "Check that its folder exists" in error_text_of(f"sqlite:///{tmp_path / 'no' / 'nurture.db'}")


def test_a_folder_given_as_the_file(tmp_path: Path) -> None:
    assert "cannot be opened" in error_text_of(f"sqlite:///{tmp_path}")


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text("email,name\n" * 200)
    assert "not an SQLite database" in error_text_of(f"sqlite:///{tmp_path / 'leads.csv'}")


def test_an_exhausted_pool_is_reported_with_the_advice_to_retry() -> None:
    with pytest.raises(DatabaseUnavailable, match="Try again later"), raise_database_unusable("nurture.db"):
        raise PoolTimeout


def test_a_database_without_tables(empty_db: Database) -> None:
    with pytest.raises(DatabaseUnavailable, match="Run `nurture admin upgrade`"):
        emails(empty_db)


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    assert "does not answer" in error_text_of(f"postgresql://postgres@/nurture?host={tmp_path}")
    assert "does not answer" in error_text_of("postgresql://postgres:secret@127.0.0.1:1/nurture")


def test_a_server_that_knows_no_such_database_or_user(postgres_url: str) -> None:
    place = postgres_url.partition("?")[2]
    assert "has no such database. Create it" in error_text_of(f"postgresql://postgres@/nowhere?{place}")
    assert "has no such user" in error_text_of(f"postgresql://nobody@/postgres?{place}")


def test_a_connection_that_the_server_ends(postgres_db: Database) -> None:
    def cut() -> None:
        with postgres_db.write() as tx:
            tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        cut()
    assert emails(postgres_db) == []


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Run as a user to whom file permissions apply; they do not apply to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o777, 0o444), (0o555, 0o666), (0o555, 0o444)])
def test_a_database_that_may_not_be_written(sqlite_url: str, folder_mode: int, file_mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:  # only its own user can open pytest's folder
        path = Path(name) / "nurture.db"
        shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), path)
        path.chmod(file_mode)
        path.parent.chmod(folder_mode)
        db = Database(f"sqlite:///{path}")
        with bound_by_permissions(), pytest.raises(DatabaseUnavailable, match=r"Check .* folder"):
            add(db, "a@example.com")
        db.close()
        path.parent.chmod(0o755)


_SECRET = "Mia Canary mia@canary.example"
_BROKEN = (
    "INSERT INTO address (email, normalized) VALUES (:secret, :secret), (:secret, :secret)",
    "INSERT INTO address (email, normalized) VALUES (:secret, NULL)",
    (
        "INSERT INTO suppression (address_id, action, scope, ref, source, recorded_at) "
        "VALUES (1, :secret, 'global', '', :secret, '2026-01-01')"
    ),
)
_CAST = ("SELECT CAST(:secret AS jsonb)", "SELECT CAST(:secret AS integer)", "SELECT CAST(:secret AS timestamptz)")


def _error_text(database: Database, sql: str) -> str:
    with pytest.raises(DBAPIError) as failed, database.write() as tx:
        tx.execute(text(sql), {"secret": _SECRET})
    return "".join(traceback.format_exception(failed.value))


@pytest.mark.parametrize("sql", _BROKEN)
def test_no_value_of_a_row_is_in_what_a_broken_constraint_says(db: Database, sql: str) -> None:
    assert "canary" not in _error_text(db, sql).lower()


@pytest.mark.parametrize("sql", _CAST)
def test_no_value_is_in_what_postgresql_says_of_one_that_does_not_fit(postgres_db: Database, sql: str) -> None:
    error_text = _error_text(postgres_db, sql)
    assert "canary" not in error_text.lower()
    assert "a value does not fit (22" in error_text


def test_an_index_row_that_is_too_wide_is_reported_without_its_value(postgres_db: Database) -> None:
    wide = "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(3_000))
    with pytest.raises(DBAPIError) as failed, postgres_db.write() as tx:
        tx.execute(text("INSERT INTO address (email, normalized) VALUES ('x', :wide)"), {"wide": wide})
    assert "54000" in str(failed.value)
    assert wide[:5] not in "".join(traceback.format_exception(failed.value))


def test_a_trace_for_a_log_names_types_and_places_and_no_message() -> None:
    def parse() -> None:
        try:
            int("Mia Canary")
        except ValueError as error:
            raise KeyError("mia@canary.example") from error

    with pytest.raises(KeyError) as failed:
        parse()
    assert re.fullmatch(
        r"KeyError at test_engine\.py:\d+, from ValueError at test_engine\.py:\d+", format_error_chain(failed.value)
    )
