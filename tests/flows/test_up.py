"""`nurture up`, for real: one start, looked at from several sides, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from flows.deployments import paced
from flows.up import up
from nurture.app import open_app
from nurture.clock import RealClock
from nurture.errors import Refused
from nurture.journey.publish import publish
from nurture.settings import Settings
from nurture.store import tables
from nurture.store.database import Database
from tests.flows.prefect_api import any_port, ask, until
from tests.journey.builders import START, add_lead, tiny_rules

START_UP = "from flows.up import up; from nurture.settings import Settings; up(Settings.read())"
READY_WITHIN = 22
"""Seconds in which Prefect's server and the flows have started, on a machine that is not busy."""

custody = tables.Custody.__table__  # type: ignore[attr-defined]


@dataclass
class Started:
    """A running `up` in its folder."""

    folder: Path
    program: subprocess.Popen[str]
    environment: dict[str, str]
    database: Database
    lead: int

    @property
    def pages(self) -> str:
        return f"http://127.0.0.1:{self.environment['NURTURE_WEB_PORT']}"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.environment['NURTURE_PREFECT_PORT']}/api"

    def tree(self) -> list[int]:
        """Return the processes that work for it: its variables are in their environment."""
        mark = f"NURTURE_WEB_PORT={self.environment['NURTURE_WEB_PORT']}".encode()
        return [int(one.name) for one in Path("/proc").glob("[0-9]*") if mark in _environ(one)]


def _pace(now: datetime) -> int:
    """Return an interval at which new leads are looked at soon after the start, and then not at once again.

    Each run is a process that loads Prefect; whoever starts too slowly for the first round gets the next.
    """

    def waits(every: int) -> float:
        (intake,) = [one for one in paced(every) if one.entrypoint.startswith("flows.intake.")]
        return (intake.anchor - now) / timedelta(seconds=1) % every

    return min(range(40, 70), key=lambda every: abs(waits(every) - READY_WITHIN))


def _environ(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("up")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "NURTURE_WEB_PORT": str(any_port()),
        "NURTURE_PREFECT_PORT": str(any_port()),
        "NURTURE_SWEEP_SECONDS": str(_pace(RealClock().now())),
    }
    settings = Settings(
        database_url=SecretStr(f"sqlite:///{folder / 'nurture.db'}"), mailbox=folder / "mailbox"
    )
    with open_app(settings, upgrade=True, live=True) as app:
        now = app.clock.now()
        publish(app.house, tiny_rules(), now)
        lead = add_lead(app.house, at=now, title="head of sales")
    program = subprocess.Popen(
        [sys.executable, "-c", START_UP], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    database = Database(settings.database_url.get_secret_value())
    try:
        yield Started(folder, program, environment, database, lead)
    finally:
        program.kill()
        program.communicate()
        database.close()


def test_a_schedule_fires_and_its_run_moves_a_lead(started: Started) -> None:
    def keeper() -> bool:
        assert started.program.poll() is None
        with started.database.read() as connection:
            wanted = select(custody.c.kind).where(custody.c.lead_id == started.lead)
            return bool(connection.execute(wanted).scalar_one() == "track")

    until(keeper, 240)

    def completed() -> bool:
        return bool(
            ask(started.api, "/flow_runs/count", flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}})
        )

    until(completed, 60)


def test_the_pages_are_served(started: Started) -> None:
    with urllib.request.urlopen(f"{started.pages}/healthz", timeout=5) as answer:
        assert answer.status == 200


def test_prefect_keeps_its_own_database_and_listens_on_this_machine_only(started: Started) -> None:
    home = started.folder / ".nurture" / "prefect"
    assert (home / "prefect.db").exists()
    assert not (home / "profiles.toml").exists() or "API_URL" not in (home / "profiles.toml").read_text()


def test_a_second_start_says_where_the_first_one_runs_and_fails(started: Started) -> None:
    second = subprocess.run(
        [sys.executable, "-c", START_UP],
        cwd=started.folder,
        env=started.environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode != 0
    assert f"already running here, as process {started.program.pid}" in second.stderr
    assert started.pages in second.stderr


def test_an_interrupt_stops_everything_within_ten_seconds(started: Started) -> None:
    assert len(started.tree()) >= 4
    started.program.send_signal(signal.SIGINT)
    _, said = started.program.communicate(timeout=10)
    assert started.program.returncode == 0, said
    assert "Stopped." in said
    assert started.tree() == []


ORPHANS = """
import os, signal, sys, time
from pathlib import Path
from flows.parent import Children, await_answer
children = Children(Path(sys.argv[1]), os.environ)
children.start("web")
assert await_answer(sys.argv[2], children, lambda seconds: time.sleep(seconds), lambda waited: None)
children.start("prefect")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_children_end_when_their_parent_is_killed(started: Started, tmp_path: Path) -> None:
    parent = subprocess.run(
        [sys.executable, "-c", ORPHANS, str(tmp_path), f"{started.pages}/healthz"],
        cwd=started.folder,
        env=started.environment,
        timeout=60,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL
    until(lambda: not started.tree(), 15)


def test_a_database_in_virtual_time_is_refused(tmp_path: Path) -> None:
    settings = Settings(
        database_url=SecretStr(f"sqlite:///{tmp_path / 'demo.db'}"), mailbox=tmp_path / "mailbox"
    )
    with open_app(settings, at=START, upgrade=True):
        pass
    with pytest.raises(Refused, match="virtual time"):
        up(settings)
