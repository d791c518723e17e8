"""The installed command in a separate process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from nurture.cli.commands import GROUPS
from nurture.db.engine import Database
from tests.cli.conftest import CliSession

_DAILY = (
    "explain 1", "leads list", "run", "publish", "check", "handoffs list", "reports audit",
    "leads signal 1 clicked", "reports funnel", "simulate welcome --days 10", "preview welcome/01-hello",
    "version",
)  # fmt: skip
_LOADED = """
import sys
from nurture.cli import main
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit as left:
        assert not left.code, command
print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def _run(cli: CliSession, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cli.folder, env=dict(os.environ), capture_output=True, text=True, timeout=120, check=False
    )


def _loaded(done: subprocess.CompletedProcess[str]) -> set[str]:
    first, *names = done.stdout.splitlines()[-1].split()
    assert first == "LOADED", done.stderr
    assert "nurture" in names
    return set(names)


def test_daily_commands_never_load_prefect(seeded_cli: CliSession) -> None:
    done = _run(seeded_cli, sys.executable, "-c", _LOADED, *_DAILY)
    assert not _loaded(done) & {"prefect", "flows"}


def test_explain_imports_no_unused_library(seeded_cli: CliSession) -> None:
    done = _run(seeded_cli, sys.executable, "-c", _LOADED, "explain 1")
    without = {
        "aiohttp", "alembic", "apprise", "babel", "fastapi", "flows", "holidays", "jinja2", "markdown_it", "prefect",
    }  # fmt: skip
    assert not _loaded(done) & without


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_help_imports_no_command(cli: CliSession, group: str) -> None:
    done = _run(cli, sys.executable, "-c", _LOADED, f"{group} --help")
    assert "Show this message and exit." in done.stdout, done.stderr
    assert not _loaded(done) & {"prefect", "flows", "sqlmodel", "sqlalchemy"}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("le", {"leads"}),
        ("admin tokens ", {"create", "list", "revoke"}),
        ("leads import", {"import-signals"}),
        ("handoffs close --am", {"--amount"}),
    ],
)
def test_the_shell_completes_commands_and_their_options(cli: CliSession, typed: str, offered: set[str]) -> None:
    cli.environment.setenv("_NURTURE_COMPLETE", "complete_bash")
    cli.environment.setenv("COMP_WORDS", f"nurture {typed}")
    cli.environment.setenv("COMP_CWORD", str(len(f"nurture {typed}".split(" ")) - 1))
    done = _run(cli, str(Path(sys.executable).with_name("nurture")))
    assert set(done.stdout.split()) == offered, done.stderr


def test_the_installed_command_returns_the_right_exit_codes(seeded_cli: CliSession) -> None:
    nurture = str(Path(sys.executable).with_name("nurture"))
    good = _run(seeded_cli, nurture, "leads", "list")
    assert (good.returncode, good.stderr) == (0, "")
    assert "Hedda" in good.stdout
    bad = _run(seeded_cli, nurture, "explain", "999")
    assert (bad.returncode, bad.stdout) == (3, "")
    assert bad.stderr.startswith("error")
    assert "Traceback" not in bad.stderr


def test_a_closed_pipe_is_no_traceback(seeded_cli: CliSession) -> None:
    nurture = str(Path(sys.executable).with_name("nurture"))
    done = _run(seeded_cli, "sh", "-c", f"{nurture} leads list --json | true")
    assert "Traceback" not in done.stderr


def test_the_demo_runs_from_start_to_ledger(cli: CliSession) -> None:
    for name in ("NURTURE_TEMPLATES", "NURTURE_DATABASE_URL"):
        cli.environment.delenv(name)
    nurture = str(Path(sys.executable).with_name("nurture"))
    done = _run(cli, nurture, "demo", "--days", "8", "--no-flows")
    assert done.returncode == 0, done.stderr
    assert "Every lead has one custodian and one next action." in done.stdout
    assert (cli.folder / "demo/nurture.db").exists()
    assert any((cli.folder / "demo/mail/new").iterdir())
    assert "2 rejected" in done.stdout


def test_a_bug_is_logged_with_traceback_and_without_lead_data(seeded_cli: CliSession) -> None:
    database = Database(os.environ["NURTURE_DATABASE_URL"])
    with database.write() as tx:
        tx.execute(text("UPDATE signal SET kind = 'mia@canary.example'"))
        changed = "UPDATE lead SET fields = :fields"
        tx.execute(text(changed), {"fields": '["mia@canary.example"]'})
    database.close()
    done = _run(seeded_cli, str(Path(sys.executable).with_name("nurture")), "explain", "1")
    assert done.returncode == 1
    assert "canary" not in done.stdout + done.stderr
    assert re.search(r"Error at \w+\.py:\d+", done.stderr.replace("\n", "")), done.stderr
