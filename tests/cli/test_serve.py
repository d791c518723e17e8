"""`nurture admin serve` as a process: it listens, responds, and stops on a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest

from nurture.db import clock_row
from nurture.db.engine import Database
from tests.cli.conftest import CliSession
from tests.doubles.sendgrid import KEY
from tests.journey.builders import START

NURTURE = str(Path(sys.executable).with_name("nurture"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_prints_its_address_and_stops_cleanly(cli: CliSession, number: signal.Signals) -> None:
    command = [NURTURE, "admin", "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=cli.folder, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        try:
            url = orjson.loads(server.stdout.readline() + server.stdout.readline() + server.stdout.readline())
            answer = httpx.get(f"{url['url']}/health", timeout=20)
            assert answer.json() == {"status": "ok", "database": "ok"}
            server.send_signal(number)
            assert server.wait(20) == 0
            assert server.stderr.read() == b""
        finally:
            server.kill()


def test_a_database_in_virtual_time_is_not_served_with_a_real_provider(cli: CliSession) -> None:
    database = Database(os.environ["NURTURE_DATABASE_URL"])
    clock_row.bind_mode(database, "virtual", START)
    database.close()
    cli.environment.setenv("NURTURE_PROVIDER", "sendgrid")
    cli.environment.setenv("NURTURE_SENDGRID_KEY", KEY)
    ended = subprocess.run(
        [NURTURE, "admin", "serve", "--port", "0"],
        cwd=cli.folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 4
    assert "virtual time" in ended.stderr
