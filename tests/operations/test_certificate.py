"""A certificate of the web pages that is about to expire is a problem, once."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from nurture.db.engine import Database
from nurture.operations.certificate import SHORT, note_certificate, read_expiry
from nurture.operations.problems import find_problems

EXPIRES = datetime(2030, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1", not_after=EXPIRES).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def _problems(database: Database, now: datetime, folder: Path) -> list[str]:
    with database.read() as tx:
        return [one.key for one in find_problems(tx, now, timedelta(minutes=5), folder) if one.key != "disk"]


def test_a_certificate_is_a_problem_until_it_is_renewed(db: Database, url: str, tmp_path: Path) -> None:
    early, late = EXPIRES - SHORT - timedelta(days=1), EXPIRES - SHORT + timedelta(days=1)
    note_certificate(db, url, early)
    assert _problems(db, early, tmp_path) == []
    note_certificate(db, url, late)
    assert _problems(db, late, tmp_path) == ["certificate"]
    note_certificate(db, url, EXPIRES + timedelta(days=1))
    assert _problems(db, late, tmp_path) == ["certificate"], "also once it has expired"


def test_pages_without_a_certificate_and_pages_that_do_not_answer_say_nothing(db: Database, tmp_path: Path) -> None:
    assert read_expiry("http://127.0.0.1:8025") is None
    note_certificate(db, "https://127.0.0.1:1", EXPIRES)
    assert _problems(db, EXPIRES, tmp_path) == []
