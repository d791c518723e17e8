"""The installed command, as its own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from nurture.db.engine import Database
from tests.cli.conftest import Place

_DAILY = (
    "why 1", "leads", "tick", "publish", "check", "handoffs", "audit", "signal 1 clicked", "report funnel",
    "simulate welcome --days 10", "preview welcome/01-hello", "version",
)  # fmt: skip
_LOADED = """
import sys
from nurture.cli import main
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit as left:
        assert not left.code, command
print("LOADED", sorted({name.partition(".")[0] for name in sys.modules} & {"prefect", "flows"}))
"""


def _run(place: Place, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=place.folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_daily_commands_never_load_prefect(running: Place) -> None:
    done = _run(running, sys.executable, "-c", _LOADED, *_DAILY)
    assert done.stdout.splitlines()[-1:] == ["LOADED []"], done.stderr


def test_the_installed_command_works_and_fails_as_it_should(running: Place) -> None:
    nurture = str(Path(sys.executable).with_name("nurture"))
    good = _run(running, nurture, "leads")
    assert (good.returncode, good.stderr) == (0, "")
    assert "Hedda" in good.stdout
    bad = _run(running, nurture, "why", "999")
    assert (bad.returncode, bad.stdout) == (3, "")
    assert bad.stderr.startswith("error")
    assert "Traceback" not in bad.stderr


def test_a_closed_pipe_is_no_traceback(running: Place) -> None:
    nurture = str(Path(sys.executable).with_name("nurture"))
    done = _run(running, "sh", "-c", f"{nurture} leads --json | true")
    assert "Traceback" not in done.stderr


def test_the_demo_runs_from_start_to_ledger(place: Place) -> None:
    for name in ("NURTURE_TEMPLATES", "NURTURE_DATABASE_URL"):
        place.environment.delenv(name)
    nurture = str(Path(sys.executable).with_name("nurture"))
    done = _run(place, nurture, "demo", "--days", "8", "--no-flows")
    assert done.returncode == 0, done.stderr
    assert "Every lead has one custodian and one next action." in done.stdout
    assert (place.folder / "demo/nurture.db").exists()
    assert any((place.folder / "demo/mail/new").iterdir())
    assert "2 bad" in done.stdout


def test_a_fault_of_ours_is_traced_in_a_log_without_what_a_lead_wrote(running: Place) -> None:
    database = Database(os.environ["NURTURE_DATABASE_URL"])
    with database.write() as connection:
        connection.execute(text("UPDATE signal SET kind = 'mia@canary.example'"))
        changed = "UPDATE lead SET facts = :facts"
        connection.execute(text(changed), {"facts": '["mia@canary.example"]'})
    database.close()
    done = _run(running, str(Path(sys.executable).with_name("nurture")), "why", "1")
    assert done.returncode == 1
    assert "canary" not in done.stdout + done.stderr
    assert re.search(r"Error at \w+\.py:\d+", done.stderr.replace("\n", "")), done.stderr
